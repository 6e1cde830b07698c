"""Windows of a pull API into the topic: back-fill, late payments, what stops a run and how it goes on."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
import structlog
from pull_double import KEY, Reply, answer, item
from pull_world import NOON, PullWorld

from producers import pull_intake, pull_rows
from producers.contracts import FileState, RunState
from producers.errors import DatasetPaused
from schemas.identity import payment_key
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Sealer
from sunledger.embedded.stack import Endpoints
from tests.support.workers import wait_until

HOURS = timedelta(hours=1)


@pytest.fixture
def world(endpoints: Endpoints, kafka_prefix: str) -> Iterator[PullWorld]:
    """A dataset since 1 May, on 3 May at noon."""
    made = PullWorld(endpoints.kafka, kafka_prefix)
    yield made
    made.close()


def test_back_fill_day_by_day(world: PullWorld) -> None:
    """Every day since the first is a window with a receipt, the last one up to now; rows have a lineage."""
    world.api.add(1, "2024-05-01T08:00:00Z")
    world.api.add(2, "2024-05-01T09:30:00.123456Z", serialNumber="N/A", meterId="M-2", agentId=7)
    world.api.add(3, "2024-05-03T11:59:59Z", customerPhone=None)
    assert world.run() == (RunState.DONE, "asked for 2024-05-01T00:00:00Z to 2024-05-03T12:00:00Z")
    assert world.windows() == [
        "2024-05-01T00:00:00Z/2024-05-02T00:00:00Z",
        "2024-05-02T00:00:00Z/2024-05-03T00:00:00Z",
        "2024-05-03T00:00:00Z/2024-05-03T12:00:00Z",
    ]
    files = world.store.files
    assert [(file.state, file.received, file.error) for file in files] == [
        (FileState.DONE, 2, None),
        (FileState.DONE, 0, None),
        (FileState.DONE, 1, None),
    ]
    assert all(file.content_hash for file in files)
    first, second = sorted(world.rows_of(files[0]), key=lambda record: record.where[1])
    assert (first.where[1], second.where[1]) == (1, 2)
    host = world.url.split("/")[2]
    assert first.headers["source_ref"].startswith(f"pull://{host}/{world.dataset.id}/2024-05-01T00:00:00Z/")
    assert (first.headers["source"], first.headers["dataset_id"]) == ("pull", world.dataset.id)
    assert first.key == payment_key("org_a", "crm", "1")
    assert (first.value["METER_ID"], second.value["METER_ID"]) == ("SHS-1", "M-2")
    verdict = PaymentValidator().validate(
        [record.value for record in world.seen()], [PaymentContext("pull")] * 3
    )
    assert not verdict.errors


def test_nothing_personal_and_no_key_leaves(world: PullWorld) -> None:
    """Names and phones are pseudonyms in the topic; no log, state or detail holds them or the key."""
    world.api.add(1, "2024-05-01T08:00:00Z", notes="call Jane", wallet="0803 555 0199")
    world.api.by_day["2024-05-03"] = Reply(body=answer(item(2, "x"), errors=["John Doe owes +2348000000002"]))
    with structlog.testing.capture_logs() as logs:
        state, detail = world.run()
    assert state is RunState.FAILED
    seen = world.seen()
    assert [record.value["ID"] for record in seen] == ["1"]
    told = (
        repr(logs) + str(detail) + repr(world.store.files) + repr([(r.value, r.key, r.headers) for r in seen])
    )
    for secret in ("John", "Jane", "+2348000", "0803 555", KEY):
        assert secret not in told
    originals = orjson.loads(
        Sealer(b"fedcba9876543210fedcba9876543210").open("org_a", seen[0].headers["sealed"])
    )
    assert originals["CUSTOMER_NAME"] == "John Doe 1"


def test_days_are_asked_again_until_payments_come_late_no_more(world: PullWorld) -> None:
    """A late payment comes in with the next run, known rows come again; older days are left alone."""
    world.api.add(1, "2024-05-01T08:00:00Z")
    world.api.add(2, "2024-05-03T10:00:00Z")
    world.run()
    world.api.add(3, "2024-05-02T07:00:00Z")
    world.clock += 24 * HOURS
    world.api.asked.clear()
    world.run()
    assert world.api.days() == ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04"]
    assert world.ids() == ["1", "1", "2", "2", "3"]
    assert len({record.where for record in world.seen()}) == 5
    world.clock = datetime(2024, 5, 6, 0, 0, tzinfo=UTC)
    world.run()
    world.api.asked.clear()
    world.run()
    assert world.api.days() == ["2024-05-03", "2024-05-04", "2024-05-05"], "1 and 2 May were read late enough"
    assert world.api.asked[-1] == ("2024-05-05T00:00:00Z", "2024-05-06T00:00:00Z"), (
        "no empty window at midnight"
    )


def test_an_outage_of_weeks_leaves_no_gap(world: PullWorld) -> None:
    """Days whose late payments nobody looked for are asked again, however long ago that was."""
    world.api.add(1, "2024-05-03T08:00:00Z")
    world.run()
    world.api.add(2, "2024-05-03T20:00:00Z")
    world.clock += timedelta(days=40)
    world.api.asked.clear()
    world.run()
    assert world.api.days()[0] == "2024-05-01"
    assert len(world.api.asked) == 43
    assert set(world.ids()) == {"1", "2"}


def test_since_that_moves(world: PullWorld) -> None:
    """To an earlier day: the gap is read, what is settled is not; to a later one: earlier days are left."""
    world.clock = datetime(2024, 5, 20, 6, 0, tzinfo=UTC)
    world.run()
    world.place(since=date(2024, 4, 29))
    world.api.add(1, "2024-04-30T08:00:00Z")
    world.api.asked.clear()
    world.run()
    assert world.api.days()[:3] == ["2024-04-29", "2024-04-30", "2024-05-17"]
    assert world.ids() == ["1"]
    world.place(since=date(2024, 5, 19))
    world.api.asked.clear()
    world.run()
    assert world.api.days() == ["2024-05-19", "2024-05-20"]
    world.place(since=date(2024, 6, 1))
    assert world.run() == (RunState.DONE, "no day since 2024-06-01 is due")


def test_another_address_is_read_from_the_beginning(world: PullWorld) -> None:
    """Nobody can know that it serves the same payments; the address itself is in no name of a file."""
    world.clock = datetime(2024, 5, 20, tzinfo=UTC)
    world.run()
    world.api.asked.clear()
    world.place(url=f"{world.url}?tenant=secret-tenant")
    world.run()
    assert len(world.api.asked) == 19
    assert world.api.queries[-1]["tenant"] == ["secret-tenant"]
    assert "secret-tenant" not in repr(world.store.files)


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (Reply(body=answer(errors="boom")), Code.SOURCE_ERROR, "`errors` of its answer is not empty"),
        (Reply(body=b"<html>Sign in</html>"), Code.NOT_JSON, "a page of HTML"),
        (Reply(body=answer(item(9, "x"))[:-30]), Code.NOT_JSON, "it breaks off"),
        (Reply(body=b'{"errors": ""}'), Code.MISSING, "no `payments`"),
        (Reply(404, b"{}"), None, "answers 404, expected 200"),
        (Reply(400, answer(errors="FROM is wrong")), None, "answers 400, expected 200"),
        (Reply(401), None, "does not take the key: it answers 401"),
        (Reply(403), None, "does not take the key: it answers 403"),
    ],
)  # fmt: skip
def test_a_window_that_fails_for_good_ends_the_run_there(
    world: PullWorld, reply: Reply, code: Code | None, said: str
) -> None:
    """The run says which window and why, publishes nothing of it, asks for no later one; the next goes on."""
    world.api.add(1, "2024-05-01T08:00:00Z")
    world.api.add(3, "2024-05-03T08:00:00Z")
    world.api.by_day["2024-05-02"] = reply
    state, detail = world.run()
    assert state is RunState.FAILED
    assert detail is not None
    assert "window 2024-05-02T00:00:00Z to 2024-05-03T00:00:00Z: " in detail
    assert said in detail
    assert world.api.days() == ["2024-05-01", "2024-05-02"]
    assert world.ids() == ["1"]
    refused = [(file.state, file.received, file.error) for file in world.store.files if file.error]
    assert refused == ([(FileState.DONE, 0, code.value)] if code else [])
    assert not world.store.unfinished(world.dataset.id)
    world.api.by_day.clear()
    world.api.asked.clear()
    assert world.run()[0] is RunState.DONE
    assert world.api.days() == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert set(world.ids()) == {"1", "3"}


def test_a_busy_api_is_asked_again(world: PullWorld) -> None:
    """A few 429 and 5xx, and an answer that breaks off, cost no row and no window."""
    world.api.add(1, "2024-05-01T08:00:00Z")
    broken = Reply(body=answer(item(1, "2024-05-01T08:00:00Z")), cut=7)
    world.api.replies = [Reply(429, headers={"Retry-After": "0"}), Reply(503), broken, Reply(500)]
    assert world.run()[0] is RunState.DONE
    assert world.ids() == ["1"]
    assert world.windows()[0] == "2024-05-01T00:00:00Z/2024-05-02T00:00:00Z"


def test_an_api_that_stays_away_leaves_the_rest_to_a_later_run(world: PullWorld) -> None:
    """After some attempts the run ends, with the window in its reason; the next one begins there."""
    world.api.add(1, "2024-05-01T08:00:00Z")
    world.api.by_day["2024-05-02"] = Reply(502, b"<html>Bad Gateway</html>")
    state, detail = world.run(first_pause_s=0.001)
    assert state is RunState.FAILED
    assert detail is not None
    assert "window 2024-05-02T00:00:00Z to 2024-05-03T00:00:00Z: the API answers 502" in detail
    assert world.windows() == ["2024-05-01T00:00:00Z/2024-05-02T00:00:00Z"]
    assert world.ids() == ["1"], "the attempts of one run publish a window once"


def test_a_paused_dataset_stops_and_goes_on(world: PullWorld) -> None:
    """Paused between windows, it asks for no further one; active again, it goes on where it was."""
    for day in (1, 2, 3):
        world.api.add(day, f"2024-05-0{day}T08:00:00Z")
    paused = list(world.datasets.datasets)

    def pause() -> None:
        if not world.api.headers:
            world.datasets.datasets.clear()

    world.api.on_request = pause
    state, detail = world.run()
    assert state is RunState.FAILED
    assert "paused" in str(detail)
    assert world.ids() == ["1"]
    world.datasets.datasets[:] = paused
    assert world.run()[0] is RunState.DONE
    assert set(world.ids()) == {"1", "2", "3"}


def test_clocks_that_are_apart(world: PullWorld) -> None:
    """Hours are made good by asking again; more than a day stops the run before a day is taken for over."""
    world.api.add(1, "2024-05-03T13:00:00Z")
    world.api.clock = NOON + 3 * HOURS
    assert world.run()[0] is RunState.DONE
    assert world.ids() == []
    world.clock = world.api.clock = NOON + 2 * HOURS
    world.run()
    assert world.ids() == ["1"]
    world.api.asked.clear()
    world.clock = NOON + timedelta(days=30)
    state, detail = world.run()
    assert state is RunState.FAILED
    assert "more than a day apart (UTC): the API's says 2024-05-03 14:00, ours 2024-06-02 12:00" in str(
        detail
    )
    assert len(world.windows()) == 6
    world.clock = NOON - timedelta(days=1)
    world.api.clock = None
    world.api.asked.clear()
    assert world.run()[0] is RunState.DONE, "a clock that was set back asks for less"
    assert world.api.days() == ["2024-05-01", "2024-05-02"]


def test_an_answer_that_changed_is_a_file_of_its_own(world: PullWorld) -> None:
    """Lines of a file that broke off never come to stand for other rows; the new one's receipt adds up."""
    for number in range(8):
        world.api.add(number, "2024-05-03T08:00:00Z")
    with pytest.MonkeyPatch.context() as patch:
        fail_after(patch, 2)
        assert world.run()[0] is RunState.FAILED
    (left,) = world.store.unfinished(world.dataset.id)
    world.api._payments.insert(0, world.api._payments.pop())
    world.clock += HOURS
    assert world.run()[0] is RunState.DONE
    by_id = {file.id: file for file in world.store.files}
    assert by_id[left.id].state is FileState.REPLACED
    last = world.store.files[-1]
    assert (last.state, last.received) == (FileState.DONE, 8)
    assert sorted(record.where[1] for record in world.rows_of(last)) == list(range(1, 9))


def test_the_same_answer_goes_on_under_its_name(world: PullWorld) -> None:
    """A file that broke off is published again with the same lines, by whichever run comes next."""
    for number in range(8):
        world.api.add(number, "2024-05-03T08:00:00Z")
    with pytest.MonkeyPatch.context() as patch:
        fail_after(patch, 2)
        assert world.run()[0] is RunState.FAILED
    (left,) = world.store.unfinished(world.dataset.id)
    assert world.run()[0] is RunState.DONE
    found = next(file for file in world.store.files if file.id == left.id)
    assert (found.state, found.received, found.run_id != left.run_id) == (FileState.DONE, 8, True)
    lines = {record.where[1] for record in world.rows_of(found)}
    assert lines == set(range(1, 9))


def fail_after(patch: pytest.MonkeyPatch, batches: int) -> None:
    """Rows of three, and a pause after so many batches of a window."""
    whole = pull_rows.row_batches

    def interrupted(body: Any) -> Iterator[Any]:
        for number, batch in enumerate(whole(body)):
            if number == batches:
                raise DatasetPaused
            yield batch

    patch.setattr(pull_rows, "ROWS_AT_ONCE", 3)
    patch.setattr(pull_intake, "row_batches", interrupted)


def test_stopping_while_an_answer_is_waited_for(world: PullWorld) -> None:
    """Told to stop in a long Retry-After, a poller stops; the window is asked for at the next start."""
    world.api.add(1, "2024-05-01T08:00:00Z")
    asked = threading.Event()
    world.api.on_request = asked.set
    world.api.replies = [Reply(429, headers={"Retry-After": "110"})]
    world.store.request(world.dataset.id)
    poller = world.poller()
    thread = threading.Thread(target=poller.run, daemon=True)
    thread.start()
    assert asked.wait(60)
    poller.stop()
    thread.join(60)
    assert not thread.is_alive()
    again = world.poller()
    again.poll()
    wait_until(lambda: world.ids() == ["1"], 60, "the row")
