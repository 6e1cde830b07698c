"""Receipts over HTTP: what was received of each file and request, and that it always adds up."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem, until
from hypothesis import given
from hypothesis import strategies as st
from receipt_world import Receipts
from sqlalchemy import update

from api import ids
from api.db import now_ms
from api.errors import BadCursor
from api.ledger.tails import KafkaTails
from api.parts import ApiParts
from api.receipts import cursors, names
from api.tables import Run, RunFile
from producers.contracts import FileState
from producers.publisher import Publisher, Record
from sinks.receipts import Key, Place, detours, tallies
from tests.conftest import ClickHouse
from tests.streams.world import ORG, World, home_partition
from tests.support.workers import payment

HOUR = timedelta(hours=1)


@pytest.fixture
async def receipts(whole_api: Api, clickhouse: ClickHouse) -> Receipts:
    """Receipts of an application over all parts."""
    made = Receipts(whole_api, clickhouse)
    await made.begin()
    return made


def shown(receipt: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """Some of a receipt's fields."""
    return tuple(receipt[name] for name in names)


SUMS = ("adds_up", "received", "accepted", "duplicate", "conflict", "quarantined", "waiting", "lost")


async def test_a_file_is_storing_until_every_row_has_its_outcome(receipts: Receipts) -> None:
    """Lines that came twice after a crash in the middle count once; complete, it tells all that it has."""
    file = await receipts.file("s3://b/f@1", FileState.CLAIMED)
    receipts.judged("s3://b/f@1", "accepted", "duplicate")
    found = await receipts.get(file.id)
    assert shown(found, "state", *SUMS) == ("reading", "storing", 2, 1, 1, 0, 0, 0, 0)
    receipts.judged("s3://b/f@1", "duplicate", "duplicate", "conflict")  # again from its first row
    file = await receipts.file(
        "s3://b/f@1", FileState.PUBLISHED, FileState.DELETED, received=4, content_hash="ab" * 32
    )
    found = await receipts.get(file.id)
    assert shown(found, "state", *SUMS) == ("published", "storing", 4, 1, 1, 1, 0, 1, 0)
    assert found["duration_ms"] is None
    receipts.judged("s3://b/f@1", "quarantined", first_line=5)
    found = await receipts.get(file.id)
    assert shown(found, *SUMS) == ("complete", 4, 1, 1, 1, 1, 0, 0)
    assert shown(found, "source", "source_ref", "dataset_id", "organization_id", "content_hash", "error") == (
        "s3", "s3://b/f@1", receipts.dataset["id"], receipts.dataset["organization_id"], "ab" * 32, None,
    )  # fmt: skip
    assert found["reasons"] == {"bad_phone": 1}
    topic = f"{receipts.prefix}payments"
    assert found["places"] == [{"topic": topic, "partition": 0, "first_offset": 1, "last_offset": 6}]
    assert found["started_at"] <= found["finished_at"] <= found["stored_at"]
    assert found["duration_ms"] is not None


async def test_files_without_rows_are_complete(receipts: Receipts) -> None:
    """A refused file says why and received nothing; so did one with a header only, and nothing is wrong."""
    steps = FileState.CLAIMED, FileState.REFUSED, FileState.COPIED, FileState.DELETED
    detail = "column 2: found 'Id', expected 'ID'"
    bad = await receipts.file("s3://b/bad@1", *steps, error="bad_header", detail=detail)
    empty = await receipts.file("s3://b/empty@1", FileState.DONE, received=0)
    found = await receipts.get(bad.id)
    assert shown(found, "state", "error", "detail", *SUMS) == (
        "refused", "bad_header", detail, "complete", 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    found = await receipts.get(empty.id)
    assert shown(found, "state", "error", "places", *SUMS) == (
        "published", None, [], "complete", 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


async def test_a_file_replaced_while_it_was_read_counts_what_it_brought(receipts: Receipts) -> None:
    """A reader killed before may have published more than is on record: it is storing until all is judged."""
    steps = FileState.CLAIMED, FileState.REPLACED
    fresh = await receipts.file("s3://b/f@1", *steps, received=2)
    old = await receipts.file("s3://b/f@2", *steps, received=2, at=now_ms() - HOUR)
    for ref in ("s3://b/f@1", "s3://b/f@2"):
        receipts.judged(ref, "accepted", "accepted", "quarantined")
    await receipts.at_end()
    assert shown(await receipts.get(fresh.id), "state", *SUMS[:3]) == ("replaced", "storing", 3, 2)
    assert shown(await receipts.get(old.id), "state", *SUMS[:3]) == ("replaced", "complete", 3, 2)


async def test_rows_lost_to_retention_are_told_as_lost(
    receipts: Receipts, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before the workers have passed all that was published; then the run is done and says how many."""
    monkeypatch.setattr("api.receipts.reached.MARGIN", timedelta(0))
    await publisher.publish_all([Record(f"{receipts.prefix}payments", b"k", b"{}")], 30)
    file = await receipts.file("s3://b/f@1", FileState.DONE, received=5)
    receipts.judged("s3://b/f@1", "accepted", "accepted")
    for _ in range(2):
        assert shown(await receipts.get(file.id), *SUMS) == ("storing", 5, 2, 0, 0, 0, 3, 0)
    run = await receipts.api.http.get(f"/v1/runs/{file.run_id}")
    assert run.json()["state"] == "storing"

    await receipts.at_end(lost=3)

    async def is_lost() -> bool:
        return (await receipts.get(file.id))["adds_up"] == "lost"

    await until(is_lost, 60)
    assert shown(await receipts.get(file.id), *SUMS) == ("lost", 5, 2, 0, 0, 0, 0, 3)
    run = await receipts.api.http.get(f"/v1/runs/{file.run_id}")
    assert shown(run.json(), "state", "received", "accepted", "lost") == ("done", 5, 2, 3)
    assert [item["id"] for item in await receipts.list(adds_up="lost")] == [file.id]


async def test_a_row_sent_on_is_waited_for(receipts: Receipts, publisher: Publisher) -> None:
    """Its origin is passed, and its copy may wait behind others: nothing is lost before that is judged."""
    file = await receipts.file("s3://b/f@1", FileState.DONE, received=1, at=now_ms() - HOUR)
    await receipts.at_end(forwarded=1)
    await publisher.publish_all([Record(f"{receipts.prefix}payments", b"k", b"{}")], 30)
    assert shown(await receipts.get(file.id), "adds_up", "waiting") == ("storing", 1)
    receipts.judged("s3://b/f@1", "accepted")
    assert shown(await receipts.get(file.id), "adds_up", "waiting") == ("complete", 0)


def test_rows_sent_on_count_once_and_where_they_were_received(clickhouse: ClickHouse) -> None:
    """By a worker's own steps: neither the copy in the home partition nor its redelivery is a row more."""
    world = World(clickhouse, partitions=4).restore()
    away = next(number for number in range(99) if home_partition(f"P{number}", 4) != 1)
    at_home = next(number for number in range(99) if home_partition(f"P{number}", 4) == 1)
    for line, number in ((2, away), (3, at_home)):
        lineage = {"source": "s3", "source_ref": "f@1", "line": str(line)}
        world.turn(world.batch([payment(number)], 8 + line, partition=1, **lineage))
    key = Key(ORG, "", "f@1")
    assert tallies(clickhouse.client, [key])[key].judged == 1
    assert detours(clickhouse.client, "payments", now_ms()).forwarded
    (copy,) = world.published.sent
    for offset in (0, 1):
        world.turn(world.received(copy, offset))
    tally = tallies(clickhouse.client, [key])[key]
    assert (tally.judged, tally.current["accepted"]) == (2, 2)
    assert list(tally.places) == [Place("payments", 1, 10, 11)]


async def test_what_nobody_can_tell_is_storing(
    make_api: MakeApi, whole: ApiParts, clickhouse: ClickHouse
) -> None:
    """Without a broker to ask, rows that are missing are waited for, never called lost."""
    for bucket, tails in (("a", None), ("b", KafkaTails("127.0.0.1:9"))):
        api = await make_api(replace(whole, tails=tails))
        await api.log_in()
        receipts = Receipts(api, clickhouse)
        await receipts.begin(bucket)
        file = await receipts.file("s3://b/f@1", FileState.DONE, received=1, at=now_ms() - HOUR)
        assert shown(await receipts.get(file.id), "adds_up", "waiting") == ("storing", 1)


async def test_a_devices_request_tells_how_many_rows_it_had(receipts: Receipts) -> None:
    """From the moment of its answer on, before any of them is judged; later also whose it was."""
    api = receipts.api
    device = await api.device("meter-1")
    token = (await api.device_token(device["id"]))["token"]
    sent = (await api.send_reads("meter-1", token, *({"endtimestamp": n} for n in range(3)))).json()[
        "receipt"
    ]
    found = await receipts.get(sent)
    assert shown(found, "state", "organization_id", *SUMS) == (
        "published", None, "storing", 3, 0, 0, 0, 0, 3, 0,
    )  # fmt: skip
    owned = {"organization_id": device["organization_id"], "dataset_id": "", "source": "device"}
    receipts.judged(sent, "accepted", first_line=1, topic="reads", **owned)
    assert shown(await receipts.get(sent), *SUMS[:3], "waiting") == ("storing", 3, 1, 2)
    receipts.judged(sent, "quarantined", "duplicate", first_line=2, topic="reads", **owned)
    found = await receipts.get(sent)
    assert shown(found, "organization_id", "dataset_id", "source", "source_ref", *SUMS) == (
        device["organization_id"], None, "device", sent, "complete", 3, 1, 1, 0, 1, 0, 0,
    )  # fmt: skip
    assert found["duration_ms"] is not None
    listed = await receipts.list(channel="device")
    assert [item["id"] for item in listed] == [sent]
    assert listed == [found]
    ledger = (await api.http.get("/v1/ledger", params={"source_ref": sent})).json()["items"]
    assert {row["received_at"] for row in ledger} != {found["started_at"]}, "rows were put in by the test"


async def test_rows_of_a_device_that_never_came(receipts: Receipts) -> None:
    """After a 503 the broker has some: they are all there is. An unknown receipt is not found."""
    part = names.new_receipt(5)
    old = part.replace(part[4:14], names.lowest(names.to_ms(now_ms() - HOUR))[4:])
    unknown = old[:-5] + ("0" if old[-5] != "0" else "1") + old[-4:]
    receipts.judged(old, "accepted", "accepted", first_line=1, topic="reads", dataset_id="", source="device")
    await receipts.at_end("reads")
    assert shown(await receipts.get(old), *SUMS[:3], "waiting", "lost") == ("complete", 2, 2, 0, 0)
    http = receipts.api.http
    ahead = names.lowest(names.to_ms(now_ms() + 24 * HOUR)) + "0" * 20
    for gone in (unknown, ahead, part[:-4], "fil_" + "0" * 26, "rcp_é", "x"):
        assert_problem(await http.get(f"/v1/receipts/{gone}"), 404, "not_found")
    await receipts.at_end("reads", lost=1)
    assert shown(await receipts.get(old), *SUMS[:3], "waiting", "lost") == ("lost", 5, 2, 0, 3)


async def test_a_request_with_payments_that_was_not_acknowledged(receipts: Receipts) -> None:
    """Its sender was told to send again; what arrived of it counts, and it is no reading that goes on."""
    now = now_ms()
    open_, broken = await receipts.request(None, now), await receipts.request(None, now - HOUR)
    done = await receipts.request(1, now)
    receipts.judged(broken, "accepted", "conflict", first_line=1, source="api", dataset_id="")
    receipts.judged(done, "accepted", first_line=1, source="api", dataset_id="")
    await receipts.at_end()
    assert shown(await receipts.get(open_), "state", *SUMS[:2]) == ("reading", "storing", 0)
    assert shown(await receipts.get(broken), "state", *SUMS[:2]) == ("unacknowledged", "complete", 2)
    assert shown(await receipts.get(done), "state", "source", *SUMS[:2]) == (
        "published",
        "api",
        "complete",
        1,
    )
    for state, receipt in (("reading", open_), ("unacknowledged", broken), ("published", done)):
        assert [item["id"] for item in await receipts.list(state=state)] == [receipt]


async def _various(receipts: Receipts) -> list[str]:
    """Ids of twelve receipts of all kinds, some of the same millisecond, newest first."""
    begun = now_ms() - HOUR
    places: list[tuple[int, str]] = []
    for number in range(12):
        at = begun + timedelta(milliseconds=number // 2)
        match number % 3:
            case 0:
                ref = f"s3://b/f@{number}"
                made = (await receipts.file(ref, FileState.DONE, received=1, at=at)).id
                receipts.judged(ref, "conflict" if number % 2 else "accepted")
            case 1:
                made = await receipts.request(1, at)
            case _:
                made = names.lowest(names.to_ms(at)) + names.new_receipt(1)[14:]
                receipts.judged(made, "accepted", first_line=1, topic="reads", dataset_id="", source="device")
        places.append((names.to_ms(at), made))
    return [made for _, made in sorted(places, reverse=True)]


async def test_receipts_are_listed_newest_first_in_pages(receipts: Receipts) -> None:
    """Of all kinds together, each once, whatever the length of a page; filters choose among them."""
    made = await _various(receipts)
    for limit in (1, 5, 12):
        assert [item["id"] for item in await receipts.list(limit=limit)] == made
    every = {item["id"]: item for item in await receipts.list()}
    for query, wanted in [
        ({"channel": "device"}, lambda item: item["source"] == "device"),
        ({"channel": "api"}, lambda item: item["source"] == "api"),
        ({"channel": "sheet"}, lambda item: False),
        ({"dataset_id": receipts.dataset["id"]}, lambda item: item["source"] == "s3"),
        ({"organization_id": receipts.dataset["organization_id"]}, lambda item: True),
        ({"organization_id": "org_" + "0" * 26}, lambda item: False),
        ({"source_ref": "s3://b/f@3"}, lambda item: item["source_ref"] == "s3://b/f@3"),
        ({"source_ref": made[0]}, lambda item: item["id"] == made[0]),
        ({"outcome": "conflict"}, lambda item: item["conflict"] > 0),
        ({"outcome": "quarantined"}, lambda item: False),
        ({"adds_up": "lost"}, lambda item: item["source"] == "api"),
        ({"adds_up": "storing"}, lambda item: False),
        ({"state": "published"}, lambda item: True),
        ({"state": "refused"}, lambda item: False),
    ]:
        found = [item["id"] for item in await receipts.list(limit=3, **query)]
        assert found == [receipt for receipt in made if wanted(every[receipt])], query


async def test_a_stretch_of_time_is_listed(receipts: Receipts) -> None:
    """From a moment on and before another; without a beginning the last 31 days, as the page says."""
    made = await _various(receipts)
    every = {item["id"]: item["started_at"] for item in await receipts.list()}
    first, last = sorted(set(every.values()))[1], sorted(set(every.values()))[4]
    found = [item["id"] for item in await receipts.list(**{"from": first, "to": last, "limit": 4})]
    assert found == [receipt for receipt in made if first <= every[receipt] < last]
    ancient = await receipts.file("s3://b/old@1", FileState.DONE, at=now_ms() - timedelta(days=40))
    assert ancient.id not in [item["id"] for item in await receipts.list()]
    assert ancient.id in [item["id"] for item in await receipts.list(dataset_id=receipts.dataset["id"])]
    page = (await receipts.api.http.get("/v1/receipts")).json()
    assert datetime.now(UTC) - datetime.fromisoformat(page["from"]) - timedelta(days=31) < HOUR
    answer = await receipts.api.http.get("/v1/receipts", params={"from": last, "to": first})
    assert_problem(answer, 422, "invalid")


async def test_a_page_is_one_question_for_files(receipts: Receipts, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many receipts it has; and a rare outcome is looked for a bounded number of receipts far."""
    for number in range(12):
        await receipts.file(f"s3://b/f@{number}", FileState.DONE, received=1)
        receipts.judged(f"s3://b/f@{number}", "accepted")
    asked: list[str] = []
    store = type(receipts.api.running.store)
    ask = store.ask

    def counted(self: Any, question: Any, *given: Any, **more: Any) -> Any:
        asked.append(question.__name__)
        return ask(self, question, *given, **more)

    monkeypatch.setattr(store, "ask", counted)
    params: dict[str, Any] = {"dataset_id": receipts.dataset["id"], "limit": 50}
    assert len(await receipts.list(**params)) == 12
    assert asked == ["tallies"]
    monkeypatch.setattr("api.receipts.service.MOST_LOOKED_AT", 4)
    monkeypatch.setattr("api.receipts.service._AT_ONCE", 4)
    answer = await receipts.api.http.get("/v1/receipts", params={**params, "outcome": "conflict"})
    assert answer.json()["items"] == []
    assert answer.json()["next"], "there is more to look at"
    assert await receipts.list(**params, outcome="conflict") == []


async def test_a_run_is_the_sum_of_its_receipts(receipts: Receipts) -> None:
    """Its files carry the ids of their receipts; rows of a killed reader count in both."""
    first = await receipts.file("s3://b/f@1", FileState.DONE, received=1)
    second = await receipts.file("s3://b/f@2", FileState.REPLACED, received=0, at=now_ms() - HOUR)

    def join() -> None:
        with receipts.api.running.db.write() as session:
            session.execute(update(RunFile).values(run_id=first.run_id))
            session.execute(update(Run).values(state="done"))

    await asyncio.to_thread(join)
    receipts.judged("s3://b/f@1", "accepted")
    receipts.judged("s3://b/f@2", "duplicate", "quarantined")
    await receipts.at_end()
    run = (await receipts.api.http.get(f"/v1/runs/{first.run_id}")).json()
    assert shown(run, "state", *SUMS[1:6], "lost") == ("done", 3, 1, 1, 0, 1, 0)
    each = [await receipts.get(file["id"]) for file in run["files"]]
    assert [receipt["id"] for receipt in each] == [first.id, second.id]
    for name in (*SUMS[1:6], "lost"):
        assert run[name] == sum(receipt[name] for receipt in each)


async def test_an_organisations_system_reads_its_own_receipts_and_no_others(receipts: Receipts) -> None:
    """Of its files, requests and devices, as an admin is told them; another's are not there."""
    owned = {"dataset_id": "", "source": "device"}
    every = []
    for bucket in ("mine", "theirs"):
        await receipts.begin(bucket)
        file = await receipts.file(f"s3://{bucket}/f@1", FileState.DONE, received=1)
        device = names.new_receipt(1)
        receipts.judged(device, "accepted", first_line=1, topic="reads", **owned)
        every.append((receipts.dataset, {file.id, await receipts.request(1, now_ms()), device}))
    (mine, own), (theirs, others) = every
    http = receipts.api.http
    told = {id: (await http.get(f"/v1/receipts/{id}")).json() for id in own}
    end = (await http.get("/v1/receipts", params={"limit": 1})).json()["next"]
    unjudged = names.new_receipt(1)
    token = await receipts.api.organization_token(mine["organization_id"])
    http.headers["Authorization"] = f"Bearer {token['token']}"

    assert {item["id"] for item in await receipts.list()} == own
    assert {
        item["id"] for item in await receipts.list(limit=1, organization_id=mine["organization_id"])
    } == own
    assert {item["id"] for item in await receipts.list(limit=1, cursor=end)} <= own
    assert {id: (await http.get(f"/v1/receipts/{id}")).json() for id in own} == told
    for id in (*others, unjudged, "rcp_" + "0" * 26):
        assert_problem(await http.get(f"/v1/receipts/{id}"), 404, "not_found")
    for other in (theirs["organization_id"], "org_" + "0" * 26, ""):
        answer = await http.get("/v1/receipts", params={"organization_id": other})
        assert_problem(answer, 403, "wrong_organization")
    assert await receipts.list(dataset_id=theirs["id"]) == []
    assert await receipts.list(source_ref="s3://theirs/f@1") == []
    for id in others:
        assert await receipts.list(source_ref=id) == []


async def test_the_receipt_of_a_request_is_for_its_sender(receipts: Receipts) -> None:
    """What `POST /v1/payments` answers with is asked for with the same token, while that is in force."""
    api = receipts.api
    organization = await api.organization()
    token = await api.organization_token(organization["id"])
    headers = {"Authorization": f"Bearer {token['token']}"}
    sent = await api.send_payments(token["token"], payment(1), payment(2, PAYMENT_AMOUNT="x"))
    path = f"/v1/receipts/{sent.json()['receipt']}"
    answer = await api.http.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert shown(answer.json(), "state", "adds_up", "received", "waiting") == ("published", "storing", 2, 2)
    assert answer.headers["ratelimit-limit"]
    gone = await api.http.delete(f"/v1/organizations/{organization['id']}/tokens/{token['jti']}")
    assert gone.status_code == 204
    for again in (path, "/v1/receipts"):
        assert_problem(await api.http.get(again, headers=headers), 401, "bad_token")


async def test_a_system_asks_for_receipts_within_its_limit(make_api: MakeApi, whole: ApiParts) -> None:
    """Counted apart from its payments; an admin is not held up."""
    api = await make_api(whole, settings=replace(whole.settings, payments_limit="2/hour"))
    await api.log_in()
    token = (await api.organization_token((await api.organization())["id"]))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    answers = [await api.http.get("/v1/receipts", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert assert_problem(answers[2], 429, "too_many_requests")
    assert "retry-after" in answers[2].headers
    assert (await api.send_payments(token, payment(1))).status_code == 202
    assert (await api.http.get("/v1/receipts")).status_code == 200


async def test_nobody_else_sees_receipts(api: Api) -> None:
    """Without a token, and with a garbled cursor, nothing is told; without ClickHouse it says so."""
    assert_problem(await api.http.get("/v1/receipts", params={"cursor": "bm8"}), 400, "bad_cursor")
    assert_problem(await api.http.get("/v1/receipts"), 503, "store_away")
    del api.http.headers["Authorization"]
    for path in ("/v1/receipts", "/v1/receipts/fil_" + "0" * 26):
        assert_problem(await api.http.get(path), 401, "unauthorized")


@given(st.integers(1, names.MOST_ROWS))
def test_a_receipt_carries_its_number_of_rows(rows: int) -> None:
    """And when it was made; receipts sort by time."""
    before = names.to_ms(now_ms())
    receipt = names.new_receipt(rows)
    assert names.is_receipt(receipt)
    assert len(receipt) <= 40
    assert names.rows_of(receipt) == rows
    assert before <= names.ms_of(receipt) <= names.to_ms(now_ms())
    assert names.to_ms(names.moment_of(receipt)) == names.ms_of(receipt)
    assert names.lowest(names.ms_of(receipt)) < receipt < names.lowest(names.ms_of(receipt) + 1)
    assert names.rows_of(ids.new_id("rcp")) is None


def test_a_receipt_is_for_rows() -> None:
    """None without rows, none for more than the id has room for."""
    for rows in (0, -1, names.MOST_ROWS + 1):
        with pytest.raises(ValueError, match="expected 1 to"):
            names.new_receipt(rows)


@given(st.integers(0, 10_413_791_999_999), st.from_regex(r"[a-z]{2,4}_[0-9a-z]{1,30}", fullmatch=True))
def test_cursors_come_back_as_they_were(ms: int, receipt: str) -> None:
    """And nothing else is taken for one."""
    assert cursors.decode(cursors.encode((ms, receipt))) == (ms, receipt)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.hex()))
def test_garbage_is_no_cursor(text: str) -> None:
    """Whatever a client sends is refused as a cursor, or was one."""
    with contextlib.suppress(BadCursor):
        assert cursors.encode(cursors.decode(text)).startswith("W")
