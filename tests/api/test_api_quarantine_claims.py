"""Claims on refused rows: settled on a busy topic, on one received row, withdrawn late; bulk walks end."""

import asyncio
import json
import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem, topic_records
from refused import ORG, PAYMENT, Quarantine, audited, post, state
from sqlalchemy import select, update

from api.db import now_ms
from api.errors import BrokerAway
from api.ledger.tails import TopicState
from api.parts import ApiParts
from api.quarantine.claims import Claims
from api.quarantine.horizons import Horizons
from api.quarantine.settling import Settler
from api.store import Store
from api.tables import QuarantineClaim
from producers.group import Group, Record
from sinks.quarantine_actions import CLAIM_S
from sunledger.embedded.stack import Endpoints


@pytest.fixture
def quarantine(clickhouse: Any, kafka_prefix: str) -> Quarantine:
    """The test's quarantine, empty."""
    return Quarantine(clickhouse, kafka_prefix)


class Busy:
    """The ends of a topic into which rows come all the time: each look finds ten more than the one before."""

    def __init__(self, clickhouse: Any) -> None:
        self._clickhouse = clickhouse
        self.end = 0

    def state(self, topic: str) -> TopicState:
        """As `TopicTails.state`."""
        self.end += 10
        return TopicState("id_1", {0: (0, self.end)})

    def judge(self, topic: str, next_offset: int) -> None:
        """The workers have finished everything below an offset."""
        client = self._clickhouse.client
        if not self._clickhouse.rows("SELECT 1 FROM topic_epochs"):
            client.insert("topic_epochs", [[topic, "id_1", 0]], ["topic", "topic_id", "epoch"])
        names = ["topic", "epoch", "partition", "first_offset", "next_offset"]
        client.insert("ledger_ranges", [[topic, 0, 0, 0, next_offset]], names)


def dead_claim(api: Api, quarantine: Quarantine, path: str) -> None:
    """A claim, and its word in ClickHouse, of a process that died long ago."""
    topic, at = path.split("/")[-2:]
    long_ago = now_ms() - timedelta(seconds=2 * CLAIM_S)
    claim = {"organization_id": json.dumps(ORG), "claim_id": "clm_dead", "claimed_at": long_ago}
    with api.running.db.write() as session:
        session.add(QuarantineClaim(topic=topic, position=at, **claim))
    quarantine.act(path, "claimed", age_s=2 * CLAIM_S, claim_id="clm_dead")


def claims(api: Api) -> int:
    """How many claims there are."""
    with api.running.db.read() as session:
        return len(session.scalars(select(QuarantineClaim)).all())


# -- horizons


def test_a_horizon_is_what_was_there_at_the_first_look(clickhouse: Any, whole: ApiParts) -> None:
    """It stands still while more comes; a second one covers what was sent on; a new intention has its own."""
    busy = Busy(clickhouse)
    assert whole.clickhouse is not None
    store = Store(whole.clickhouse)
    horizons = Horizons(store, busy)  # type: ignore[arg-type]
    old, new = (("t", 1), "clm_1"), (("t", 1), "clm_2")
    assert horizons.passed("t", [old]) == set()
    first = 10
    busy.judge("t", first - 1)
    assert horizons.passed("t", [old]) == set()
    busy.judge("t", first)
    assert horizons.passed("t", [old]) == set()  # what was forwarded until now waits at its home
    busy.judge("t", busy.end - 10)
    horizons.look()
    busy.judge("t", busy.end - 10)
    horizons.look()
    assert horizons.passed("t", [old, new]) == {old}
    store.close()


def test_a_topic_that_was_made_anew_has_other_ends(clickhouse: Any, whole: ApiParts) -> None:
    """Offsets of the old log say nothing about the new one: its own ends are waited for."""
    busy = Busy(clickhouse)
    assert whole.clickhouse is not None
    store = Store(whole.clickhouse)
    horizons = Horizons(store, busy)  # type: ignore[arg-type]
    old = (("t", 1), "clm_1")
    assert horizons.passed("t", [old]) == set()
    busy.judge("t", 10)
    busy.state = lambda topic: TopicState("id_2", {0: (0, 5)})  # type: ignore[method-assign]
    assert horizons.passed("t", [old]) == set()
    clickhouse.client.insert("topic_epochs", [["t", "id_2", 1]], ["topic", "topic_id", "epoch"])
    clickhouse.client.insert(
        "ledger_ranges", [["t", 1, 0, 0, 5]], ["topic", "epoch", "partition", "first_offset", "next_offset"]
    )
    assert horizons.passed("t", [old]) == {old}
    store.close()


async def test_old_intentions_are_settled_while_rows_come_in(
    make_api: MakeApi, whole: ApiParts, clickhouse: Any, quarantine: Quarantine
) -> None:
    """A dead claim, and a dead sweep's word: the workers need not catch up with a topic that goes on."""
    busy = Busy(clickhouse)
    api = await make_api(replace(whole, tails=busy))  # type: ignore[arg-type]
    await api.log_in()
    claimed, swept = quarantine.put(), quarantine.put(missing_kind="datasets", missing_id="ds_1")
    topic = claimed.split("/")[-2]
    dead_claim(api, quarantine, claimed)
    quarantine.act(swept, "requeued", age_s=2 * CLAIM_S)
    for path in (claimed, swept):
        assert_problem(await post(api, f"{path}/discard", reason="given up"), 409, "being_replayed")
    for _ in range(4):
        busy.judge(topic, busy.end - 1)  # some rows are always on their way
        await asyncio.to_thread(api.running.settler.step)
    assert claims(api) == 0
    assert await state(api, claimed) == "open"
    for path in (claimed, swept):
        assert (await post(api, f"{path}/discard", reason="given up")).status_code == 200


# -- one received row


async def test_a_line_that_came_twice_is_replayed_once(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """Two corrections at once, with two IDs, publish one record; the line is listed and counted once."""
    line = {"source_ref": "s3://b/f@1", "line": 2}
    first, again = quarantine.put(**line), quarantine.put(**line)
    items = (await whole_api.http.get("/v1/quarantine")).json()["items"]
    assert [item["position"] for item in items] == [first.split("/")[-1]]
    assert (await whole_api.http.get("/v1/quarantine/counts")).json()["total"] == 1
    found = (await whole_api.http.get(again)).json()
    positions = [path.split("/")[-1] for path in (first, again)]
    assert (found["state"], found["records"]) == ("redelivered", positions)
    answers = await asyncio.gather(
        post(whole_api, f"{first}/replay", changes={"ID": "NEW-0"}),
        post(whole_api, f"{again}/replay", changes={"ID": "NEW-1"}),
    )
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    third = quarantine.put(**line)  # and one more while the replay is on its way
    assert_problem(await post(whole_api, f"{third}/replay", changes={"ID": "NEW-2"}), 409, "being_replayed")
    assert_problem(await post(whole_api, f"{third}/discard", reason="twice"), 409, "being_replayed")
    assert len(topic_records(endpoints.kafka, first.split("/")[-2])) == 1
    quarantine.judge(first if answers[0].status_code == 202 else again)
    assert await asyncio.to_thread(whole_api.running.settler.step) == 2
    assert claims(whole_api) == 0
    for path in (first, again, third):
        assert_problem(await post(whole_api, f"{path}/replay"), 409, "already_replayed")
    assert await state(whole_api, first) == "replayed"


async def test_a_line_that_counts_is_not_replayed_under_another_id(
    whole_api: Api, quarantine: Quarantine
) -> None:
    """Accepted at first, refused when it came again: a correction with an ID of its own would count twice."""
    line = {"source_ref": "s3://b/f@1", "line": 2}
    again, other = quarantine.put(**line), quarantine.put(source_ref="s3://b/f@2", line=2)
    quarantine.judge(again, "accepted", **line, record_id="", replay_of=None, position=0)
    assert (await state(whole_api, again), await state(whole_api, other)) == ("redelivered", "open")
    assert_problem(await post(whole_api, f"{again}/replay", changes={"ID": "NEW"}), 409, "line_counts")
    assert claims(whole_api) == 0
    assert (await post(whole_api, f"{other}/replay", changes={"ID": "NEW"})).status_code == 202
    assert (await post(whole_api, f"{again}/discard", reason="the line counts")).status_code == 200


async def test_a_line_that_came_twice_is_discarded_and_restored_once(
    whole_api: Api, quarantine: Quarantine
) -> None:
    """Under any of its records; a further one that comes later is discarded with them."""
    line = {"source_ref": "s3://b/f@1", "line": 2}
    first, again = quarantine.put(**line), quarantine.put(**line)
    assert (await post(whole_api, f"{again}/discard", reason="not ours")).status_code == 200
    quarantine.put(**line)
    assert await state(whole_api, first) == "discarded"
    assert_problem(await post(whole_api, f"{first}/replay"), 409, "discarded")
    assert (await post(whole_api, f"{first}/restore")).status_code == 200
    assert await state(whole_api, first) == "open"
    assert claims(whole_api) == 0
    assert len(await audited(whole_api, subject_kind="quarantined_row")) == 2


# -- late words


class Slow(Store):
    """The store of another process, whose insert is held up."""

    def hold(self) -> None:
        """Hold inserts up from now on, until `go` is set."""
        self.at, self.go = threading.Event(), threading.Event()

    def append(self, table: str, batch: Any) -> None:
        """As `Store.append`, late."""
        self.at.set()
        assert self.go.wait(60)
        super().append(table, batch)


async def test_a_settler_that_is_late_undoes_no_discard(
    whole_api: Api, whole: ApiParts, quarantine: Quarantine
) -> None:
    """Two processes give the same dead claim up; by the time the slower one says so the row is discarded."""
    path = quarantine.put()
    dead_claim(whole_api, quarantine, path)
    assert whole.clickhouse is not None
    slow = Slow(whole.clickhouse)
    slow.hold()
    other = Settler(Claims(whole_api.running.db), slow, whole.tails)
    step = asyncio.create_task(asyncio.to_thread(other.step))
    try:
        assert await asyncio.to_thread(slow.at.wait, 60)
        assert (await post(whole_api, f"{path}/discard", reason="given up for good")).status_code == 200
    finally:
        slow.go.set()
        await step
        slow.close()
    assert quarantine.actions(path) == ["claimed", "withdrawn", "claimed", "discarded", "withdrawn"]
    assert await state(whole_api, path) == "discarded"
    assert len(await audited(whole_api, action="quarantine.withdrawn")) == 1


# -- walks


async def test_a_walk_does_not_meet_its_own_replays(whole_api: Api, quarantine: Quarantine) -> None:
    """Each row is replayed once though all are refused again; the replays belong to the next walk."""
    open_rows = [quarantine.put(PAYMENT | {"ID": f"P{number}"}) for number in range(4)]
    body: dict[str, Any] = {"reason": "bad_decimal", "limit": 2}
    matched, done = [], 0
    for _ in range(2):
        answer = (await post(whole_api, "/v1/quarantine/replays", **body)).json()
        for path in open_rows[done : done + answer["done"]]:
            quarantine.judge(path, "quarantined")
            quarantine.put(replay_of=int(path.rpartition("/")[2]))
        matched.append(answer["matched"])
        done += answer["done"]
        body["cursor"] = answer["next"]
    assert (matched, done, body.pop("cursor")) == ([4, 2], 4, None)
    assert (await post(whole_api, "/v1/quarantine/replays", **body, dry_run=True)).json()["matched"] == 4
    for cursor in ("WyJ0IiwxXQ", "WyJ0IiwxLCJ4Il0", "WyJ0IiwxLC0xXQ"):
        answer = await post(whole_api, "/v1/quarantine/replays", **body, cursor=cursor)
        assert_problem(answer, 400, "bad_cursor")


# -- time


async def test_a_slow_broker_carries_no_row_past_its_claim(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each record is sent within a minute of the claim, or not at all; what was not is settled later."""
    paths = [quarantine.put(dataset_id="ds_slow") for _ in range(5)]
    clock = [1000.0]
    monkeypatch.setattr("api.quarantine.attempts.time", SimpleNamespace(monotonic=lambda: clock[0]))
    add, waits = Group.add_waiting, []

    def slowly(group: Group, record: Record, deadline_s: float) -> None:
        add(group, record, deadline_s)
        waits.append(deadline_s)
        clock[0] += 29.5

    monkeypatch.setattr(Group, "add_waiting", slowly)
    answer = await post(whole_api, "/v1/quarantine/replays", dataset_id="ds_slow")
    assert_problem(answer, 503, "broker_away")
    assert (len(waits), waits[-1]) == (3, 1.0)
    await asyncio.to_thread(whole_api.running.parts.publisher.flush, 10)
    assert len(topic_records(endpoints.kafka, paths[0].split("/")[-2])) == 3
    assert claims(whole_api) == 5


# -- restores


async def discarded(api: Api, path: str) -> None:
    """Give a row up."""
    assert (await post(api, f"{path}/discard", reason="test data")).status_code == 200


async def test_a_restore_that_dies_leaves_the_row_discarded(
    make_api: MakeApi,
    whole: ApiParts,
    clickhouse: Any,
    quarantine: Quarantine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither its claim nor the end of that takes the discard back; the audit says that it was in vain."""
    busy = Busy(clickhouse)
    api = await make_api(replace(whole, tails=busy))  # type: ignore[arg-type]
    await api.log_in()
    path = quarantine.put()
    await discarded(api, path)

    def died(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("api.quarantine.attempts.Attempt.take_back", died)
        assert_problem(await post(api, f"{path}/restore"), 500, "internal_error")
    assert await state(api, path) == "discarded"
    with api.running.db.write() as session:
        long_ago = now_ms() - timedelta(seconds=2 * CLAIM_S)
        session.execute(update(QuarantineClaim).values(claimed_at=long_ago))
    for _ in range(4):
        busy.judge(path.split("/")[-2], busy.end)
        await asyncio.to_thread(api.running.settler.step)
    assert (claims(api), await state(api, path)) == (0, "discarded")
    entries = await audited(api, subject_kind="quarantined_row")
    assert [entry["action"].partition(".")[2] for entry in entries] == ["discard", "restore", "withdrawn"]
    assert (await post(api, f"{path}/restore")).status_code == 200
    assert await state(api, path) == "open"


async def test_a_discarded_row_can_be_restored_and_discarded_by_turns(
    whole_api: Api, quarantine: Quarantine
) -> None:
    """Whatever the sweep meant to do with it before; many at once do one of each."""
    path = quarantine.put(missing_kind="datasets", missing_id="ds_1")
    await discarded(whole_api, path)
    quarantine.act(path, "requeued", age_s=2 * CLAIM_S)
    for _ in range(2):
        assert (await post(whole_api, f"{path}/restore")).status_code == 200
        assert await state(whole_api, path) == "open"
        quarantine.act(path, "discarded", claim_id="clm_other")
        assert await state(whole_api, path) == "discarded"
    answers = await asyncio.gather(*[post(whole_api, f"{path}/restore") for _ in range(10)])
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert (claims(whole_api), await state(whole_api, path)) == (0, "open")


async def test_what_is_known_is_settled_while_the_broker_is_away(
    whole_api: Api, quarantine: Quarantine
) -> None:
    """A claim about which the broker must be asked holds up none whose outcome is in the ledger."""
    unknown, known = quarantine.put(), quarantine.put()
    for path in (unknown, known):
        dead_claim(whole_api, quarantine, path)
    quarantine.judge(known)
    settler = Settler(Claims(whole_api.running.db), whole_api.running.store, None)
    with pytest.raises(BrokerAway):
        await asyncio.to_thread(settler.step)
    assert claims(whole_api) == 1


# -- at once


@pytest.mark.parametrize("first", ["replay", "discard"])
async def test_of_replays_and_discards_at_once_one_is_done(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints, first: str
) -> None:
    """Whoever asks first; a row is never both given up and on its way."""
    path = quarantine.put()
    acts = {"replay": {}, "discard": {"reason": "given up"}}
    order = sorted(acts, key=lambda what: what != first)
    asked = [post(whole_api, f"{path}/{what}", **acts[what]) for _ in range(8) for what in order]
    answers = await asyncio.gather(*asked)
    done = [answer for answer in answers if answer.status_code in (200, 202)]
    assert len(done) == 1, [answer.status_code for answer in answers]
    assert {answer.status_code for answer in answers if answer not in done} == {409}
    await asyncio.to_thread(whole_api.running.parts.publisher.flush, 10)
    sent = topic_records(endpoints.kafka, path.split("/")[-2])
    discarded = quarantine.actions(path).count("discarded")
    assert (len(sent), discarded) == ((1, 0) if done[0].json()["done"] == "replayed" else (0, 1))
    entries = await audited(whole_api, subject_kind="quarantined_row")
    standing = [entry["action"] for entry in entries if entry["action"] != "quarantine.withdrawn"]
    gone = len(entries) - len(standing)
    assert len(standing) - gone == 1


async def test_bulk_replays_and_single_ones_at_once_send_each_row_once(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """However requests overlap: what one has claimed the others skip."""
    paths = [quarantine.put(dataset_id="ds_many") for _ in range(6)]
    bulk = [post(whole_api, "/v1/quarantine/replays", dataset_id="ds_many") for _ in range(4)]
    single = [post(whole_api, f"{path}/replay") for path in paths]
    answers = await asyncio.gather(*bulk, *single)
    done = sum(answer.json()["done"] for answer in answers[:4])
    done += sum(answer.status_code == 202 for answer in answers[4:])
    assert done == 6, [answer.text for answer in answers]
    await asyncio.to_thread(whole_api.running.parts.publisher.flush, 10)
    assert len(topic_records(endpoints.kafka, paths[0].split("/")[-2])) == 6
    assert claims(whole_api) == 6
