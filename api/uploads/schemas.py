"""What clients send with a file and get about it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_serializer

from api.db import iso_ms
from api.fields import Currency, Label, Name, ObjectId
from api.registry.schemas import Input


def _apart(values: Any) -> Any:
    """Ids of a repeated field, or parted by commas, or both."""
    if isinstance(values, list):
        return [part for value in values for part in str(value).split(",") if part.strip()]
    return values


def _once_each(values: list[str]) -> list[str]:
    return sorted(set(values))


ProjectIds = Annotated[
    list[ObjectId], Field(max_length=1000), BeforeValidator(_apart), AfterValidator(_once_each)
]


class UploadIn(Input):
    """The fields beside the file (seed payments-file-upload, "Upload the file")."""

    dataset_name: Name = Field(description="Of the dataset; one of this name is made if there is none.")
    dataset_type: Literal["electricity_payments"]
    data_provider: Label = Field(description="`User` in the seed.")
    project_ids: ProjectIds = Field([], description="Repeated, or parted by commas.")
    organization_id: ObjectId | None = Field(None, description="Needed when no project is named.")
    default_currency: Currency | None = Field(
        None, description="ISO 4217 code for rows without PAYMENT_CURRENCY, of a dataset that is made."
    )
    dry_run: bool = Field(False, description="Check the file and say what would become of it; keep nothing.")


FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["dataset_name", "dataset_type", "data_provider", "file"],
                    "properties": {
                        "dataset_name": {"type": "string", "maxLength": 300},
                        "project_ids": {
                            "type": "array",
                            "items": {"type": "string", "maxLength": 40},
                            "description": "Repeated, or one value with commas.",
                        },
                        "dataset_type": {"type": "string", "enum": ["electricity_payments"]},
                        "data_provider": {"type": "string", "maxLength": 100},
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "Named ELECTRICITY_PAYMENT.csv (or .xlsx), unless the dataset"
                            " allows other names.",
                        },
                        "dry_run": {"type": "boolean"},
                        "organization_id": {"type": "string", "maxLength": 40},
                        "default_currency": {"type": "string", "maxLength": 3},
                    },
                }
            }
        },
    }
}
"""The body in OpenAPI: the endpoint reads it by itself."""

ShownState = Literal["waiting", "paused", "publishing", "published", "storing", "done", "failed", "cancelled"]


class UploadSummary(BaseModel):
    """An upload as SQL knows it; `published` means that every row is in the topic."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    state: ShownState = Field(
        description="waiting → publishing → storing → done; `paused` waits until its dataset is active;"
        " `failed` and `cancelled` are other ends. A list says `published` for storing and done."
    )
    error: str | None = Field(description="Reason code of a file-level error.")
    detail: str | None = Field(
        description="Why it failed, what it waits for, or what of the file is not read."
    )
    organization_id: str
    dataset_id: str
    run_id: str
    file_name: str
    content_hash: str = Field(description="SHA-256 of the file, in hex.")
    bytes_total: int
    bytes_read: int = Field(description="How far the file is read; from the beginning again after a crash.")
    rows_read: int = Field(description="The same in rows; all of the file's once it is published.")
    created_at: datetime
    finished_at: datetime | None = Field(description="When its last row was in the topic, or it ended.")

    @field_serializer("created_at", "finished_at")
    def _iso(self, moment: datetime | None) -> str | None:
        return iso_ms(moment) if moment else None


class UploadOut(UploadSummary):
    """An upload with what became of its rows: received is the sum of the four once it is `done`."""

    source_ref: str = Field(description="Names the file in the ledger, in quarantine and in receipts.")
    received: int
    accepted: int
    duplicate: int
    conflict: int
    quarantined: int
