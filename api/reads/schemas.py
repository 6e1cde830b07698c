"""What a device is answered."""

from pydantic import BaseModel, Field


class RejectedRead(BaseModel):
    """A read that breaks a rule; it is recorded too, and ends quarantined."""

    index: int = Field(description="Position in `reads`, from 0.")
    code: str = Field(description="Reason code, `code` or `code:field`.")
    detail: str = Field(description="What is expected.")


class ReadsOut(BaseModel):
    """The broker has acknowledged every read; sending them again does no harm."""

    accepted: int
    rejected: list[RejectedRead]
    receipt: str = Field(
        description="Names this request: `source_ref` in the ledger, and `id` under /v1/receipts."
    )
