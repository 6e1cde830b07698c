"""Pages of the ledger: rows with their outcome, explained when asked, and what is still on its way."""

from pydantic import BaseModel, Field

from api.ledger.explanations import Explanation
from api.ledger.schemas import Big, Moment
from api.ledger.underway import OnTheWay
from api.paging import Page


class LedgerRow(BaseModel):
    """The outcome of one received row."""

    organization_id: str
    record_type: str
    record_id: str
    content_hash: Big
    outcome: str
    reasons: list[str]
    dataset_id: str
    source: str
    source_ref: str
    line: int
    topic: str
    partition: int
    offset: int
    received_at: Moment
    stored_at: Moment
    replay_of: Big | None
    position: Big
    explanation: Explanation | None = Field(None, description="Null unless it was asked for.")


class LedgerPage(Page[LedgerRow]):
    """A page of the ledger."""

    on_the_way: OnTheWay | None = Field(
        None, description="Whether what was named waits to be judged; null when no single rows were named."
    )
