"""The auditor: what the broker received against what the tables say.

Independent of the product: plain SQL over HTTP and confluent_kafka, nothing of `streams` or `sinks`.
"""

import base64
import json
import re
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.support.workers import wait_until

OFFSETS = 1 << 40
PLACES = 1 << 56
"""A position is epoch (8 bits), partition (16), offset (40)."""
FORGED = b"0" * 32
"""The signature that tests put on an origin that no worker signed."""


@dataclass(frozen=True)
class Received:
    """One record as the broker has it."""

    partition: int
    offset: int
    value: bytes | None
    headers: Mapping[str, bytes | None]

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.partition, self.offset

    @property
    def origin(self) -> tuple[int, int] | None:
        """Where a forwarded copy was received first; None for a received row."""
        signed = re.fullmatch(rb"(\d+):([0-9a-f]{32})", self.headers.get("origin") or b"")
        if signed is None or signed[2] == FORGED:
            return None
        at = int(signed[1]) % PLACES
        return at // OFFSETS, at % OFFSETS


class Books:
    """Reads both sides of one installation (a topic prefix and a database)."""

    def __init__(self, kafka: str, prefix: str, group: str, url: str, database: str) -> None:
        self._prefix = prefix
        self._database = database
        parts = urllib.parse.urlsplit(url)
        self._url = f"{parts.scheme}://{parts.hostname}:{parts.port}/"
        self._key = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": f"{prefix}{group}",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "log_level": 0,
            }
        )

    def close(self) -> None:
        """End the connection to the broker."""
        self._consumer.close()

    # -- the store

    def rows(self, sql: str) -> list[list[Any]]:
        """Rows of a query."""
        request = urllib.request.Request(
            f"{self._url}?{urllib.parse.urlencode({'database': self._database})}",
            data=f"{sql} FORMAT JSONCompact".encode(),
            headers={"Authorization": f"Basic {self._key}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: list[list[Any]] = json.loads(answer.read())["data"]
        return found

    def value(self, sql: str) -> Any:
        """The one value of a query."""
        return self.rows(sql)[0][0]

    def outcomes(self) -> dict[str, int]:
        """Rows of the view `ledger` by outcome."""
        return {name: int(n) for name, n in self.rows("SELECT outcome, count() FROM ledger GROUP BY outcome")}

    # -- the broker

    def partitions(self, topic: str) -> list[int]:
        """Partition numbers of a topic."""
        name = self._prefix + topic
        return sorted(self._consumer.list_topics(name, timeout=10).topics[name].partitions)

    def ends(self, topic: str) -> dict[int, int]:
        """End offset of each partition."""
        return {
            number: self._consumer.get_watermark_offsets(
                TopicPartition(self._prefix + topic, number), timeout=10
            )[1]
            for number in self.partitions(topic)
        }

    def committed(self, topic: str) -> dict[int, int]:
        """The group's committed offset of each partition; negative without one."""
        asked = [TopicPartition(self._prefix + topic, number) for number in self.partitions(topic)]
        return {tp.partition: tp.offset for tp in self._consumer.committed(asked, timeout=10)}

    def records(self, topic: str) -> list[Received]:
        """Every record of a topic, in the order of each partition."""
        ends = self.ends(topic)
        left = {number for number, end in ends.items() if end}
        name = self._prefix + topic
        self._consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in left])
        found: list[Received] = []

        def read_to_the_ends() -> bool:
            for message in self._consumer.consume(5000, timeout=1.0):
                assert message.error() is None, message.error()
                number, offset = message.partition(), message.offset()
                assert number is not None
                assert offset is not None
                headers: Any = message.headers() or []
                found.append(Received(number, offset, message.value(), dict(headers)))
                if offset + 1 >= ends[number]:
                    left.discard(number)
            return not left

        wait_until(read_to_the_ends, 60, f"{topic} read to its ends")
        self._consumer.unassign()
        return [record for record in found if record.offset < ends[record.partition]]

    def received(self, topic: str) -> list[Received]:
        """Received records: every one that is not a forwarded copy."""
        return [record for record in self.records(topic) if record.origin is None]

    # -- waiting and checking

    def behind(self, topics: Iterable[str]) -> dict[str, tuple[dict[int, int], dict[int, int]]]:
        """Topics whose committed offsets are not at the ends, with both; empty partitions need none."""
        found = {}
        for topic in topics:
            ends, done = self.ends(topic), self.committed(topic)
            if any(end and done[number] != end for number, end in ends.items()):
                found[topic] = (ends, done)
        return found

    def check(self, topic: str) -> list[Received]:
        """Every received record has one ledger row, the ranges cover every offset; returns the records."""
        received = self._check_rows(topic)
        self._check_ranges(topic)
        return received

    def _check_rows(self, topic: str) -> list[Received]:
        records = self.records(topic)
        received = [record for record in records if record.origin is None]
        expected = {record.place for record in received}
        strangers = {record.origin for record in records if record.origin is not None} - expected
        assert not strangers, f"forwarded copies of nothing: {sorted(strangers)[:5]}"
        self.check_outcomes(topic)
        # by position: the columns partition and offset must say the same as the position does
        judged = Counter(
            (int(partition), int(offset))
            for partition, offset in self.rows(
                f"SELECT bitAnd(bitShiftRight(position, 40), 65535), position % {OFFSETS}"
                f" FROM ledger WHERE topic = '{self._prefix}{topic}'"
            )
        )
        missing, foreign = expected - judged.keys(), judged.keys() - expected
        assert not missing, f"{len(missing)} received rows without an outcome: {sorted(missing)[:5]}"
        assert not foreign, f"{len(foreign)} outcomes of rows never received: {sorted(foreign)[:5]}"
        differing = self.value(
            "SELECT count() FROM ledger WHERE partition != bitAnd(bitShiftRight(position, 40), 65535)"
            f" OR offset != position % {OFFSETS}"
        )
        assert differing == 0
        return received

    def check_outcomes(self, topic: str) -> None:
        """No row was judged twice, and differently: in the table itself, where a second verdict is seen until
        a merge drops it. The view shows one row per position, whatever is stored.

        Raises:
            AssertionError: a position has several verdicts.
        """
        twice = self.rows(
            "SELECT position, groupUniqArray(toString(outcome)) FROM ledger_rows"
            f" WHERE topic = '{self._prefix}{topic}'"
            " GROUP BY position HAVING uniqExact(outcome, identity, content_hash) > 1 LIMIT 5"
        )
        assert not twice, f"two outcomes of one row: {twice}"

    def _check_ranges(self, topic: str) -> None:
        by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, first, last, rows, forwarded, lost in self.rows(
            "SELECT partition, first_offset, next_offset, rows, forwarded, lost FROM ledger_ranges"
            f" WHERE topic = '{self._prefix}{topic}'"
        ):
            assert rows + forwarded + lost == last - first, (number, first, last, rows, forwarded, lost)
            assert lost == 0
            by_partition[number].append((first, last))
        committed = self.committed(topic)
        for number, end in self.ends(topic).items():
            reached = 0
            for first, last in sorted(by_partition[number]):
                assert first <= reached, f"{topic}[{number}]: offsets {reached}..{first} are in no range"
                reached = max(reached, last)
            assert reached == end, f"{topic}[{number}]: ranges end at {reached}, the log at {end}"
            assert end == 0 or committed[number] == end


def json_object(value: bytes | None) -> dict[str, Any] | None:
    """The object of a record's value, None for anything else."""
    try:
        found = json.loads(value or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
