"""Anything can be in a topic: it ends in quarantine, and the good rows beside it are stored."""

import json
import time
from collections.abc import Sequence
from typing import Any

import orjson
from confluent_kafka import Producer

from schemas.registry import REGISTRY_MODELS
from schemas.topics import REGISTRY, RegistryKind
from tests.faults.books import FORGED
from tests.faults.world import World, alive
from tests.support.workers import payment, read, wait_until

HUGE = 1_000_000
"""Bytes of values close to the broker's limit of 1,048,588 a record."""
DEEP = 100_000
Headers = list[tuple[str, bytes | None]]

WRONG: tuple[Any, ...] = (
    [],
    {},
    True,
    -1,
    1.5,
    "\u0000",
    "",
    "x" * 70_000,
    [[["a"]]],
    {"a": {"b": None}},
    10**30,
)


def _values(good: dict[str, Any]) -> list[bytes | None]:
    """Values that are no good row, made of a good one."""
    deep = b'{"ID": ' + b"[" * DEEP + b"]" * DEEP + b"}"
    texts = [
        b"",
        b"\xff\xfe\x00",
        b"not json",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"{}",
        b"{",
        b"\x00" * 50,
        b'{"ID": "\xc3\x28"}',
        b'{"ID": "\\ud800"}',
        b"[" * DEEP,
        deep,
        orjson.dumps({**good, "deep": None}).replace(b"null", b"[" * 900 + b"]" * 900),
        b"x" * HUGE,
        json.dumps({**good, "NOTES": "x" * HUGE}).encode(),
        json.dumps({**good, "value": "9" * HUGE}).encode(),
    ]
    numbers = [
        b"1e400",
        b"-1e400",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9" * 5000,
        b"0." + b"1" * 5000,
        b"1e-400x",
    ]
    for name in good:
        texts += [json.dumps({**good, name: value}).encode() for value in WRONG]
        marked = json.dumps({**good, name: "@"}).encode()
        texts += [marked.replace(b'"@"', number) for number in numbers]
        texts += [
            json.dumps({**good, name: text}).encode()
            for text in ("1e400", "NaN", "\u221e", "a\u0000b", "1e999999999")
        ]
    return [None, *texts]


def _header_sets(organization: bytes) -> list[Headers]:
    """Headers that no producer of ours would send."""
    known: Headers = [("organization_id", organization)]
    return [
        [],
        [("organization_id", None)],
        [("organization_id", b"")],
        [("organization_id", b"\xff\xfe")],
        [("organization_id", b"org_nobody")],
        [("organization_id", b"a\x00b")],
        [("organization_id", b"x" * 200_000)],
        *[
            [*known, (name, value)]
            for name in (
                "dataset_id",
                "source",
                "source_ref",
                "line",
                "received_at",
                "replay_of",
                "origin",
                "unreadable",
            )
            for value in (
                None,
                b"",
                b"\xff\xfe",
                b"-5",
                b"1e400",
                b"99999999999999999999999",
                b"x" * 200_000,
                b"a\x00b",
            )
        ],
        [*known, ("received_at", b"0001-01-01T00:00:00+14:00")],
        [*known, ("received_at", b"9999-12-31T23:59:59-14:00")],
        [*known, ("received_at", b"1850-01-01T00:00:00")],
        [*known, ("origin", b"1:" + FORGED)],
        [*known, ("organization_id", b"org_nobody"), ("organization_id", organization)],
        [*known, *(("x", b"y") for _ in range(2000))],
        [*known, ("", b""), ("\u0000", b"\x00"), ("\U0001f600" * 1000, b"\xf0\x28\x8c\x28")],
    ]


def _registry_garbage(kind: RegistryKind, organization: str) -> list[bytes]:
    """Nothing of a message, and a good message with each field in turn made wrong."""
    good: dict[str, Any] = {
        "id": "g", "number": 1, "version": 1, "changed_at": "2026-01-01T00:00:00.000Z", "archived": False,
        "organization_id": organization, "project_id": "prj_g", "name": "N", "country": "NG",
        "programme_ids": ["prg_g"], "external_id": "e", "manufacturer": "HOP", "serial_number": "S",
        "capacity_kw": 1.5, "commissioned_on": "2026-01-01", "onboarded_at": None, "device_id": None,
        "customer_external_id": None, "valid_from": None, "valid_to": None, "provider": "P", "source": "s3",
        "type": "electricity_payments", "target": "project", "project_ids": ["prj_g"], "programme_id": None,
        "id_namespace": "", "conflict_rule": {}, "default_currency": None, "schedule": "", "profile": "s3",
        "state": "active",
    }  # fmt: skip
    times = ("yesterday", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-99-99", 2**70)
    changed = [
        {**good, "id": f"g{number}", name: value}
        for name in REGISTRY_MODELS[kind].model_fields
        for number, value in enumerate((None, *WRONG, *times))
    ]
    bare = (None, 1, "text", [], {}, {"id": None}, {"id": []}, {"id": "g"}, {"id": "g", "version": "x"})
    return [json.dumps(value).encode() for value in (*bare, *changed)]


class Rubbish:
    """Publishes anything, to any partition."""

    def __init__(self, world: World) -> None:
        self._prefix = world.prefix
        self._errors: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": world.endpoints.kafka,
                "message.max.bytes": 2_000_000,
                "log_level": 0,
                "linger.ms": 5,
            }
        )

    def send(
        self, topic: str, values: Sequence[bytes | None], headers: Headers, key: bytes | None = None
    ) -> None:
        """Publish values with these headers, over the partitions of data topics."""
        registry = topic.startswith("registry.")
        for number, value in enumerate(values):
            self._producer.produce(
                self._prefix + topic,
                value=value,
                key=key,
                headers=headers,
                partition=0 if registry else number % 4,
                on_delivery=self._delivered,
            )
            self._producer.poll(0)

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._errors.append(str(error))

    def flush(self) -> None:
        """Wait for all acknowledgements; a record that the broker refused is none of the test's."""
        assert self._producer.flush(60) == 0
        assert not self._errors, self._errors[:3]


def test_garbage_ends_in_quarantine_beside_stored_rows(world: World) -> None:
    """Garbage in values, headers and the registry kills no process and holds up no good row."""
    organization = world.sender.organization()
    rubbish = Rubbish(world)
    headers: Headers = [("organization_id", organization.encode())]
    for kind in REGISTRY:
        junk = _registry_garbage(kind, organization)
        rubbish.send(f"registry.{kind}", [*junk, b"\xff", b"{", b"[" * DEEP, b"x" * HUGE, b""], [], b"g")
        rubbish.send(f"registry.{kind}", [None], [("\u0000", None)], b"gone")
    rubbish.flush()
    world.sender.device(organization, "D1")
    workers = [world.start(wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()

    sets = _header_sets(organization.encode())
    rows = [orjson.dumps(payment(100_000 + number)) for number in range(len(sets))]
    reads = [orjson.dumps(read("D1", 1000 + number)) for number in range(len(sets))]
    good = 0
    bad_payments = _values(payment(1))
    bad_reads = _values(read("D1", 1))
    for at in range(0, max(len(bad_payments), len(bad_reads)), 40):
        world.sender.payments(
            [payment(number) for number in range(200_000 + at, 200_000 + at + 40)], organization
        )
        world.sender.reads([read("D1", number) for number in range(2000 + at, 2000 + at + 40)], organization)
        good += 40
        rubbish.send("payments", bad_payments[at : at + 40], headers)
        rubbish.send("reads", bad_reads[at : at + 40], headers)
    for given, row, one in zip(sets, rows, reads, strict=True):
        rubbish.send("payments", [row], given)
        rubbish.send("reads", [one], given)
    # good rows near the broker's limit, on the wrong partition: a copy with more headers would exceed it
    padded = [orjson.dumps(payment(300_000 + number)).ljust(1_048_000) for number in range(8)]
    rubbish.send("payments", padded, headers)
    rubbish.flush()

    world.wait_drained(["payments", "reads"])
    assert alive(*workers), [worker.child.tail(20) for worker in workers if not alive(worker)]
    for topic in ("payments", "reads"):
        world.books.check(topic)
    stored = world.books.value(
        "SELECT count() FROM payments WHERE id >= 'P200000' AND id < 'P300000' AND length(id) = 7"
    )
    assert stored == good
    assert world.books.value(f"SELECT count() FROM reads WHERE end > {_end(1999)}") == good
    quarantined = world.books.rows(
        "SELECT arrayJoin(reasons) AS r, count() FROM quarantine GROUP BY r ORDER BY r"
    )
    assert {"not_json", "not_object", "bad_header"} <= {str(reason) for reason, _ in quarantined}
    judged = world.books.value("SELECT count() FROM ledger WHERE outcome = 'quarantined' AND empty(reasons)")
    assert judged == 0, "refused without a reason"
    assert "registry_message_refused" in world.logs()


def _end(number: int) -> str:
    return f"toDateTime64({read('D1', number)['end']}, 3, 'UTC')"


def test_a_good_version_after_a_bad_one_of_the_registry_counts(world: World) -> None:
    """A registry object whose first message was garbage is known once a right one has come."""
    organization = world.sender.organization()
    rubbish = Rubbish(world)
    broken: dict[str, Any] = {"id": f"dev_{organization}_D1", "version": 0, "organization_id": organization}
    rubbish.send("registry.devices", [orjson.dumps(broken)], [], broken["id"].encode())
    dataset = {
        "id": "ds_bad",
        "number": 1,
        "version": 1,
        "changed_at": "2026-01-01T00:00:00.000Z",
        "archived": False,
        "organization_id": organization,
        "name": "n",
        "target": "project",
        "project_ids": [],
        "id_namespace": "",
        "conflict_rule": "always",
        "default_currency": 5,
        "profile": "nonsense",
    }
    rubbish.send("registry.datasets", [orjson.dumps(dataset)], [], b"ds_bad")
    rubbish.flush()
    worker = world.start()
    world.sender.device(organization, "D1")
    world.sender.reads([read("D1", 1)], organization)
    world.sender.payments([payment(1), payment(1, PAYMENT_AMOUNT="2")], organization, dataset_id="ds_bad")
    world.sender.payments([payment(2)], organization)
    world.wait_drained(["payments", "reads"])
    assert alive(worker), worker.child.tail(20)
    assert world.books.value("SELECT count() FROM reads") == 1
    assert world.books.value("SELECT count() FROM payments WHERE id = 'P2'") == 1
    world.books.check("payments")


def test_nothing_but_bad_rows_is_not_slow(world: World) -> None:
    """A stream of nothing but bad rows runs at least at a tenth of the good rows' speed."""
    organization = world.sender.organization()
    worker = world.start()
    rows = 12_000

    def seconds(values: Sequence[dict[str, Any] | bytes]) -> float:
        before = world.books.value("SELECT count() FROM ledger_rows")
        began = time.monotonic()
        world.sender.payments(values, organization)
        wait_until(
            lambda: world.books.value("SELECT count() FROM ledger_rows") >= before + rows, 240, "rows judged"
        )
        return time.monotonic() - began

    seconds([payment(-number) for number in range(rows)])  # warm: imports, connections, the first pages
    good = seconds([payment(number) for number in range(rows)])
    bad = seconds(
        [
            (payment(number, PAYMENT_AMOUNT="a", TIMESTAMP="b", METER_ID=None) if number % 3 else b"no json")
            for number in range(rows)
        ]
    )
    print(f"{rows} good rows in {good:.1f} s, bad ones in {bad:.1f} s")
    assert alive(worker)
    assert bad <= 10 * good + 5
