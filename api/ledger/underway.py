"""Rows that are received and not judged yet: found in the broker's tails, never guessed.

Offsets are compared: what the broker holds, up to where the ledger's ranges reach. For a place in a
topic that tells enough; for an ID or a line of a file the records between are looked at, so many at
most, and the answer says when that was not all of them. A row that was sent on to its home partition
waits there under the place where it was received.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

from clickhouse_connect.driver.client import Client
from pydantic import BaseModel, Field

from api.ledger.named import Named
from api.ledger.tails import Look, TailsAway, TopicState, TopicTails, Waiting
from api.ledger.waiting import WaitingRow, is_named, origin_of, waiting_row
from api.store import Store
from schemas.identity import position
from sinks.epochs import known_epoch
from sinks.ledger_outcomes import ledger_next_offsets
from sinks.restore import ledger_outcomes_of

LOOK_AT: Final = 20_000
"""Most records of one topic that one question looks at."""

Status = Literal["no", "yes", "perhaps", "unknown"]


class PartitionLag(BaseModel):
    """How far the judging of one partition is."""

    topic: str
    partition: int
    judged_to: int = Field(description="Every offset below it is judged or was sent on.")
    received_to: int = Field(description="The broker has every offset below it.")
    waiting: int


class OnTheWay(BaseModel):
    """Whether what was asked for is received and not judged yet."""

    status: Status
    detail: str
    rows: list[WaitingRow] = []
    lag: list[PartitionLag] = Field([], description="Partitions with records that wait.")
    looked_at: int = Field(0, description="Waiting records that were looked at.")


class _Tail:
    """The unjudged part of one topic when the question came."""

    def __init__(self, topic: str, state: TopicState, epoch: int | None, judged: dict[int, int]) -> None:
        self.topic = topic
        self.epoch = epoch
        self.state = state
        self.judged = {part: max(judged.get(part, 0), low) for part, (low, _) in state.spans.items()}
        self.spans = {part: (self.judged[part], high) for part, (_, high) in state.spans.items()}

    def position(self, partition: int, offset: int) -> int:
        """Position of an offset; a topic that no worker has seen gets the next epoch, which none has yet."""
        return position(255 if self.epoch is None else self.epoch, partition, offset)

    def lag(self) -> list[PartitionLag]:
        return [
            PartitionLag(
                topic=self.topic, partition=part, judged_to=low, received_to=high, waiting=high - low
            )
            for part, (low, high) in sorted(self.spans.items())
            if low < high
        ]


class Underway:
    """Answers for one application.

    Args:
        tails: None when there is no broker to ask.
        payments: full name of the topic.
        reads: full name of the topic.
    """

    def __init__(self, store: Store, tails: TopicTails | None, payments: str, reads: str) -> None:
        self._store = store
        self._tails = tails
        self._id_field = {payments: "ID", reads: "device_external_id"}

    def look(self, named: Named) -> tuple[OnTheWay, int | None]:
        """Whether the rows named wait, and, for a place that holds a row sent on from elsewhere, the
        position where that row was received.

        Raises:
            StoreAway: ClickHouse does not answer; a broker that does not is told as `unknown`.
        """
        if self._tails is None:
            return _AWAY.model_copy(), None
        try:
            if named.place:
                return self._at(self._tails, named)
            return self._among(self._tails, named), None
        except TailsAway:
            return _AWAY.model_copy(), None

    def _tail(self, tails: TopicTails, topic: str) -> _Tail:
        state = tails.state(topic)

        def ask(client: Client) -> tuple[int | None, dict[int, int]]:
            epoch = known_epoch(client, topic, state.topic_id)
            return epoch, {} if epoch is None else ledger_next_offsets(client, topic, epoch)

        return _Tail(topic, state, *self._store.ask(ask))

    def _among(self, tails: TopicTails, named: Named) -> OnTheWay:
        """For an ID or a line: what waits in any partition."""
        answer = OnTheWay(status="no", detail="Everything that was received has been judged.")
        complete = True
        for topic in self._topics_of(named):
            tail = self._tail(tails, topic)
            field = self._id_field[topic]
            look = tails.read(topic, tail.spans, LOOK_AT, partial(is_named, named=named, id_field=field))
            answer.rows += self._waiting(tail, look.found)
            answer.lag += tail.lag()
            answer.looked_at += look.looked_at
            complete = complete and look.complete
        left = sum(part.waiting for part in answer.lag) - answer.looked_at
        if answer.rows:
            answer.status, answer.detail = "yes", _WAITS
        elif not complete:
            answer.status = "perhaps"
            answer.detail = f"Not among the next records to be judged; {max(left, 1)} more wait behind them."
        elif answer.lag:
            answer.detail = "Not among the records that wait to be judged."
        return answer

    def _at(self, tails: TopicTails, named: Named) -> tuple[OnTheWay, int | None]:
        """For a place in a topic."""
        topic, partition, offset = named.topic or "", named.partition or 0, named.offset or 0
        if topic not in self._id_field:
            return OnTheWay(status="unknown", detail="No rows are received in a topic of that name."), None
        tail = self._tail(tails, topic)
        if partition not in tail.spans:
            return OnTheWay(status="unknown", detail="The topic has no such partition."), None
        return self._at_offset(tails, tail, partition, offset)

    def _at_offset(
        self, tails: TopicTails, tail: _Tail, partition: int, offset: int
    ) -> tuple[OnTheWay, int | None]:
        """For an offset of a partition that there is."""
        answer = OnTheWay(status="no", detail=_JUDGED, lag=tail.lag())
        low, high = tail.state.spans[partition]
        if offset >= high:
            answer.detail = f"Nothing was received there: the partition ends before offset {high}."
            return answer, None
        if self._judged(tail, [tail.position(partition, offset)]):
            return answer, None
        if offset < low:
            answer.status, answer.detail = "unknown", _GONE
            return answer, None
        look = tails.read(tail.topic, {partition: (offset, offset + 1)}, 1, lambda _: True)
        if not look.found:
            answer.detail = "There is no record at this offset: the broker uses some for itself."
            return answer, None
        return self._of_record(tails, tail, look, answer)

    def _of_record(
        self, tails: TopicTails, tail: _Tail, look: Look, answer: OnTheWay
    ) -> tuple[OnTheWay, int | None]:
        """For a record that the broker still holds and that has no outcome under its own place."""
        record = look.found[0]
        origin = origin_of(record)
        passed = record.offset < tail.judged[record.partition]
        place = tail.position(record.partition, record.offset)
        if passed and origin is None:
            # Dealt with and without an outcome: it was sent on, and its copy waits under this position.
            look = tails.read(tail.topic, tail.spans, LOOK_AT, lambda found: origin_of(found) == place)
            answer.looked_at = look.looked_at
        answer.rows = self._waiting(tail, look.found)
        if answer.rows:
            answer.status, answer.detail = "yes", _WAITS
        elif origin is not None:
            answer.detail = "A row that was sent on to here; it was received at another place and is judged."
        elif not look.complete:
            answer.status, answer.detail = "perhaps", "Sent on to its home, where many records wait."
        elif not self._judged(tail, [place]):
            answer.status = "unknown"
            answer.detail = "It was dealt with, and neither an outcome nor a copy sent on is to be found."
        return answer, origin

    def _topics_of(self, named: Named) -> Sequence[str]:
        if named.topic is not None:
            return [named.topic] if named.topic in self._id_field else []
        return list(self._id_field)

    def _waiting(self, tail: _Tail, records: Sequence[Waiting]) -> list[WaitingRow]:
        """The rows behind records, each once, those left out that have an outcome by now."""
        found: dict[int, Waiting] = {}
        for record in records:
            origin = origin_of(record)
            found[tail.position(record.partition, record.offset) if origin is None else origin] = record
        judged = self._judged(tail, list(found))
        return [waiting_row(at, record) for at, record in sorted(found.items()) if at not in judged]

    def _judged(self, tail: _Tail, positions: list[int]) -> set[int]:
        """Those of the positions that have an outcome."""
        if tail.epoch is None or not positions:
            return set()
        return set(self._store.ask(ledger_outcomes_of, tail.topic, positions))


_JUDGED: Final = "Judged."
_WAITS: Final = "Received and waiting to be judged."
_GONE: Final = (
    "The broker no longer has it. A row that was sent on to its home partition is in the ledger under the"
    " place where it was received."
)
_AWAY: Final = OnTheWay(
    status="unknown", detail="The broker does not answer, so what waits there cannot be told now."
)
