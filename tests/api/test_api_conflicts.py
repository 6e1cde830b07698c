"""Conflicts: listed, compared field by field, decided one by one and in bulk, undone, audited."""

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from api_helpers import Api, assert_problem
from httpx2 import Response
from judged import EPOCH, connect_meter, judge_at_once, judged
from refused import audited
from sqlalchemy import update

from api.conflicts.one_by_one import Lines, OneByOne
from api.errors import DecidersBusy, StoreAway
from api.store import Store
from api.tables import Lease
from sinks.client import connect
from sinks.rulings import latest_decisions
from tests.conftest import ClickHouse
from tests.streams.world import ORG, World, home_partition
from tests.support.workers import payment, read


async def cases(api: Api, **filters: Any) -> list[dict[str, Any]]:
    """The cases that the list tells."""
    answer = await api.http.get("/v1/conflicts", params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def path_of(case: Mapping[str, Any]) -> str:
    """The address of a case."""
    return f"/v1/conflicts/{case['record_type']}/{case['identity']}"


async def decide(api: Api, case: Mapping[str, Any], decision: str, **more: Any) -> dict[str, Any]:
    """Decide a case; the case after it."""
    answer = await api.http.post(f"{path_of(case)}/decisions", json={"decision": decision, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counting(case: Mapping[str, Any]) -> list[bool]:
    """Which versions count."""
    return [version["counting"] for version in case["versions"]]


def amounts(clickhouse: ClickHouse) -> list[Any]:
    """What analysts see as paid."""
    return [row[0] for row in clickhouse.rows("SELECT payment_amount FROM payments ORDER BY 1")]


async def test_cases_are_listed_by_what_is_asked(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Organisation, dataset, type, id, field, decision, open or not; page by page, each case once."""
    for number in range(3):
        await judged(clickhouse, payment(number), payment(number, PAYMENT_AMOUNT="1"))
    await judged(clickhouse, payment(9, STATUS="paid"), payment(9, STATUS="void"), dataset_id="ds_1")
    await judged(clickhouse, read("D1", 1), read("D1", 1, value=13), kind="reads")
    for filters, count in [
        ({"organization_id": ORG}, 5), ({"organization_id": "org_x"}, 0), ({"dataset_id": "ds_1"}, 1),
        ({"record_type": "read"}, 1), ({"record_type": "payment"}, 4), ({"record_id": "P1"}, 1),
        ({"field": "PAYMENT_AMOUNT"}, 3), ({"field": "STATUS"}, 1), ({"field": "value"}, 1),
        ({"open": True}, 4), ({"open": False}, 1), ({"decision": "take_new"}, 1), ({"decision": "undo"}, 0),
    ]:  # fmt: skip
        assert len(await cases(whole_api, **filters)) == count, filters
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = (await whole_api.http.get("/v1/conflicts", params=params)).json()
        seen += [case["identity"] for case in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert len(seen) == len(set(seen)) == 5
    for cursor in ("x", "W10", "WyJhIiwgImIiLCAtMV0"):
        answer = await whole_api.http.get("/v1/conflicts", params={"cursor": cursor})
        assert_problem(answer, 400, "bad_cursor")


async def test_a_case_tells_versions_differences_and_decisions(
    whole_api: Api, clickhouse: ClickHouse
) -> None:
    """Values side by side for what both supplied; of personal fields not even the pseudonyms."""
    first = payment(
        1, NOTES="call Amina", STATUS="paid", LATITUDE="1.23456", custom={"Agent phone": "+1", "a": "x"}
    )
    second = payment(
        1, NOTES="call Bello", STATUS=None, PAYMENT_AMOUNT="5000.25", CUSTOMER_NAME="Other",
        LATITUDE="7.00049", custom={"Agent phone": "+2", "a": "y"}, TIMESTAMP="2026-05-16T14:16:02",
    )  # fmt: skip
    await judged(clickhouse, first, second, source_ref="s3://b/f.csv@1", line="7")
    case = (await whole_api.http.get(path_of((await cases(whole_api))[0]))).json()
    values = {d["field"]: [v["value"] for v in d["values"]] for d in case["differences"]}
    assert values == {
        "TIMESTAMP": ["2026-05-16T14:16:01.000Z", "2026-05-16T14:16:02.000Z"],
        "PAYMENT_AMOUNT": ["5000", "5000.25"],
        "LATITUDE": ["1.235", "7.000"],
        "custom.a": ["x", "y"],
    }
    assert "NOTES" in case["differing_fields"]
    assert [v["fields"].get("STATUS") for v in case["versions"]] == ["paid", None]
    assert [v["fields"]["PAYMENT_CURRENCY"] for v in case["versions"]] == ["NGN", "NGN"]
    assert (case["versions"][0]["source_ref"], case["versions"][0]["line"]) == ("s3://b/f.csv@1", 7)
    for secret in ("Amina", "Bello", "Secret Name", "+1", "+2", "1.23456"):
        assert secret not in str(case)
    assert (case["open"], case["decisions"]) == (True, [])
    identity = int(case["identity"]) ^ 1
    assert_problem(await whole_api.http.get(f"/v1/conflicts/payment/{identity}"), 404, "not_found")
    assert_problem(await whole_api.http.get(f"/v1/conflicts/read/{case['identity']}"), 404, "not_found")
    assert_problem(await whole_api.http.get(f"/v1/conflicts/payment/{1 << 64}"), 422, "invalid")


async def test_the_views_follow_a_decision(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Totals of payments, verification and conflicts are those of what was decided last."""
    await asyncio.to_thread(connect_meter, clickhouse, "M1")
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    case = (await cases(whole_api))[0]

    def totals() -> list[Any]:
        rows = clickhouse.rows("SELECT payments, totals FROM verification WHERE connection_id = 'con_1'")
        return list(rows[0])

    for decision, paid, count in [
        ("take_new", 70, 1), ("count_both", 5070, 2), ("keep_first", 5000, 1), ("undo", 5070, 2),
        ("undo", 70, 1), ("undo", 5000, 1),
    ]:  # fmt: skip
        case = await decide(whole_api, case, decision)
        assert await asyncio.to_thread(totals) == [count, {"NGN": Decimal(paid)}], decision
        assert sum(await asyncio.to_thread(amounts, clickhouse)) == paid
        assert sum(counting(case)) == count
    assert case["open"] is True
    answer = await whole_api.http.post(f"{path_of(case)}/decisions", json={"decision": "undo"})
    assert_problem(answer, 409, "nothing_to_undo")
    made = case["decisions"]
    assert [d["decision"] for d in made] == ["take_new", "count_both", "keep_first", *["undo"] * 3]
    assert len({d["decided_at"] for d in made}) == len(made)
    assert {d["decided_by"][:4] for d in made} == {"usr_"}
    assert clickhouse.value("SELECT count() FROM decisions") == 6


async def test_an_undo_restores_what_was_decided_before(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Also the rule's own decision, with what it knew; and the worker goes on from there."""
    await judged(clickhouse, payment(1, STATUS="paid"), payment(1, STATUS="void"))
    case = (await cases(whole_api))[0]
    assert (case["decided_by"], case["open"], counting(case)) == ("rule", False, [False, True])
    case = await decide(whole_api, case, "keep_first")
    case = await decide(whole_api, case, "undo")
    assert (case["decision"], case["open"], counting(case)) == ("undo", False, [False, True])
    await judged(clickhouse, payment(1, STATUS="settled"))
    case = (await cases(whole_api))[0]
    assert (case["decided_by"], case["open"], counting(case)) == ("rule", False, [False, False, True])
    for _ in range(2):
        case = await decide(whole_api, case, "undo")
    assert (case["open"], counting(case)) == (True, [True, False, False])
    identity = int(case["identity"])
    found = await asyncio.to_thread(latest_decisions, clickhouse.client, [identity])
    assert found[identity][:2] == ([], [])
    await judged(clickhouse, payment(1, STATUS="late"))
    assert [c["open"] for c in await cases(whole_api)] == [True]
    assert clickhouse.rows("SELECT status FROM payments") == [("paid",)]


async def test_a_new_version_reopens_a_decided_case(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Who has not seen it cannot decide about it; what was decided counts until somebody does."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    case = (await cases(whole_api))[0]
    seen = [version["content_hash"] for version in case["versions"]]
    assert (await decide(whole_api, case, "take_new", known=seen))["open"] is False
    await judged(clickhouse, payment(1, PAYMENT_AMOUNT="90"))
    case = (await cases(whole_api, open=True))[0]
    assert counting(case) == [False, True, False]
    body = {"decision": "keep_first", "known": seen}
    answer = await whole_api.http.post(f"{path_of(case)}/decisions", json=body)
    assert_problem(answer, 409, "versions_changed")
    seen = [version["content_hash"] for version in case["versions"]]
    case = await decide(whole_api, case, "take_new", known=seen[::-1], selected=[seen[2]])
    assert (case["open"], counting(case)) == (False, [False, False, True])
    case = await decide(whole_api, case, "count_both", selected=[seen[2], seen[0]])
    assert counting(case) == [True, False, True]
    assert await asyncio.to_thread(amounts, clickhouse) == [90, 5000]


async def test_take_new_takes_what_came_last(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Also in bulk, and whatever partitions the versions came in: a higher one is no later one."""
    number = next(n for n in range(100) if home_partition(f"P{n}", 4) == 0)

    def judge() -> None:
        world = World(clickhouse, partitions=4).restore()
        old, newer, newest = (payment(number, PAYMENT_AMOUNT=amount) for amount in ("100", "200", "300"))
        world.turn(world.batch([old], partition=0))
        world.turn(world.batch([newer], partition=3))
        (forward,) = world.published.sent
        world.turn(world.received(forward, 1))
        world.turn(world.batch([newest], 2, partition=0))

    await asyncio.to_thread(judge)
    (case,) = await cases(whole_api)
    case = await decide(whole_api, case, "take_new")
    assert counting(case) == [False, False, True]
    assert await asyncio.to_thread(amounts, clickhouse) == [300]
    await decide(whole_api, case, "undo")
    await bulk(whole_api, "take_new", filter={"organization_id": ORG})
    assert await asyncio.to_thread(amounts, clickhouse) == [300]


@pytest.mark.parametrize(
    ("decision", "selected"),
    [
        ("keep_first", ["1"]), ("take_new", ["1"]), ("take_new", []), ("count_both", [0]),
        ("undo", [0]), ("take_new", [0, 1]),
    ],
)  # fmt: skip
async def test_versions_must_fit_the_decision(
    whole_api: Api, clickhouse: ClickHouse, decision: str, selected: list[Any]
) -> None:
    """Unknown ones, too many, too few, or any where none belong: an error, and nothing is stored."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    case = (await cases(whole_api))[0]
    hashes = [version["content_hash"] for version in case["versions"]]
    given = [hashes[item] if isinstance(item, int) else item for item in selected]
    answer = await whole_api.http.post(
        f"{path_of(case)}/decisions", json={"decision": decision, "selected": given}
    )
    problem = assert_problem(answer, 422, "invalid")
    assert problem["errors"][0]["field"] == "selected"
    assert clickhouse.value("SELECT count() FROM decisions") == 0


async def test_a_repeated_request_decides_once(whole_api: Api, clickhouse: ClickHouse) -> None:
    """The same id with the same decision is one decision, also for an undo; with another one a conflict."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    case = (await cases(whole_api))[0]
    for _ in range(2):
        await decide(whole_api, case, "count_both", decision_id="mine-1")
    await decide(whole_api, case, "take_new", decision_id="mine-2")
    for _ in range(2):
        case = await decide(whole_api, case, "undo", decision_id="mine-3")
    assert counting(case) == [True, True]
    assert [d["decision_id"] for d in case["decisions"]] == ["mine-1", "mine-2", "mine-3"]
    body = {"decision": "keep_first", "decision_id": "mine-1"}
    answer = await whole_api.http.post(f"{path_of(case)}/decisions", json=body)
    assert_problem(answer, 409, "decision_id_taken")
    twins = [decide(whole_api, case, "keep_first", decision_id="mine-4") for _ in range(4)]
    await asyncio.gather(*twins)
    assert len((await decide(whole_api, case, "keep_first", decision_id="mine-4"))["decisions"]) == 4
    answer = await whole_api.http.post(f"{path_of(case)}/decisions", json={**body, "decision_id": "rule:1"})
    assert_problem(answer, 422, "invalid")


async def test_decisions_follow_each_other_even_in_one_millisecond(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that stands still the last decision is still the latest one."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    case = (await cases(whole_api))[0]
    monkeypatch.setattr("api.conflicts.service._now", lambda _store: EPOCH)
    for decision, count in [("count_both", 2), ("keep_first", 1), ("count_both", 2), ("take_new", 1)]:
        case = await decide(whole_api, case, decision)
        assert sum(counting(case)) == count
    told = [made["decided_at"] for made in case["decisions"]]
    assert sorted(set(told)) == told


async def test_cases_of_reads_are_decided_too(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Energy follows what is decided."""
    rows = [read("D1", 1), read("D1", 1, value=20), read("D1", 2)]
    await judged(clickhouse, *rows, kind="reads")
    case = (await cases(whole_api, record_type="read"))[0]
    case = (await whole_api.http.get(path_of(case))).json()
    assert [d["field"] for d in case["differences"]] == ["value"]
    values = [v["value"] for v in case["differences"][0]["values"]]
    assert values == ["12500 Wh (12.5 kWh as sent)", "20000 Wh (20 kWh as sent)"]
    for decision, energy in [("take_new", 32500), ("undo", 25000), ("keep_first", 25000)]:
        await decide(whole_api, case, decision)
        assert clickhouse.value("SELECT sum(energy_wh) FROM reads") == energy


async def test_a_read_counts_once(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Two values for one stretch of time are no energy twice; in bulk reads are skipped and counted."""
    await judged(clickhouse, read("D1", 1), read("D1", 1, value=20), kind="reads")
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    (case,) = await cases(whole_api, record_type="read")
    answer = await whole_api.http.post(f"{path_of(case)}/decisions", json={"decision": "count_both"})
    problem = assert_problem(answer, 422, "invalid")
    assert [error["code"] for error in problem["errors"]] == ["count_both_of_read"]
    out = await bulk(whole_api, "count_both", filter={"organization_id": ORG})
    assert [one["record_type"] for one in out["decided"]] == ["payment"]
    assert out["skipped_by_code"] == {"count_both_of_read": 1}
    assert clickhouse.value("SELECT sum(energy_wh) FROM reads") == 12500


async def slow_twins(
    api: Api, case: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, **body: Any
) -> list[Response]:
    """Two answers to the same decision, sent while the insert of the other one takes its time."""
    append = api.running.store.append

    def slowly(*given: Any) -> None:
        time.sleep(0.5)
        append(*given)

    monkeypatch.setattr(api.running.store, "append", slowly, raising=False)
    twins = [api.http.post(f"{path_of(case)}/decisions", json=body) for _ in range(2)]
    return list(await asyncio.gather(*twins))


async def test_two_undos_at_once_follow_each_other(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one sees the first: each takes back one decision."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    (case,) = await cases(whole_api)
    for decision in ("keep_first", "take_new", "count_both"):
        case = await decide(whole_api, case, decision)
    answers = await slow_twins(whole_api, case, monkeypatch, decision="undo")
    assert [answer.status_code for answer in answers] == [201, 201]
    told = (await whole_api.http.get(path_of(case))).json()
    first, new = (version["content_hash"] for version in told["versions"])
    assert [made["selected"] for made in told["decisions"][3:]] == [[new], [first]]


async def test_who_has_not_seen_the_latest_decision_does_not_decide(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two undos at once one is made; the other one is told the present decision, as is a list."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    (case,) = await cases(whole_api)
    case = await decide(whole_api, case, "take_new", latest_decision_id="")
    case = await decide(whole_api, case, "count_both", latest_decision_id=case["decision_id"])
    seen = case["decision_id"]
    answers = await slow_twins(whole_api, case, monkeypatch, decision="undo", latest_decision_id=seen)
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    made, refused = sorted(answers, key=lambda answer: answer.status_code)
    problem = assert_problem(refused, 409, "decisions_changed")
    assert problem["errors"][0]["detail"] == made.json()["decision_id"] != seen
    named = {"record_type": "payment", "identity": case["identity"], "latest_decision_id": seen}
    out = await bulk(whole_api, "undo", cases=[named])
    assert out["skipped_by_code"] == {"decisions_changed": 1}
    named["latest_decision_id"] = made.json()["decision_id"]
    assert len((await bulk(whole_api, "undo", cases=[named]))["decided"]) == 1


async def test_who_decides_for_too_long_is_not_waited_for(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 when another process holds the lease; nothing is appended by one that lost it meanwhile."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    (case,) = await cases(whole_api)
    monkeypatch.setattr("api.conflicts.one_by_one.PATIENCE_S", 0.1)
    db = whole_api.running.db
    with OneByOne(db, [ORG], Lines()):
        answer = await whole_api.http.post(f"{path_of(case)}/decisions", json={"decision": "take_new"})
    assert_problem(answer, 503, "deciders_busy")
    with OneByOne(db, [ORG], Lines()) as slept:
        with db.write() as session:
            session.execute(update(Lease).values(until=EPOCH))
        with OneByOne(db, [ORG]), pytest.raises(DecidersBusy):
            slept.keep()
    await decide(whole_api, case, "take_new")


async def bulk(api: Api, decision: str, **body: Any) -> dict[str, Any]:
    """Decide in bulk."""
    answer = await api.http.post("/v1/conflicts/decisions", json={"decision": decision, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_decisions_of_people_are_in_the_audit(whole_api: Api, clickhouse: ClickHouse) -> None:
    """One entry per case and decision, also in bulk; none for rules, repeats, refusals and dry runs."""
    for number in range(3):
        await judged(clickhouse, payment(number), payment(number, PAYMENT_AMOUNT="70"))
    await judged(clickhouse, payment(7, STATUS="paid"), payment(7, STATUS="void"))
    one, *others = await cases(whole_api, open=True)
    for _ in range(2):
        await decide(whole_api, one, "take_new", decision_id="mine-1")
    refused = await whole_api.http.post(
        f"{path_of(one)}/decisions", json={"decision": "keep_first", "known": ["1"]}
    )
    assert_problem(refused, 409, "versions_changed")
    (entry,) = await audited(whole_api)
    names = ("action", "subject_kind", "subject", "organization_id", "details")
    assert [entry[name] for name in names] == [
        "conflict.decide", "conflict", f"payment/{one['identity']}", ORG,
        {"decision": "take_new", "decision_id": "mine-1", "known": 2, "selected": 1},
    ]  # fmt: skip
    made = (await whole_api.http.get(path_of(one))).json()["decisions"][-1]
    assert entry["user_id"] == made["decided_by"]

    rest = {"organization_id": ORG, "only_fields": ["PAYMENT_AMOUNT"]}
    await bulk(whole_api, "count_both", filter=rest, dry_run=True)
    await bulk(whole_api, "count_both", filter=rest, decision_id="all-1")
    entries = (await audited(whole_api))[1:]
    assert {entry["subject"] for entry in entries} == {f"payment/{case['identity']}" for case in others}
    assert len({entry["request_id"] for entry in entries}) == 1
    assert {entry["details"]["decision_id"] for entry in entries} == {"all-1"}
    await decide(whole_api, one, "undo")
    (undone,) = await audited(whole_api, action="conflict.undo")
    assert (undone["subject"], undone["details"]["selected"]) == (entry["subject"], 0)


async def test_a_decision_is_in_the_audit_before_it_is_stored(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that goes away in between leaves an entry to look into, never a decision that nobody made."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    (case,) = await cases(whole_api)

    def away(*_: Any) -> None:
        raise StoreAway

    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", away)
        answer = await whole_api.http.post(f"{path_of(case)}/decisions", json={"decision": "take_new"})
    assert_problem(answer, 503, "store_away")
    assert [entry["action"] for entry in await audited(whole_api)] == ["conflict.decide"]
    assert clickhouse.value("SELECT count() FROM decisions") == 0


async def test_a_rule_decides_many_cases_page_by_page(whole_api: Api, clickhouse: ClickHouse) -> None:
    """A filter names the cases: dry first, then in pages; what it was is recorded, and undone as one."""
    for number in range(5):
        await judged(clickhouse, payment(number, METER_ID="M1"), payment(number, METER_ID="M2"))
    await judged(clickhouse, payment(7), payment(7, PAYMENT_AMOUNT="1", METER_ID="M2"))
    mine = {"organization_id": ORG, "only_fields": ["METER_ID", "STATUS"]}
    dry = await bulk(whole_api, "take_new", filter=mine, dry_run=True)
    assert (len(dry["decided"]), dry["next"], dry["dry_run"]) == (5, None, True)
    assert clickhouse.value("SELECT count() FROM decisions") == 0
    sizes, cursor = [], None
    while True:
        asked = {"filter": mine, "limit": 2, "decision_id": "batch-1", "cursor": cursor}
        found = await bulk(whole_api, "take_new", **asked)
        sizes.append(len(found["decided"]))
        cursor = found["next"]
        if cursor is None:
            break
    assert sizes == [2, 2, 1]
    assert len(await cases(whole_api, open=True)) == 1
    assert clickhouse.rows("SELECT DISTINCT meter_id FROM payments WHERE id != 'P7'") == [("M2",)]
    case = (await whole_api.http.get(path_of((await cases(whole_api, record_id="P1"))[0]))).json()
    assert (
        case["decisions"][0]["rule"] == f'{{"organization_id":"{ORG}","only_fields":["METER_ID","STATUS"]}}'
    )
    again = await bulk(whole_api, "take_new", filter=mine, decision_id="batch-1")
    assert again["decided"] == []
    undone = await bulk(whole_api, "undo", filter={"organization_id": ORG, "decision_id": "batch-1"})
    assert len(undone["decided"]) == 5
    assert len(await cases(whole_api, open=True)) == 6


async def test_a_filter_looks_at_the_newest_versions_type(whole_api: Api, clickhouse: ClickHouse) -> None:
    """And at the dataset; closed cases are left alone unless they are asked for."""
    await judged(clickhouse, payment(1), payment(1, TRANSACTION_TYPE="DISCOUNT"), dataset_id="ds_1")
    await judged(clickhouse, payment(2), payment(2, TRANSACTION_TYPE="ENERGY_CREDIT"))
    await judged(clickhouse, payment(3), payment(3, TRANSACTION_TYPE="REVERSAL"))
    for given, count in [
        ({"transaction_type": "DISCOUNT"}, 1), ({"transaction_type": "FULL_PAYMENT"}, 0),
        ({"transaction_type": "REVERSAL"}, 0), ({"transaction_type": "REVERSAL", "open": False}, 1),
        ({"dataset_id": "ds_1"}, 1), ({"record_type": "read"}, 0), ({}, 2),
    ]:  # fmt: skip
        found = await bulk(whole_api, "count_both", filter={"organization_id": ORG, **given}, dry_run=True)
        assert len(found["decided"]) == count, given


async def test_a_list_of_cases_is_decided_but_for_those_that_changed(
    whole_api: Api, clickhouse: ClickHouse
) -> None:
    """Each case stands for itself: what cannot be decided is named with its reason."""
    for number in range(3):
        await judged(clickhouse, payment(number), payment(number, PAYMENT_AMOUNT="1"))
    found = await cases(whole_api)
    named = [{"record_type": "payment", "identity": case["identity"]} for case in found]
    named[1]["known"] = [found[1]["versions"][0]["content_hash"]]
    named += [{"record_type": "read", "identity": found[0]["identity"]}, named[0]]
    for already in (False, True):
        out = await bulk(whole_api, "keep_first", cases=named, decision_id="batch-1")
        told = {True: "already", False: "decided"}[already]
        assert [case["identity"] for case in out[told]] == [found[0]["identity"], found[2]["identity"]]
        skipped = {(case["record_type"], case["code"]) for case in out["skipped"]}
        assert skipped == {("payment", "versions_changed"), ("read", "not_found")}
    assert clickhouse.value("SELECT count() FROM decisions") == 2
    for body in ({}, {"filter": {"organization_id": ORG}, "cases": named}, {"filter": {}}, {"cases": []}):
        answer = await whole_api.http.post("/v1/conflicts/decisions", json={"decision": "keep_first", **body})
        assert_problem(answer, 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/conflicts", None),
        ("GET", "/v1/conflicts/payment/1", None),
        ("POST", "/v1/conflicts/payment/1/decisions", {"decision": "undo"}),
        ("POST", "/v1/conflicts/decisions", {"decision": "undo", "filter": {"organization_id": "o"}}),
    ],
)
async def test_without_clickhouse_nothing_is_decided(api: Api, method: str, path: str, body: Any) -> None:
    """503 with Retry-After; without a token 401."""
    answer = await api.http.request(method, path, json=body)
    assert_problem(answer, 503, "store_away")
    assert int(answer.headers["retry-after"]) > 0
    answer = await api.http.request(method, path, json=body, headers={"Authorization": "Bearer x"})
    assert_problem(answer, 401, "bad_token")


async def test_a_decision_that_is_not_stored_is_a_503(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClickHouse goes away between the question and the insert: try again, under the same id."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    case = (await cases(whole_api))[0]
    away = Store(lambda: connect(clickhouse.url, database="default"))  # which has no such table
    monkeypatch.setattr(whole_api.running.store, "append", away.append, raising=False)
    body = {"decision": "take_new", "decision_id": "mine-1"}
    answer = await whole_api.http.post(f"{path_of(case)}/decisions", json=body)
    assert_problem(answer, 503, "store_away")
    monkeypatch.undo()
    again = await decide(whole_api, case, **body)
    assert [made["decision_id"] for made in again["decisions"]] == ["mine-1"]


async def test_many_decide_at_once_and_all_are_heard(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Forty over forty cases, and forty over one: each waits for its turn, and the last one is in force."""
    many = range(1, 41)
    rows = [row for number in many for row in (payment(number), payment(number, PAYMENT_AMOUNT="1"))]
    await asyncio.to_thread(judge_at_once, clickhouse, rows)
    found = await cases(whole_api)
    assert len(found) == 40

    async def ask(case: Mapping[str, Any], decision: str, **more: Any) -> int:
        path = f"{path_of(case)}/decisions"
        answer = await whole_api.http.post(path, json={"decision": decision, **more}, timeout=120)
        return int(answer.status_code)

    over_many = await asyncio.gather(*[ask(case, "take_new", latest_decision_id="") for case in found])
    assert over_many == [201] * 40
    turns = ["keep_first", "take_new"] * 20
    over_one = await asyncio.gather(
        *[ask(found[0], turn, decision_id=f"d{number}") for number, turn in enumerate(turns)]
    )
    assert over_one == [201] * 40
    case = (await whole_api.http.get(path_of(found[0]))).json()
    last = case["decisions"][-1]
    assert len(case["decisions"]) == 41
    assert case["decision_id"] == last["decision_id"]
    assert counting(case) == ([True, False] if last["decision"] == "keep_first" else [False, True])
    entries = await audited(whole_api, subject=path_of(found[0]).removeprefix("/v1/conflicts/"))
    told = [entry["details"]["decision_id"] for entry in entries]
    assert told == [made["decision_id"] for made in case["decisions"]]


async def test_two_bulk_decisions_at_once_decide_each_open_case_once(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for the other one finds no open case left, and overrides nothing."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    await judged(clickhouse, payment(2), payment(2, PAYMENT_AMOUNT="70"))
    append = whole_api.running.store.append

    def slowly(*given: Any) -> None:
        time.sleep(0.5)
        append(*given)

    monkeypatch.setattr(whole_api.running.store, "append", slowly, raising=False)
    whose = {"organization_id": ORG}
    answers = await asyncio.gather(
        bulk(whole_api, "take_new", filter=whose), bulk(whole_api, "keep_first", filter=whose)
    )
    assert sorted(len(answer["decided"]) for answer in answers) == [0, 2]
    for case in await cases(whole_api):
        told = (await whole_api.http.get(path_of(case))).json()
        assert len(told["decisions"]) == 1


async def test_who_waits_for_his_turn_keeps_nobody_else_waiting(
    whole_api: Api, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty decisions wait for another process; everything else is answered meanwhile."""
    await judged(clickhouse, payment(1), payment(1, PAYMENT_AMOUNT="70"))
    (case,) = await cases(whole_api)
    path = f"{path_of(case)}/decisions"
    monkeypatch.setattr("api.conflicts.one_by_one.PATIENCE_S", 8.0)
    with OneByOne(whole_api.running.db, [ORG], Lines()):
        waiting = [
            asyncio.create_task(whole_api.http.post(path, json={"decision": "take_new"}, timeout=60))
            for _ in range(50)
        ]
        await asyncio.sleep(2)
        answer = await asyncio.wait_for(whole_api.http.get("/v1/organizations"), 3)
        assert answer.status_code == 200
        assert not any(task.done() for task in waiting)
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} <= {201, 503}
