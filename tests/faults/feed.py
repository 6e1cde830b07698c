"""A sender that does not stop for anything, and remembers what it sent."""

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from confluent_kafka import Producer

from tests.faults.sending import Sending
from tests.support.workers import payment, read

BLOCK = 60
"""New rows come in blocks of so many, each in an order of its own."""
LATE = 0.03
"""Share of the new rows that come much later: their neighbours are long stored by then."""
LATEST = 40
"""How many of them are held back at a time."""
FIRST_PAYMENT = datetime(2023, 1, 1, tzinfo=UTC)
DEVICES = tuple(f"D{number}" for number in range(6))


class Feed:
    """Publishes payments and reads from a thread: new ones, re-sent, changed and bad ones, on any partition.

    Neither payments nor reads come in the order of their times. Every record carries its number in the header
    `line`, so each can be found again on the broker.

    Attributes:
        lines: by kind the numbers of the records sent.
        contents: by kind and identity, how often each content was sent.
        good: by kind and line number, which variant of which identity a good record was.
        refused: by kind and line number, what bad records held.
    """

    def __init__(
        self,
        kafka: str,
        prefix: str,
        organization_id: str,
        seed: int,
        a_second: int = 600,
        partitions: int = 4,
    ) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": 240_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._topics = {"payment": f"{prefix}payments", "read": f"{prefix}reads"}
        self._organization = organization_id.encode()
        self._random = random.Random(seed)
        self._partitions = partitions
        self._sending = Sending("feed", self._twenty, lambda: 20 / a_second)
        self._failed: list[str] = []
        self.acknowledged = 0
        self.lines: dict[str, list[int]] = {"payment": [], "read": []}
        self.contents: dict[str, dict[Any, Counter[str]]] = {
            "payment": defaultdict(Counter),
            "read": defaultdict(Counter),
        }
        self.bad = Counter[str]()
        self.good: dict[str, dict[int, tuple[int, int]]] = {"payment": {}, "read": {}}
        self.refused: dict[str, dict[int, bytes]] = {"payment": {}, "read": {}}
        self._sent: dict[str, list[int]] = {"payment": [], "read": []}
        self._orders = {kind: self._order() for kind in ("payment", "read")}

    def __enter__(self) -> "Feed":
        self._sending.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sending.stop(60)

    def check(self) -> None:
        """It sends.

        Raises:
            AssertionError: it does not any more.
        """
        self._sending.check()

    def finish(self) -> None:
        """Stop sending and wait for every acknowledgement."""
        self._sending.finish(60)
        assert self._producer.flush(240) == 0
        assert not self._failed, self._failed[:3]

    @property
    def sent(self) -> int:
        """Records sent."""
        return sum(map(len, self.lines.values()))

    def expected(self) -> Counter[str]:
        """Outcomes that what was sent must have, whatever order it was judged in."""
        outcomes = Counter(quarantined=self.bad.total())
        for identities in self.contents.values():
            for contents in identities.values():
                outcomes["accepted"] += 1
                outcomes["conflict"] += len(contents) - 1
                outcomes["duplicate"] += contents.total() - len(contents)
        return outcomes

    def _order(self) -> Iterator[int]:
        """The numbers of new rows: shuffled in blocks, some held back for long."""
        late: list[int] = []
        for first in count(0, BLOCK):
            block = list(range(first, first + BLOCK))
            late += [number for number in block if self._random.random() < LATE]
            block = [number for number in block if number not in late]
            while len(late) > LATEST:
                block.append(late.pop(self._random.randrange(len(late))))
            self._random.shuffle(block)
            yield from block

    def _twenty(self) -> None:
        for _ in range(20):
            self._one("payment" if self._random.random() < 0.7 else "read")
        self._producer.poll(0)

    def _one(self, kind: str) -> None:
        dice = self._random.random()
        if dice < 0.03:
            self.bad[kind] += 1
            good = self._row(kind, 0, 0)
            wrong = "PAYMENT_AMOUNT" if kind == "payment" else "value"
            row = {**good, wrong: "much"}
            if kind == "payment":
                row["ID"] = f"B{self.bad.total()}"
            value = json.dumps(row).encode() if dice < 0.02 else b"\xffnot json"
            self.refused[kind][len(self.lines[kind]) + 1] = value
            return self._publish(kind, value)
        sent, variant = self._sent[kind], 0
        if dice < 0.25 and sent:
            number = sent[self._random.randrange(max(0, len(sent) - 2000), len(sent))]
            variant = self._random.randrange(1, 3) if dice < 0.08 else 0
        else:
            number = next(self._orders[kind])
            sent.append(number)
        self.good[kind][len(self.lines[kind]) + 1] = (number, variant)
        value = json.dumps(self._row(kind, number, variant)).encode()
        self.contents[kind][number][value.decode()] += 1
        self._publish(kind, value)

    def _row(self, kind: str, number: int, variant: int) -> dict[str, Any]:
        if kind == "payment":
            moment = FIRST_PAYMENT + timedelta(seconds=number * 7919 % (3 * 365 * 86_400))
            amount = str(amount_of(number, variant))
            return payment(number, PAYMENT_AMOUNT=amount, TIMESTAMP=moment.isoformat())
        return read(DEVICES[number % len(DEVICES)], number // len(DEVICES), value=value_of(number, variant))

    def _publish(self, kind: str, value: bytes) -> None:
        line = len(self.lines[kind])
        self.lines[kind].append(line)
        self._producer.produce(
            self._topics[kind],
            value=value,
            headers=[("organization_id", self._organization), ("line", str(line + 1).encode())],
            partition=self._random.randrange(self._partitions),
            on_delivery=self._delivered,
        )

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(str(error))
        else:
            self.acknowledged += 1

    def wait_more(self, records: int, limit_s: float = 60.0) -> None:
        """Return when so many more records have been sent."""
        goal, deadline = self.sent + records, time.monotonic() + limit_s
        while self.sent < goal:
            self.check()
            assert time.monotonic() < deadline
            time.sleep(0.02)


def amount_of(number: int, variant: int) -> int:
    """PAYMENT_AMOUNT of a variant of a payment: no two neighbours have the same."""
    return 100 + number % 7919 + 10_000 * variant


def value_of(number: int, variant: int) -> float:
    """The value of a variant of a read, kWh; binary floats hold it exactly."""
    return 1.5 + number % 97 + 100 * variant
