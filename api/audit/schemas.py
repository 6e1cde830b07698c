"""The audit as told over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from api.db import iso_ms

Moment = Annotated[datetime, PlainSerializer(iso_ms, return_type=str)]


class AuditOut(BaseModel):
    """One entry: who did what to what, and when."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="Rises with every entry.")
    at: Moment
    user_id: str = Field(description="Id of the user, or the name of a process.")
    action: str = Field(description="`area.verb`, such as `quarantine.replay`.")
    subject_kind: str = Field(description="Kind of what it was done to.")
    subject: str = Field(
        description="Its name within the kind; a quarantined row's is `topic/position`, a"
        " conflict's `record_type/identity`."
    )
    organization_id: str = Field(description="Whose it is; empty when it is nobody's.")
    request_id: str = Field(description="X-Request-ID of the request, as in the logs.")
    details: dict[str, Any] = Field(description="Codes, names of fields, counts; never a value of a row.")
