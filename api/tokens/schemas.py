"""What a new device token is answered with."""

from datetime import datetime

from pydantic import BaseModel, Field, field_serializer

from api.db import iso_ms


class DeviceTokenOut(BaseModel):
    """A device's token; its text is shown this once and kept nowhere."""

    token: str
    jti: str = Field(description="Names the token, for revoking it.")
    expires_at: datetime

    @field_serializer("expires_at")
    def _iso(self, moment: datetime) -> str:
        return iso_ms(moment)
