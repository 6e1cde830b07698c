"""Why: checks, first occurrence, differences, match and stored row of what was received, or that it waits."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from api_helpers import Api, MakeApi, assert_problem
from judged import connect_meter, judged, store

from api.ledger.checks import CHECKS, check_of, checks
from api.ledger.named import Named
from api.ledger.tails import KafkaTails
from api.parts import ApiParts
from producers.publisher import Record
from schemas.identity import position
from schemas.outcomes import Code, Outcome
from sinks.client import connect
from sinks.epochs import epoch_for
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.streams.world import ORG, SIGNER
from tests.support.workers import Sender, WorkerProcess, payment, read, wait_until

FILE = "s3://bucket/in/ELECTRICITY_PAYMENT.csv"


async def ask(api: Api, **query: Any) -> dict[str, Any]:
    """A page of the ledger."""
    answer = await api.http.get("/v1/ledger", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def explained(api: Api, **query: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows found, each with its explanation."""
    found = (await ask(api, **query))["items"]
    assert all(row["explanation"] for row in found)
    return [(row, row["explanation"]) for row in found]


def verdicts(explanation: dict[str, Any]) -> list[str]:
    """The verdicts in the order of the checks."""
    assert [check["check"] for check in explanation["checks"]] == list(CHECKS)
    return [check["verdict"] for check in explanation["checks"]]


async def test_an_accepted_row_tells_its_match_and_its_stored_form(
    whole_api: Api, clickhouse: ClickHouse
) -> None:
    """As analysts see it: pseudonyms, blurred coordinates, the connection of now."""
    await asyncio.to_thread(connect_meter, clickhouse, "M1")
    await judged(clickhouse, payment(1, LATITUDE="1.23456"), source_ref=f"{FILE}@1", line="2", source="s3")
    [(row, why)] = await explained(whole_api, record_id="P1")
    assert (row["source"], row["source_ref"], row["line"]) == ("s3", f"{FILE}@1", 2)
    assert verdicts(why) == ["passed"] * 6
    assert (why["counts"], why["first_occurrence"], why["differences"], why["case"]) == (True, None, [], None)
    match = why["match"]
    assert (match["status"], match["matched_by"], match["connection_id"]) == ("matched", "METER_ID", "con_1")
    assert (match["project_id"], match["counted"], match["reversed"]) == ("prj_1", True, False)
    stored = why["stored"]
    assert (stored["payment_amount"], stored["payment_currency"], stored["latitude"]) == (
        "5000",
        "NGN",
        1.235,
    )
    assert stored["timestamp"] == "2026-05-16T14:16:01.000Z"
    assert stored["content_hash"] == row["content_hash"]
    assert len(stored["customer_name"]) == 64
    assert "Secret Name" not in str(row)


async def test_a_duplicate_tells_its_first_occurrence(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Of the same content; of another spelling the first version; a line delivered again is told as that."""
    await judged(clickhouse, payment(1, NOTES="x"), source_ref=f"{FILE}@1", line="2")
    await judged(clickhouse, payment(1, NOTES="x"), source_ref=f"{FILE}@2", line="9")
    await judged(clickhouse, payment(1, NOTES="x"), source_ref=f"{FILE}@1", line="2")
    await judged(clickhouse, payment(1, NOTES=None), source_ref="topic", line="0")
    rows = await explained(whole_api, record_id="P1")
    assert [row["outcome"] for row, _ in rows] == ["accepted", *["duplicate"] * 3]
    for (_, why), same_line in zip(rows[1:], (False, True, False), strict=True):
        assert verdicts(why) == ["passed", "passed", "passed", "known", "known", "not_reached"]
        first = why["first_occurrence"]
        assert (first["source_ref"], first["line"], first["outcome"]) == (f"{FILE}@1", 2, "accepted")
        assert (first["offset"], first["position"]) == (0, "0")
        assert why["same_line"] is same_line
        assert why["stored"]["id"] == "P1"


async def test_a_conflict_tells_its_differences_and_its_case(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Field by field against the first version; what is personal is named and not compared."""
    first = payment(1, NOTES="call Amina", STATUS="paid")
    second = payment(1, NOTES="call Bello", STATUS="void", PAYMENT_AMOUNT="7.5", CUSTOMER_NAME="Z")
    await judged(clickhouse, first, second, second)
    rows = await explained(whole_api, record_id="P1")
    assert [row["outcome"] for row, _ in rows] == ["accepted", "conflict", "duplicate"]
    why = rows[1][1]
    assert verdicts(why) == ["passed", "passed", "passed", "known", "differs", "passed"]
    assert why["differences"] == [
        {"field": "PAYMENT_AMOUNT", "first": "5000", "this": "7.5"},
        {"field": "STATUS", "first": "paid", "this": "void"},
    ]
    assert (why["counts"], why["match"], why["stored"]) == (False, None, None)
    assert why["case"]["differing_fields"] == ["NOTES", "PAYMENT_AMOUNT", "STATUS"]
    assert (why["case"]["open"], why["case"]["versions"], why["case"]["decision"]) == (True, 2, "")
    assert rows[0][1]["counts"] is True
    assert rows[0][1]["first_occurrence"] is None
    assert (why["first_occurrence"]["offset"], why["first_occurrence"]["outcome"]) == (0, "accepted")
    assert (rows[2][1]["first_occurrence"]["offset"], rows[2][1]["first_occurrence"]["outcome"]) == (
        1, "conflict",
    )  # fmt: skip
    for secret in ("Amina", "Bello"):
        assert secret not in str(rows)


async def test_another_spelling_names_the_version_that_it_spells(
    whole_api: Api, clickhouse: ClickHouse
) -> None:
    """Of two contents the one it does not differ from; an old one, of which that is not known, names none."""
    second = payment(1, PAYMENT_AMOUNT="7.5")
    await judged(clickhouse, payment(1), second, {**second, "NOTES": "x"}, payment(1, NOTES="x"))
    rows = await explained(whole_api, record_id="P1")
    assert [row["outcome"] for row, _ in rows] == ["accepted", "conflict", "duplicate", "duplicate"]
    assert [why["first_occurrence"] and why["first_occurrence"]["offset"] for _, why in rows] == [
        None, 0, 1, 0,
    ]  # fmt: skip
    assert [why["counts"] for _, why in rows] == [True, False, False, True]
    clickhouse.client.command(
        "ALTER TABLE payment_keys UPDATE alias_of = 0 WHERE 1 SETTINGS mutations_sync = 2"
    )
    (_, why) = (await explained(whole_api, record_id="P1"))[2]
    assert (why["first_occurrence"], why["counts"], why["case"]["versions"]) == (None, False, 2)


async def test_a_quarantined_row_tells_which_check_failed(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Checks before it passed, later ones were not reached; what it waits for, and its replays."""
    bad = payment(1, PAYMENT_AMOUNT="1,234", METER_ID=None)
    await judged(clickhouse, b"{nonsense", bad)
    await judged(clickhouse, payment(2), dataset_id="ds_gone")
    await judged(clickhouse, payment(2), replay_of=SIGNER.sign("replay_of", ORG, 2).decode())
    rows = await explained(whole_api, topic="payments", partition=0, offset=0)
    rows += await explained(whole_api, organization_id=ORG, outcome="quarantined", explain=True)
    told = {row["offset"]: why for row, why in rows}
    left = ["not_reached"] * 3
    assert verdicts(told[0]) == ["failed", "not_reached", "not_reached", *left]
    assert told[0]["checks"][0]["reasons"] == ["not_json"]
    assert verdicts(told[1]) == ["passed", "passed", "failed", *left]
    assert len(told[1]["checks"][2]["reasons"]) == 2
    assert verdicts(told[2]) == ["passed", "failed", "not_reached", *left]
    assert (told[1]["quarantine"]["state"], told[1]["quarantine"]["replays"]) == ("open", [])
    refusal = told[2]["quarantine"]
    assert (refusal["state"], refusal["missing_kind"], refusal["missing_id"]) == (
        "replayed", "datasets", "ds_gone"
    )  # fmt: skip
    assert [(replay["offset"], replay["outcome"]) for replay in refusal["replays"]] == [(3, "accepted")]
    assert "sealed" not in refusal


def test_every_reason_belongs_to_a_check() -> None:
    """A code that nobody sorted is a fault of a field; every verdict is told for every check."""
    assert {check_of(code.value) for code in Code} == {"readable", "sender_known", "fields_valid", "stored"}
    assert check_of("missing:organization_id") == "sender_known"
    assert check_of("missing:METER_ID") == "fields_valid"
    refused = [check.verdict for check in checks(Outcome.QUARANTINED, ["store_refused"])]
    assert refused == [*["passed"] * 5, "failed"]


async def test_unmatched_and_ambiguous_rows_tell_why(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Near misses as hints, the connections that are too many; those out of scope or time are none."""

    def connections() -> None:
        connect_meter(clickhouse, "m-1 ", "con_near")
        connect_meter(clickhouse, "M2", "con_a")
        connect_meter(clickhouse, "M2", "con_b", project_id="prj_2")
        connect_meter(clickhouse, "M2", "con_old", project_id="prj_3", valid_to=_moment("2020-01-01"))
        connect_meter(clickhouse, "E4", "con_e")

    await asyncio.to_thread(connections)
    rows = [
        payment(1, METER_ID="0M-1"),
        payment(2, METER_ID="M2"),
        payment(4, METER_ID="N", EXTERNAL_ID="E4"),
    ]
    await judged(clickhouse, *rows)
    found = {row["record_id"]: why["match"] for row, why in await explained(
        whole_api, organization_id=ORG, explain=True
    )}  # fmt: skip
    assert found["P1"]["status"] == "unmatched"
    assert [hint["connection_id"] for hint in found["P1"]["hints"]] == ["con_near"]
    assert (found["P2"]["status"], found["P2"]["connection_id"]) == ("ambiguous", "")
    assert {one["connection_id"] for one in found["P2"]["candidates"]} == {"con_a", "con_b"}
    assert found["P2"]["counted"] is False
    assert (found["P4"]["matched_by"], found["P4"]["connection_id"]) == ("EXTERNAL_ID", "con_e")


def _moment(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


async def test_reads_are_explained_too(whole_api: Api, clickhouse: ClickHouse) -> None:
    """By their request and place in it: the device's connection, the difference, the energy."""
    await asyncio.to_thread(connect_meter, clickhouse, "X", device_id="dev_1")
    first, other = read("D1", 1), read("D1", 1, value=20)
    for line, row in enumerate([first, other, first], 1):
        await judged(clickhouse, row, kind="reads", source_ref="rcp_1", line=str(line))
    rows = [(await explained(whole_api, source="rcp_1", line=line))[0] for line in (1, 2, 3)]
    assert [row["outcome"] for row, _ in rows] == ["accepted", "conflict", "duplicate"]
    assert rows[0][1]["match"]["matched_by"] == "device"
    assert rows[0][1]["match"]["connection_id"] == "con_1"
    assert rows[0][1]["stored"]["energy_wh"] == "12500"
    assert [d["field"] for d in rows[1][1]["differences"]] == ["value"]
    assert rows[2][1]["first_occurrence"]["line"] == 1


async def test_a_file_is_named_by_its_source_in_three_ways(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Whole, without its version, by its name alone: the newest version first, also across pages."""
    for version in ("1", "2", "3"):
        for line in ("2", "3"):
            received = f"2026-01-0{version}T00:00:00+00:00"
            await judged(
                clickhouse,
                payment(int(line)),
                source_ref=f"{FILE}@{version}",
                line=line,
                received_at=received,
            )
    await judged(
        clickhouse, payment(7), source_ref="s3://bucket/in/OTHER-ELECTRICITY_PAYMENT.csv@1", line="2"
    )
    newest = [f"{FILE}@{version}" for version in ("3", "2", "1")]
    for name in (FILE, "ELECTRICITY_PAYMENT.csv"):
        assert [row["source_ref"] for row, _ in await explained(whole_api, source=name, line=2)] == newest
    for name in (f"{FILE}@2", "ELECTRICITY_PAYMENT.csv@2"):
        assert [row["source_ref"] for row, _ in await explained(whole_api, source=name, line=2)] == [
            f"{FILE}@2"
        ]
    for query in ({"source": "PAYMENT.csv"}, {"source": FILE, "organization_id": "org_x"}):
        assert (await ask(whole_api, **query))["items"] == []
    seen: list[tuple[str, int]] = []
    params: dict[str, Any] = {"source": FILE, "limit": 2}
    while True:
        page = await ask(whole_api, **params)
        seen += [(row["source_ref"], row["line"]) for row in page["items"]]
        assert all(row["explanation"] is None for row in page["items"])
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == [(ref, line) for ref in newest for line in (2, 3)]
    answer = await whole_api.http.get("/v1/ledger", params={"source": "a", "source_ref": "b"})
    assert_problem(answer, 422, "invalid")


@pytest.mark.parametrize(
    ("source", "source_ref", "named"),
    [
        (FILE, f"{FILE}@1", True), (f"{FILE}@1", f"{FILE}@1", True), (f"{FILE}@1", f"{FILE}@2", False),
        ("ELECTRICITY_PAYMENT.csv", f"{FILE}@1", True), ("ELECTRICITY_PAYMENT.csv@1", f"{FILE}@1", True),
        ("PAYMENT.csv", f"{FILE}@1", False), ("rcp_1", "rcp_1", True), ("", "", False),
        ("in/ELECTRICITY_PAYMENT.csv", FILE, False), ("s3://b/a@b/f.csv", "s3://b/a@b/f.csv@1", True),
        ("s3://b/a", "s3://b/a@b/f.csv", False),
    ],
)  # fmt: skip
def test_a_waiting_row_is_named_as_one_in_the_ledger(source: str, source_ref: str, named: bool) -> None:
    """The same three ways."""
    assert Named(source=source).stands_for(source_ref) is named


async def test_rows_are_explained_when_they_are_named(whole_api: Api, clickhouse: ClickHouse) -> None:
    """By default for the three ways to name a row, else on request, and never against it."""
    await judged(clickhouse, payment(1), source_ref="f@1", line="2")
    for query, default in [
        ({"record_id": "P1"}, True), ({"source": "f", "line": 2}, True),
        ({"source_ref": "f@1", "line": 2}, True),
        ({"topic": "payments", "partition": 0, "offset": 0}, True), ({"source": "f"}, False),
        ({"organization_id": ORG}, False), ({"topic": "payments", "partition": 0}, False),
    ]:  # fmt: skip
        for explain, told in [(None, default), (True, True), (False, False)]:
            given = query if explain is None else {**query, "explain": explain}
            page = await ask(whole_api, **given)
            assert (page["items"][0]["explanation"] is not None) is told, given
            assert (page["on_the_way"] is not None) is (default and explain is not False), given


async def test_the_questions_do_not_grow_with_the_page(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of many rows of every kind asks ClickHouse as often as a page of few."""
    asked: list[Any] = []
    question = whole_api.running.store.ask
    monkeypatch.setattr(
        type(whole_api.running.store), "ask",
        lambda _self, what, *args, **more: asked.append(what) or question(what, *args, **more),
    )  # fmt: skip

    async def kinds(first: int, last: int) -> None:
        for number in range(first, last):
            rows = [payment(number), payment(number), payment(number, PAYMENT_AMOUNT="1"), b"{"]
            await judged(clickhouse, *rows)

    counts = []
    for last in (1, 5):
        await kinds(0 if last == 1 else 1, last)
        asked.clear()
        page = await ask(whole_api, organization_id=ORG, explain=True)
        assert len(page["items"]) == last * 4
        counts.append(len(asked))
    assert counts[0] == counts[1] < 12


@pytest.fixture
def sender(endpoints: Endpoints, kafka_prefix: str) -> Iterator[Sender]:
    """Publishes to this test's topics, which no worker reads."""
    made = Sender(endpoints.kafka, kafka_prefix)
    yield made
    made.close()


def _seen_by_a_worker(clickhouse: ClickHouse, kafka: str, topic: str) -> int:
    """The epoch of a topic, as a worker registers it."""
    return epoch_for(clickhouse.client, topic, KafkaTails(kafka).state(topic).topic_id)


def _range(topic: str, partition: int, last: int, forwarded: int = 0) -> dict[str, Any]:
    return {
        "topic": topic, "epoch": 0, "partition": partition, "first_offset": 0, "next_offset": last,
        "rows": last - forwarded, "forwarded": forwarded, "lost": 0, "generation": 1, "worker": "w",
    }  # fmt: skip


def _outcome(topic: str, partition: int, offset: int, record_id: str) -> dict[str, Any]:
    moment = _moment("2026-01-01")
    return {
        "organization_id": ORG, "position": position(0, partition, offset), "record_type": "payment",
        "record_id": record_id, "identity": 7, "content_hash": 9, "outcome": "accepted", "reasons": [],
        "dataset_id": "", "source": "topic", "source_ref": "", "line": 0, "topic": topic,
        "partition": partition, "offset": offset, "received_at": moment, "matched_connection_id": "",
        "replay_of": None,
    }  # fmt: skip


async def test_a_row_that_waits_says_so(
    whole_api: Api, clickhouse: ClickHouse, sender: Sender, kafka_prefix: str, endpoints: Endpoints
) -> None:
    """By ID, by line and by place; what has an outcome, or was never received, does not wait."""
    topic = f"{kafka_prefix}payments"
    lineage = {"source_ref": f"{FILE}@1", "line": "5", "source": "s3"}
    await asyncio.to_thread(sender.payments, [payment(1), payment(2)], ORG)
    await asyncio.to_thread(sender.payments, [payment(3)], ORG, **lineage)
    for query, rows in [
        ({"record_id": "P2"}, [(1, 0)]), ({"record_id": "P9"}, []), ({"source": FILE, "line": 5}, [(0, 1)]),
        ({"source": "ELECTRICITY_PAYMENT.csv", "line": 5}, [(0, 1)]), ({"source": FILE, "line": 6}, []),
        ({"record_id": "P2", "organization_id": "org_x"}, []), ({"record_id": "P3", "line": 6}, []),
        ({"topic": topic, "partition": 0, "offset": 1}, [(0, 1)]),
        ({"topic": topic, "partition": 0, "offset": 2}, []),
    ]:  # fmt: skip
        page = await ask(whole_api, **query)
        told = page["on_the_way"]
        assert [(row["partition"], row["offset"]) for row in told["rows"]] == rows, query
        assert told["status"] == ("yes" if rows else "no"), query
        assert page["items"] == []
        assert sum(part["waiting"] for part in told["lag"]) == 3
    waits = (await ask(whole_api, record_id="P3"))["on_the_way"]["rows"][0]
    assert (waits["source_ref"], waits["line"], waits["source"]) == (f"{FILE}@1", 5, "s3")

    def settle() -> None:
        assert _seen_by_a_worker(clickhouse, endpoints.kafka, topic) == 0
        store(clickhouse, "ledger_rows", _outcome(topic, 1, 0, "P2"))

    await asyncio.to_thread(settle)  # the outcome is stored before the range
    page = await ask(whole_api, record_id="P2", explain=True)
    assert (page["on_the_way"]["status"], len(page["items"])) == ("no", 1)
    await asyncio.to_thread(store, clickhouse, "ledger_ranges", _range(topic, 1, 1))
    assert [p["partition"] for p in (await ask(whole_api, record_id="P2"))["on_the_way"]["lag"]] == [0]
    place = {"topic": topic, "partition": 1, "offset": 0}
    assert (await ask(whole_api, **place))["on_the_way"]["detail"] == "Judged."
    for query in ({"topic": "nowhere"}, {"partition": 77}):
        assert (await ask(whole_api, **{**place, **query}))["on_the_way"]["status"] == "unknown"


async def test_a_row_that_was_sent_on_waits_under_its_own_place(
    whole_api: Api, clickhouse: ClickHouse, sender: Sender, kafka_prefix: str, endpoints: Endpoints
) -> None:
    """Asked by where it was received or by where its copy lies, before and after the copy is judged."""
    topic, value = f"{kafka_prefix}payments", orjson.dumps(payment(1))
    own = [("organization_id", ORG.encode())]
    origin = [*own, ("origin", SIGNER.sign("origin", ORG, position(0, 1, 0)))]
    received, copy = Record(topic, b"", value, own, 1), Record(topic, b"k", value, origin, 3)
    await asyncio.to_thread(sender.send, [received])
    await asyncio.to_thread(sender.send, [copy])
    queries: list[dict[str, Any]] = [
        {"topic": topic, "partition": 1, "offset": 0}, {"topic": topic, "partition": 3, "offset": 0},
        {"record_id": "P1"},
    ]  # fmt: skip

    async def told() -> list[Any]:
        found = []
        for query in queries:
            page = await ask(whole_api, **query)
            waiting = [(row["partition"], row["waits_in_partition"]) for row in page["on_the_way"]["rows"]]
            items = [(item["partition"], item["offset"]) for item in page["items"]]
            found.append((page["on_the_way"]["status"], waiting, items))
        return found

    def settle(*steps: Any) -> None:
        assert _seen_by_a_worker(clickhouse, endpoints.kafka, topic) == 0
        for table, row in steps:
            store(clickhouse, table, row)

    await asyncio.to_thread(settle)
    # In the worker's hands: both records wait, and they are one row.
    assert [(status, len(rows)) for status, rows, _ in await told()] == [("yes", 1)] * 3
    await asyncio.to_thread(settle, ("ledger_ranges", _range(topic, 1, 1, forwarded=1)))
    assert await told() == [("yes", [(1, 3)], [])] * 3
    await asyncio.to_thread(settle, ("ledger_rows", _outcome(topic, 1, 0, "P1")))
    assert await told() == [("no", [], [(1, 0)])] * 3
    await asyncio.to_thread(settle, ("ledger_ranges", _range(topic, 3, 1)))
    assert await told() == [("no", [], [(1, 0)])] * 3


async def test_every_place_in_the_topic_leads_to_its_row(
    whole_api: Api,
    clickhouse: ClickHouse,
    sender: Sender,
    kafka_prefix: str,
    endpoints: Endpoints,
    tmp_path: Path,
) -> None:
    """A real worker sends most rows on: each offset tells one outcome; without the worker rows wait."""
    topic = f"{kafka_prefix}payments"
    worker = WorkerProcess(tmp_path, endpoints.kafka, kafka_prefix, clickhouse.url, clickhouse.database)

    def ledger_has(count: int) -> None:
        asked = "SELECT count() FROM ledger"
        wait_until(lambda: clickhouse.value(asked) == count, what="the ledger's rows")
        spans = KafkaTails(endpoints.kafka).state(topic).spans
        done = "SELECT sum(last) FROM (SELECT max(next_offset) AS last FROM ledger_ranges GROUP BY partition)"
        ends = sum(high for _, high in spans.values())
        wait_until(lambda: clickhouse.value(done) == ends, what="the ranges' ends")

    def run() -> None:
        try:
            worker.wait_ready()
            sender.organization(ORG)
            sender.payments([payment(number) for number in range(9)], ORG)
            ledger_has(9)
        finally:
            worker.stop()

    await asyncio.to_thread(run)
    spans = KafkaTails(endpoints.kafka).state(topic).spans
    seen: list[str] = []
    for partition, (low, high) in spans.items():
        for offset in range(low, high):
            page = await ask(whole_api, topic=topic, partition=partition, offset=offset)
            assert (page["on_the_way"]["status"], page["on_the_way"]["lag"]) == ("no", [])
            seen += [item["record_id"] for item in page["items"]]
            assert len(page["items"]) == 1, (partition, offset)
    assert len(seen) > 9, "nothing was sent on"
    assert set(seen) == {f"P{number}" for number in range(9)}
    await asyncio.to_thread(sender.payments, [payment(number) for number in range(5, 13)], ORG)
    for number, items in ((5, 1), (12, 0)):
        page = await ask(whole_api, record_id=f"P{number}")
        assert (page["on_the_way"]["status"], len(page["items"])) == ("yes", items)


async def test_a_long_queue_is_not_guessed_about(
    whole_api: Api, sender: Sender, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not among the records looked at may wait behind them: the answer says so."""
    await asyncio.to_thread(sender.payments, [payment(number) for number in range(80)], ORG)
    monkeypatch.setattr("api.ledger.underway.LOOK_AT", 8)
    told = (await ask(whole_api, record_id="P79"))["on_the_way"]
    assert (told["status"], told["looked_at"]) == ("perhaps", 8)
    assert "72 more" in told["detail"]
    assert (await ask(whole_api, record_id="P1"))["on_the_way"]["status"] == "yes"


async def test_without_a_broker_nothing_is_said_about_what_waits(
    make_api: MakeApi, parts: ApiParts, clickhouse: ClickHouse
) -> None:
    """The ledger is told; whether something waits is unknown."""
    await judged(clickhouse, payment(1))
    store_only = replace(parts, clickhouse=lambda: connect(clickhouse.url, database=clickhouse.database))
    for tails in (None, KafkaTails("127.0.0.1:9")):
        api = await make_api(store_only, tails=tails)
        await api.log_in()
        page = await ask(api, record_id="P1")
        assert (page["on_the_way"]["status"], len(page["items"])) == ("unknown", 1)
