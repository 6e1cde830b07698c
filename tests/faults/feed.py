"""A sender that does not stop for anything, and remembers what it sent."""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from confluent_kafka import Producer

from tests.support.workers import payment, read

DEVICES = tuple(f"D{number}" for number in range(6))


class Feed:
    """Publishes payments and reads from a thread: new ones, re-sent, changed and bad ones, on any partition.

    Every record carries its number in the header `line`, so each can be found again on the broker.
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
        self._a_second = a_second
        self._partitions = partitions
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._failed: list[str] = []
        self.acknowledged = 0
        self.lines: dict[str, list[int]] = {"payment": [], "read": []}
        self.contents: dict[str, dict[Any, Counter[str]]] = {
            "payment": defaultdict(Counter),
            "read": defaultdict(Counter),
        }
        self.bad = Counter[str]()
        self._numbers = {"payment": 0, "read": 0}

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def finish(self) -> None:
        """Stop sending and wait for every acknowledgement."""
        self._stopping.set()
        self._thread.join()
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

    def _run(self) -> None:
        pause = 20 / self._a_second
        while not self._stopping.wait(pause):
            for _ in range(20):
                self._one("payment" if self._random.random() < 0.7 else "read")
            self._producer.poll(0)

    def _one(self, kind: str) -> None:
        dice = self._random.random()
        if dice < 0.03:
            self.bad[kind] += 1
            good = self._row(kind, 0, 0)
            row = {**good, "ID": f"B{self.bad.total()}", "PAYMENT_AMOUNT": "much", "value": "much"}
            return self._publish(kind, json.dumps(row).encode() if dice < 0.02 else b"\xffnot json")
        number, variant = self._numbers[kind], 0
        if dice < 0.25 and number:
            number = self._random.randrange(max(0, number - 2000), number)
            variant = self._random.randrange(1, 3) if dice < 0.08 else 0
        else:
            self._numbers[kind] += 1
        value = json.dumps(self._row(kind, number, variant)).encode()
        self.contents[kind][number][value.decode()] += 1
        self._publish(kind, value)

    def _row(self, kind: str, number: int, variant: int) -> dict[str, Any]:
        if kind == "payment":
            return payment(number, PAYMENT_AMOUNT=str(5000 + variant))
        return read(DEVICES[number % len(DEVICES)], number // len(DEVICES), value=12.5 + variant)

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
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)
