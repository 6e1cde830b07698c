"""What an organisation's system sends and is answered."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from api.fields import ObjectId
from api.registry.schemas import Input
from schemas.fields import EXAMPLES, PROFILES

_PAYMENT: dict[str, Any] = {
    "type": "object",
    "description": "Fields of one payment; its JSON Schema is served as /schemas/payments/api.json.",
    "examples": [{name: example for name, example in EXAMPLES.items() if name in PROFILES["api"]}],
}


class PaymentsRequest(Input):
    """Payments of one organisation. Each is judged by itself: a bad one holds up no other."""

    dataset_id: ObjectId | None = Field(
        None, description="A dataset of the organisation, of source `api` or `topic`; none is needed."
    )
    payments: list[Annotated[Any, WithJsonSchema(_PAYMENT)]]


class FieldFault(BaseModel):
    """One fault of a payment."""

    code: str = Field(description="Reason code.")
    field: str | None = Field(description="Name of the field; null when it is the payment as a whole.")
    detail: str = Field(description="What is expected; never what was sent.")


class RejectedPayment(FieldFault):
    """A payment that breaks a rule; it is recorded too, and ends quarantined."""

    index: int = Field(description="Position in `payments`, from 0.")
    further: list[FieldFault] = Field([], description="The other faults of this payment.")


class PaymentsOut(BaseModel):
    """The broker has acknowledged every payment; sending them again does no harm."""

    accepted: int = Field(description="How many passed the check.")
    rejected: list[RejectedPayment] = Field(description="The others, one entry each.")
    receipt: str = Field(description="Names this request: `source_ref` in the ledger.")
