"""Questions behind receipts: what became of the rows of files and requests, which requests devices sent.

A received row is a distinct line of a receipt; without a line, a distinct position. Values always go as
parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.identity import split_position

OUTCOMES: Final = ("accepted", "duplicate", "conflict", "quarantined")
DEVICE: Final = "device"
"""The channel whose requests are recorded in the ledger alone."""
_MOST_CHARS: Final = 60_000
"""Characters of references in one question: a server refuses a form field over 128 KiB, and a character
may take several bytes."""
_CLOCKS: Final = timedelta(minutes=2)
"""How far the clocks of ClickHouse and of who asks may be apart."""


class Key(NamedTuple):
    """Names a receipt in the ledger; `dataset_id` is empty for requests of devices."""

    organization_id: str
    dataset_id: str
    source_ref: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a receipt has in one partition: offsets of its first and last judged record, redeliveries too."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the judged rows of a receipt.

    Attributes:
        current: rows by outcome; a replay from quarantine speaks for the row it replays.
        first: rows by the outcome that they had at first.
        reasons: how many rows are quarantined now for each reason; a row may have several.
        places: by topic and partition. Those of a topic that was created anew stand beside the new ones.
        stored_at: when the last of the rows had its first outcome, clock of ClickHouse; None without rows.
    """

    current: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    first: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    reasons: Mapping[str, int] = field(default_factory=dict)
    places: Sequence[Place] = ()
    stored_at: datetime | None = None

    @property
    def judged(self) -> int:
        """Received rows that have an outcome."""
        return sum(self.current.values())


_THEIRS: Final = (
    "organization_id IN {organizations:Array(String)} AND dataset_id IN {datasets:Array(String)}"
    " AND source_ref IN {refs:Array(String)}"
)
_REPLAYED: Final = (
    f"SELECT topic, assumeNotNull(replay_of) FROM ledger_rows WHERE {_THEIRS} AND replay_of IS NOT NULL"
)
_BEST: Final = " ".join(
    f"countIf(NOT replayed AND outcome = '{outcome}') > 0, '{outcome}',"
    for outcome in ("accepted", "conflict", "duplicate")
)
_TALLIES: Final = f"""
SELECT organization_id, dataset_id, source_ref, current, first, reasons, last_stored, places
FROM (
    SELECT organization_id, dataset_id, source_ref,
        [{", ".join(f"countIf(now_is = '{outcome}')" for outcome in OUTCOMES)}] AS current,
        [{", ".join(f"countIf(was = '{outcome}')" for outcome in OUTCOMES)}] AS first,
        sumMap(why, arrayMap(reason -> toUInt64(1), why)) AS reasons,
        max(judged_at) AS last_stored
    FROM (
        SELECT organization_id, dataset_id, source_ref,
            multiIf(
                countIf(NOT replayed) = 0, '',
                {_BEST}
                'quarantined') AS now_is,
            if(now_is = 'quarantined', arrayDistinct(
                if(countIf(NOT replayed AND replay_of IS NOT NULL) > 0,
                    argMinIf(CAST(reasons, 'Array(String)'), (stored_at, position),
                        NOT replayed AND replay_of IS NOT NULL),
                    argMinIf(CAST(reasons, 'Array(String)'), position, NOT replayed))), []) AS why,
            argMinIf(toString(outcome), position, replay_of IS NULL) AS was,
            maxIf(stored_at, replay_of IS NULL) AS judged_at
        FROM (
            SELECT organization_id, dataset_id, source_ref, line, position, outcome, reasons, stored_at,
                replay_of, (topic, position) IN ({_REPLAYED})
                    OR replay_of IS NOT NULL AND (topic, assumeNotNull(replay_of)) IN (
                        SELECT topic, assumeNotNull(replay_of) FROM ledger_rows
                        WHERE {_THEIRS} AND replay_of IS NOT NULL AND (topic, position) IN ({_REPLAYED})
                    ) AS replayed
            FROM ledger WHERE {_THEIRS}
        )
        GROUP BY organization_id, dataset_id, source_ref, line, if(line = 0, ifNull(replay_of, position), 0)
    )
    GROUP BY organization_id, dataset_id, source_ref
) AS counted
LEFT JOIN (
    SELECT organization_id, dataset_id, source_ref, groupArray((topic, low, high)) AS places
    FROM (
        SELECT organization_id, dataset_id, source_ref, toString(topic) AS topic,
            min(position) AS low, max(position) AS high
        FROM ledger_rows WHERE {_THEIRS} AND replay_of IS NULL
        GROUP BY organization_id, dataset_id, source_ref, topic, bitShiftRight(position, 40)
    )
    GROUP BY organization_id, dataset_id, source_ref
) AS placed USING (organization_id, dataset_id, source_ref)
"""
"""A redelivery of a line is no received row: the line is accepted when any record of it was, or else a
conflict, or else a duplicate; so what counts is told, whichever of its records the workers came to first. A
replay from quarantine has the lineage of the row it replays, and speaks for it, the last one of a chain for
all before it; of a replay that was sent twice neither speaks when one was replayed. Positions do not order a
chain: a corrected id may lie in another partition. Forwarded rows have the position where they were
received."""


def tallies(client: Client, keys: Sequence[Key]) -> dict[Key, Tally]:
    """What the ledger has of these receipts; those that it has nothing of are left out.

    One question for a page of receipts; more only for references of an unusual length.
    """
    found: dict[Key, Tally] = {}
    for some in _in_pieces(keys):
        wanted = set(some)
        parameters = {
            "organizations": sorted({key.organization_id for key in some}),
            "datasets": sorted({key.dataset_id for key in some}),
            "refs": sorted({key.source_ref for key in some}),
        }
        for row in client.query(_TALLIES, parameters=parameters).result_rows:
            key = Key(*row[:3])
            if key in wanted:
                found[key] = _tally(*row[3:])
    return found


def _in_pieces(keys: Sequence[Key]) -> Iterator[list[Key]]:
    piece: list[Key] = []
    chars = 0
    for key in keys:
        chars += sum(map(len, key)) + 8
        if piece and chars > _MOST_CHARS:
            yield piece
            piece, chars = [], sum(map(len, key)) + 8
        piece.append(key)
    if piece:
        yield piece


def _tally(
    current: Sequence[int],
    first: Sequence[int],
    reasons: tuple[Sequence[str], Sequence[int]],
    stored_at: datetime,
    places: Sequence[tuple[str, int, int]],
) -> Tally:
    by_count = sorted(zip(*reasons, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return Tally(
        dict(zip(OUTCOMES, current, strict=True)),
        dict(zip(OUTCOMES, first, strict=True)),
        dict(by_count),
        [_place(*place) for place in sorted(places)],
        stored_at,
    )


def _place(topic: str, low: int, high: int) -> Place:
    _, partition, first_offset = split_position(low)
    return Place(topic, partition, first_offset, split_position(high)[2])


def requests(
    client: Client, topic: str, form: str, first: str, before: str, organization_id: str | None, limit: int
) -> list[tuple[str, str]]:
    """Requests that devices sent: (source_ref, organisation), newest first.

    Their references begin with the moment, so a stretch of time is a range of references, and few granules
    of the ledger are read.

    Args:
        topic: full name of the topic of reads.
        form: regular expression of a reference; others, of outsiders, are no receipts of ours.
        first: smallest reference, itself included.
        before: reference after the greatest one.
        organization_id: None for those of all organisations.
        limit: at most so many.
    """
    owned = " HAVING owner = {organization:String}" if organization_id is not None else ""
    rows = client.query(
        "SELECT source_ref, argMin(organization_id, position) AS owner FROM ledger_rows"
        " WHERE topic = {topic:String} AND source = {source:String} AND replay_of IS NULL"
        " AND source_ref >= {first:String} AND source_ref < {before:String}"
        " AND match(source_ref, concat('^', {form:String}, '$'))"
        f" GROUP BY source_ref{owned} ORDER BY source_ref DESC LIMIT {{limit:UInt32}}",
        parameters={
            "topic": topic, "source": DEVICE, "form": form, "first": first, "before": before,
            "organization": organization_id or "", "limit": limit,
        },
    ).result_rows  # fmt: skip
    return [(str(ref), str(owner)) for ref, owner in rows]


@dataclass(frozen=True, slots=True)
class Detours:
    """What the workers did with records of a topic instead of judging them, since a moment.

    Attributes:
        lost: some offsets were gone from the broker before they could be read.
        forwarded: some records were sent on to their home partition.
    """

    lost: bool
    forwarded: bool


def detours(client: Client, topic: str, since: datetime) -> Detours:
    """Whether rows of a topic were lost or sent on in batches that were finished since a moment."""
    rows = client.query(
        "SELECT countIf(lost > 0) > 0, countIf(forwarded > 0) > 0 FROM ledger_ranges"
        " WHERE topic = {topic:String} AND stored_at >= {since:DateTime64(3, 'UTC')}",
        parameters={"topic": topic, "since": since - _CLOCKS},
    ).result_rows
    return Detours(bool(rows[0][0]), bool(rows[0][1]))
