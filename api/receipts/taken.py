"""What is known of a receipt besides the ledger: a file's record, or what a request's receipt carries."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from api.receipts import names
from api.tables import RunFile
from producers.contracts import FileState
from sinks.receipts import DEVICE, Key


class State(StrEnum):
    """What became of the source: being read; all rows in the topic; refused; gone before it was read to its
    end; a request whose sender was told to send it again."""

    READING = "reading"
    PUBLISHED = "published"
    REFUSED = "refused"
    REPLACED = "replaced"
    UNACKNOWLEDGED = "unacknowledged"


BROKEN_OFF: Final = frozenset({State.REPLACED, State.UNACKNOWLEDGED})
"""States in which more may have been published than is on record."""
API: Final = "api"
REQUEST_ENDS: Final = timedelta(minutes=2)
"""A request that is not on record as acknowledged by then was answered 503, or its process died."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Something that rows were taken from.

    Attributes:
        organization_id: None for a request of which no row is judged yet.
        topic: full name of the topic that its rows were published to.
        recorded: rows that were published, as far as that is on record; None when nobody recorded it.
        is_all: whether `recorded` is all that was published; a reading that broke off may have more.
        started_at: when it was taken up.
        finished_at: when its source was dealt with.
        closed_at: from then on nothing more of it is published; None when that is not known.
    """

    id: str
    organization_id: str | None
    dataset_id: str | None
    run_id: str | None
    source: str
    source_ref: str
    topic: str
    state: State
    recorded: int | None
    is_all: bool
    started_at: datetime
    finished_at: datetime | None = None
    closed_at: datetime | None = None
    content_hash: str | None = None
    destination: str | None = None
    error: str | None = None
    detail: str | None = None

    @property
    def key(self) -> Key:
        """Its name in the ledger."""
        return Key(self.organization_id or "", self.dataset_id or "", self.source_ref)

    @property
    def may_have_rows(self) -> bool:
        """Whether the ledger can have rows of it: nothing is published of a source before it is refused."""
        return self.organization_id is not None and (
            self.state is State.READING or not self.is_all or self.recorded != 0
        )

    @property
    def place(self) -> "Place":
        """Its place in the list of all receipts."""
        return names.to_ms(self.started_at), self.id


Place = tuple[int, str]
"""Milliseconds since 1970 when it was taken up, and id: receipts are listed by it, greatest first."""
_STATES: Final = {FileState.CLAIMED: State.READING, FileState.REPLACED: State.REPLACED}


def of_file(file: RunFile, organization_id: str, topic: str) -> Taken:
    """What the record of a file says."""
    state = _STATES.get(FileState(file.state), State.REFUSED if file.error else State.PUBLISHED)
    closed_at = file.finished_at
    if state is State.READING and file.source == API and file.claimed_at < datetime.now(UTC) - REQUEST_ENDS:
        state, closed_at = State.UNACKNOWLEDGED, file.claimed_at
    return Taken(
        id=file.id,
        organization_id=organization_id,
        dataset_id=file.dataset_id,
        run_id=file.run_id,
        source=file.source,
        source_ref=file.source_ref,
        topic=topic,
        state=state,
        recorded=file.received,
        is_all=state not in BROKEN_OFF,
        started_at=file.claimed_at,
        finished_at=file.finished_at,
        closed_at=closed_at,
        content_hash=file.content_hash,
        destination=file.destination,
        error=file.error,
        detail=file.detail,
    )


def of_request(receipt: str, organization_id: str | None, topic: str) -> Taken:
    """What the receipt of a device's request says: it was answered 202, or its sender does not know it."""
    moment = names.moment_of(receipt)
    return Taken(
        id=receipt,
        organization_id=organization_id,
        dataset_id=None,
        run_id=None,
        source=DEVICE,
        source_ref=receipt,
        topic=topic,
        state=State.PUBLISHED,
        recorded=names.rows_of(receipt),
        is_all=True,
        started_at=moment,
        closed_at=moment,
    )
