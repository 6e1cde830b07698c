"""Files from the bucket to the topic and on to `Processed/` or `Error/`."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import orjson
import pytest
import structlog
from s3_world import HEADER, LOCAL, NAME, ORG, SEAL_SECRET, Fate, World, in_thread, line, sample

from producers import s3_intake
from producers.contracts import FileState, RunState
from producers.errors import SourceChanged, SourceForbidden
from producers.s3 import Bucket
from schemas.identity import partition_of, payment_key
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Sealer
from sunledger.embedded.stack import Stack


def wait_for(condition: Any, seconds: float = 30.0) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)
    return found


def test_file_becomes_records_and_moves(world: World) -> None:
    """Each row is one record with its lineage; the file ends under `Processed/` unchanged."""
    data = sample(1200)
    world.put(data)
    assert world.run() == (RunState.DONE, None)
    seen = world.seen()
    assert sorted(record.where[1] for record in seen) == list(range(2, 1202))
    (file,) = world.store.files
    assert (file.state, file.received, file.error) == (FileState.DELETED, 1200, None)
    (moved,) = world.keys()
    assert moved.startswith("Processed/")
    assert moved.endswith(NAME)
    assert world.body(moved) == data
    assert world.prefix + moved == file.destination
    first = next(record for record in seen if record.where[1] == 2)
    assert first.headers["organization_id"] == ORG
    assert first.headers["dataset_id"] == "ds_1"
    assert first.headers["source"] == "s3"
    assert first.headers["source_ref"] == file.source_ref
    assert first.headers["source_ref"].startswith(f"s3://{world.bucket}/{world.prefix}{NAME}@")
    assert first.headers["received_at"].endswith("Z")
    assert first.key == payment_key(ORG, "crm", "UC1")
    assert first.partition == partition_of(first.key, 4)


def test_nothing_personal_reaches_the_topic(world: World) -> None:
    """Names, phones and notes are pseudonyms in the record; the originals are in the seal only."""
    world.put(sample(3))
    world.run()
    for record in world.seen():
        plain = orjson.dumps(record.value).decode() + "".join(record.headers.values()) + record.key
        assert not any(part in plain for part in ("John", "Jane", "+234"))
        originals = orjson.loads(Sealer(SEAL_SECRET).open(ORG, record.headers["sealed"]))
        assert originals["NOTES"] == "call Jane"
        batch = PaymentValidator().validate([record.value], [PaymentContext("s3")])
        assert batch.valid == [0]


def test_unreadable_rows_are_published_sealed(world: World) -> None:
    """A row that cannot be read is a record too: marked, without its text in the open."""
    world.put(sample(1) + b"Jane Secret,1,2\n" + line(9).encode().replace(b"Naira", b"\xff\xfe") + b"\n")
    world.run()
    (file,) = world.store.files
    assert file.received == 3
    broken = [record for record in world.seen() if "unreadable" in record.headers]
    assert sorted(record.where[1] for record in broken) == [3, 4]
    for record in broken:
        assert record.headers["unreadable"] == Code.UNREADABLE_ROW
        assert record.value == {}
        assert "Jane" not in record.key
    sealed = next(record.headers["sealed"] for record in broken if record.where[1] == 3)
    assert Sealer(SEAL_SECRET).open(ORG, sealed) == b"Jane Secret,1,2\n"


def test_rows_without_id_do_not_meet_in_one_partition(world: World) -> None:
    """Rows that have no identity are spread by their lines."""
    world.put(sample(40).replace(b"UC", b"N/A,").replace(HEADER.encode(), b"ID,X" + HEADER.encode()[2:]))
    world.run()
    assert len({record.partition for record in world.seen()}) > 1


def test_second_day_does_not_destroy_the_first(world: World) -> None:
    """The same name with other content is a new file; both are kept."""
    world.put(sample(2))
    world.run()
    world.put(sample(3))
    world.run()
    assert len(world.keys("Processed/")) == 2
    assert len({file.source_ref for file in world.store.files}) == 2
    assert len(world.seen()) == 5


def test_same_file_dropped_again_is_moved_again(world: World) -> None:
    """The very same bytes again are kept as well; nothing is overwritten."""
    for _ in range(3):
        world.put(sample(2))
        assert world.run()[0] is RunState.DONE
    assert len(world.keys("Processed/")) == 3
    assert world.keys() == world.keys("Processed/")


def test_same_bytes_within_a_second_are_put_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that cannot be told from one already done is moved beside it; its rows are known."""
    monkeypatch.setattr(Bucket, "source_ref", lambda self, found: f"s3://{self.name}/{found.key}@same")
    monkeypatch.setattr(Bucket, "find", lambda self, ref: self.head(ref.split("/", 3)[3].split("@")[0]))
    for _ in range(3):
        world.put(sample(2))
        assert world.run()[0] is RunState.DONE
    assert len(world.keys("Processed/")) == 3
    assert len(world.seen()) == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY_FILE),
        (b"id,TIMESTAMP\nJohn Doe,1\n", Code.BAD_HEADER),
        (b"PK\x03\x04", Code.BAD_ENCODING),
    ],
)
def test_file_level_errors(world: World, data: bytes, code: Code) -> None:
    """A file without a usable header goes to `Error/` with a report that has reasons only."""
    world.put(data)
    assert world.run()[0] is RunState.DONE
    (file,) = world.store.files
    assert (file.state, file.error, file.received) == (FileState.DELETED, code, 0)
    moved, report = sorted(world.keys(), key=len)
    assert moved.startswith("Error/")
    assert report == f"{moved}.errors.csv"
    assert world.body(moved) == data
    assert code.value in world.body(report).decode()
    assert b"John" not in world.body(report)
    assert world.seen() == []


def test_header_only_is_processed(world: World) -> None:
    """A file without rows is done, with 0 rows."""
    world.put(sample(0))
    world.run()
    assert world.store.files[0].received == 0
    assert len(world.keys("Processed/")) == 1


@pytest.mark.parametrize("name", ["electricity_payment.csv", "payments.csv", "ELECTRICITY_PAYMENT (1).CSV"])
def test_other_csv_names_go_to_error(world: World, name: str) -> None:
    """A CSV with another name is not guessed to be payments."""
    world.put(sample(1), name)
    world.run()
    assert len(world.keys("Error/")) == 2
    assert world.keys("Processed/") == []
    assert world.store.files[0].error == Code.WRONG_NAME
    assert world.seen() == []


def test_everything_else_is_left_alone_and_reported_once(world: World) -> None:
    """Other objects, and what lies in sub-folders, stay; the log says so once."""
    for name in ("readme.txt", "sub/ELECTRICITY_PAYMENT.csv", "Processed/old.csv", "photo.png"):
        world.put(b"x", name)
    with structlog.testing.capture_logs() as logs:
        world.run()
        world.run()
    left = [entry["object"] for entry in logs if entry["event"] == "object_left_alone"]
    assert len(set(left)) == len(left) == 2
    assert not any(name in str(logs) for name in ("photo", "readme")), "a sender's key may hold a name"
    assert len(world.keys()) == 4


def test_file_replaced_while_it_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes under the reader starts over as a new version; nothing of it is lost."""
    world.put(sample(2))
    original, changed = Bucket.open, []

    def open_late(bucket: Bucket, found: Any) -> Any:
        if not changed:
            changed.append(1)
            world.put(sample(3, first=100))
        return original(bucket, found)

    monkeypatch.setattr(Bucket, "open", open_late)
    assert world.run()[0] is RunState.DONE
    assert [file.state for file in world.store.files] == [FileState.REPLACED, FileState.DELETED]
    assert len(world.keys("Processed/")) == 1
    assert {record.value["ID"] for record in world.seen()} == {"UC100", "UC101", "UC102"}


def test_file_replaced_after_it_was_published(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new object is never deleted for an old one's sake: it is the next file."""
    world.put(sample(2))
    original, changed = Bucket.delete, []

    def delete_late(bucket: Bucket, found: Any) -> None:
        if not changed:
            changed.append(1)
            world.put(sample(3, first=100))
        original(bucket, found)

    monkeypatch.setattr(Bucket, "delete", delete_late)
    world.run()
    world.run()
    assert len(world.keys("Processed/")) == 2
    assert len(world.seen()) == 5
    assert all(key.startswith("Processed/") for key in world.keys())  # noqa: SIM118


def test_destination_that_is_taken_is_not_overwritten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If somebody else's object has the name, another one is taken."""
    monkeypatch.setattr(
        "producers.s3_moves.destination",
        lambda prefix, file, found, folder, again=1: f"{prefix}{folder}taken{again}.csv",
    )
    world.put(b"somebody else's", "Processed/taken1.csv")
    world.put(sample(1))
    world.run()
    assert world.body("Processed/taken1.csv") == b"somebody else's"
    assert world.body("Processed/taken2.csv") == sample(1)


def test_thousands_of_objects_are_paged_through(world: World) -> None:
    """More objects than the store lists at once: each is reported once, and the file behind them is found."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: world.put(b"x", f"A{number:04}.txt"), range(1001)))
    world.put(sample(1))
    with structlog.testing.capture_logs() as logs:
        state, detail = world.run()
        assert (state, detail) == (
            RunState.DONE,
            "objects left alone that were not seen before, because they are no .csv: 1001",
        )
        world.put(b"x", "B.txt")
        assert world.run()[1] == "objects left alone that were not seen before, because they are no .csv: 1"
        assert world.run()[1] is None
    reported = [entry["object"] for entry in logs if entry["event"] == "object_left_alone"]
    assert len(reported) == len(set(reported)) == 1002
    assert len(world.keys("Processed/")) == 1


@pytest.mark.parametrize(
    "change", [{"secret_key": "wrong"}, {"bucket": "no-such-bucket"}, {"access_key": "nobody"}]
)
def test_bucket_that_refuses_fails_the_run(world: World, change: dict[str, str]) -> None:
    """A wrong key or bucket ends the run with a reason that holds no secret; the poller goes on."""
    world.datasets.datasets = [replace(world.dataset, location=replace(world.location, **change))]
    state, detail = world.run()
    assert state is RunState.FAILED
    assert detail is not None
    assert world.location.secret_key not in detail
    assert world.location.access_key not in detail


def test_a_key_with_the_least_rights(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that may list under its prefix only is answered 403 for what is not there; the file is moved."""
    original = Bucket._call

    def call(bucket: Bucket, request: Any) -> Any:
        try:
            return original(bucket, request)
        except SourceChanged as error:
            if "404" in str(error):
                raise SourceForbidden("the store refuses: 403") from None
            raise

    monkeypatch.setattr(Bucket, "_call", call)
    world.put(sample(2))
    assert world.run() == (RunState.DONE, None)
    assert len(world.keys("Processed/")) == 1
    monkeypatch.setattr(Bucket, "_is_listed", lambda *_: True)
    bucket = Bucket(world.location, LOCAL)
    with pytest.raises(SourceForbidden):
        bucket.head(world.prefix + "there, and not ours")
    bucket.close()


def test_bucket_that_does_not_answer_fails_the_run_after_some_tries(world: World) -> None:
    """An endpoint that is not there is tried again, then told."""
    gone = replace(world.location, endpoint_url="http://127.0.0.1:9")
    world.datasets.datasets = [replace(world.dataset, location=gone)]
    state, detail = world.run(first_pause_s=0.01)
    assert state is RunState.FAILED
    assert detail is not None


def test_dataset_that_is_not_active(world: World) -> None:
    """A run of a paused dataset ends with that reason."""
    world.datasets.datasets = []
    assert world.run() == (RunState.FAILED, "the dataset is not active")


def test_dataset_with_an_unknown_profile(world: World) -> None:
    """A dataset that cannot be served says why."""
    world.datasets.datasets = [replace(world.dataset, profile="x")]
    state, detail = world.run()
    assert state is RunState.FAILED
    assert str(detail).startswith("there is no profile 'x' (failure 1 in a row; tried again at ")


def test_unexpected_error_stops_one_run_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody thought of fails its run, without its text, and is logged with its place."""

    def broken(*_: Any) -> None:
        raise RuntimeError("John Doe")

    monkeypatch.setattr(s3_intake, "Table", broken)
    world.put(sample(1))
    with structlog.testing.capture_logs() as logs:
        state, detail = world.run()
    assert state is RunState.FAILED
    assert str(detail).startswith("unexpected RuntimeError (")
    assert "John" not in str(logs)
    monkeypatch.undo()
    assert world.run()[0] is RunState.DONE


def test_connection_that_breaks_while_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on where the connection broke, and the bytes are the same."""
    data = sample(5000)
    world.put(data)
    bucket = Bucket(world.location, LOCAL)
    found = bucket.head(world.prefix + NAME)
    assert found is not None
    reader = bucket.open(found)
    parts = [reader.read(1000)]
    breaks = 0
    while part := reader.read(100_000):
        parts.append(part)
        if breaks < 3:
            breaks += 1
            monkeypatch.setattr(reader._body, "read", lambda size: (_ for _ in ()).throw(ConnectionError()))
    assert b"".join(parts) == data
    assert breaks == 3
    reader.close()
    bucket.close()


def test_broker_away_is_waited_for(world: World, stack: Stack) -> None:
    """With the broker away the poller waits, and goes on by itself."""
    world.put(sample(50))
    run_id = world.store.request("ds_1")
    poller = world.poller(publisher=world.publisher(delivery_timeout_s=1.0))
    stack.pause("kafka")
    thread = in_thread(poller)
    try:
        wait_for(lambda: world.store.files)
    finally:
        stack.resume("kafka")
    wait_for(lambda: world.store.run_state(run_id)[0] is RunState.DONE)
    poller.stop()
    thread.join(10)
    assert {record.where[1] for record in world.seen()} == set(range(2, 52))
    assert len(world.keys("Processed/")) == 1


def test_store_away_is_waited_for(world: World) -> None:
    """A store that does not answer for a while delays the run only."""
    world.put(sample(1))
    run_id = world.store.request("ds_1")
    world.store.away = 3
    poller = world.poller(first_pause_s=0.01)
    thread = in_thread(poller)
    wait_for(lambda: world.store.run_state(run_id)[0] is RunState.DONE)
    poller.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_scheduled_runs(world: World) -> None:
    """A dataset runs by its schedule without being asked; one with a bad schedule does not stop others."""
    world.put(sample(1))
    world.datasets.datasets = [
        replace(world.dataset, id="ds_0", schedule="whenever"),
        replace(world.dataset, schedule="0.2"),
    ]
    poller = world.poller()
    thread = in_thread(poller)
    wait_for(lambda: world.keys("Processed/"))
    world.put(sample(2))
    wait_for(lambda: len(world.keys("Processed/")) == 2)
    poller.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_stop_in_the_middle_of_a_file(world: World) -> None:
    """Told to stop while publishing, the poller ends soon; the next one publishes the file again."""
    world.put(sample(3000))
    run_id = world.store.request("ds_1")
    fate = Fate()
    poller = world.poller(fate)
    fate.at, fate.how = 14, poller.stop
    fate.tick = lambda name: fate.steps.append(name) or (len(fate.steps) == 14 and poller.stop())  # type: ignore[method-assign, func-returns-value]
    poller.run()
    assert [file.state for file in world.store.files] == [FileState.CLAIMED]
    assert world.store.run_state(run_id)[0] is RunState.REQUESTED, "given back"
    again = world.poller()
    thread = in_thread(again)
    wait_for(lambda: world.store.run_state(run_id)[0] is RunState.DONE)
    again.stop()
    thread.join(10)
    assert {record.where[1] for record in world.seen()} == set(range(2, 3002))
