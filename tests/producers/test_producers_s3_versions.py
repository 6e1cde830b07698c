"""Buckets with versions, and single objects that cannot be dealt with."""

from collections.abc import Iterator

import pytest
import structlog
from s3_double import VersionedStore, versioned_store
from s3_world import HEADER, NAME, Death, Fate, FatedBuckets, World, line, sample

from producers.contracts import FileState, RunState
from producers.s3 import MAX_COPY_BYTES, Bucket, S3Object
from producers.s3_moves import REPORT
from schemas.outcomes import Code


@pytest.fixture
def versions() -> Iterator[VersionedStore]:
    """A bucket with versions, with nothing in it."""
    with versioned_store() as store:
        yield store


@pytest.fixture
def dated(versions: VersionedStore, endpoints: object, kafka_prefix: str) -> Iterator[World]:
    """A dataset in that bucket."""
    made = World(versions, endpoints.kafka, kafka_prefix, "b")  # type: ignore[attr-defined]
    yield made
    made.close()


def status(text: str) -> bytes:
    """A file of one payment with that status."""
    return f"{HEADER},STATUS\n{line(1)},{text}\n".encode()


def test_what_was_written_over_before_it_was_taken_never_comes_back(
    versions: VersionedStore, dated: World
) -> None:
    """The newest version is published; older ones are kept under `Processed/`, and no run reads them."""
    key = dated.prefix + NAME
    for text in ("pending", "open", "error"):
        versions.put(key, status(text))
    versions.put(key, status("processed"))
    versions.put(key + ".bak", b"another key that begins alike")
    for _ in range(3):
        assert dated.run()[0] is RunState.DONE
    assert [seen.value["STATUS"] for seen in dated.seen()] == ["processed"]
    assert versions.ids(key) == []
    states = sorted(file.state for file in dated.store.files)
    assert states == [FileState.DELETED, *[FileState.REPLACED] * 3]
    old = versions.keys(f"{dated.prefix}Processed/replaced_")
    found = {found.body for each in old if (found := versions.current(each))}
    assert found == {status(text) for text in ("pending", "open", "error")}
    assert len(versions.keys(f"{dated.prefix}Processed/")) == 4


def test_a_version_written_while_the_taken_one_is_moved_is_the_next_file(
    versions: VersionedStore, dated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is older than the taken version ends with it."""
    key = dated.prefix + NAME
    versions.put(key, status("pending"))
    versions.put(key, status("open"))
    original = Bucket.delete
    written: list[str] = []

    def delete_late(bucket: Bucket, found: S3Object) -> None:
        if not written:
            written.append(versions.put(key, status("processed")))
        original(bucket, found)

    monkeypatch.setattr(Bucket, "delete", delete_late)
    for _ in range(2):
        assert dated.run()[0] is RunState.DONE
    assert sorted(seen.value["STATUS"] for seen in dated.seen()) == ["open", "processed"]
    assert versions.ids(key) == []


def test_what_the_sender_deleted_stays_where_it_is(versions: VersionedStore, dated: World) -> None:
    """A delete marker hides what lies below it: it is neither read nor copied."""
    key = dated.prefix + NAME
    hidden = versions.put(key, status("pending"))
    old = versions._versions[key]
    old[0] = type(old[0])(hidden, old[0].body, at=old[0].at.replace(year=2025))
    marker = versions.put(key, None)
    versions.put(key, status("processed"))
    for _ in range(2):
        assert dated.run()[0] is RunState.DONE
    assert versions.ids(key) == [hidden, marker]
    assert [seen.value["STATUS"] for seen in dated.seen()] == ["processed"]


def test_death_while_versions_are_ended_brings_none_back(
    versions: VersionedStore, dated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the poller dies after it published, the next ones keep the older versions and read none."""
    whole = Fate()
    first = run_until_death(versions, dated, whole, monkeypatch)
    begin = whole.steps.index("after copy")
    ends = [at + 1 for at, step in enumerate(whole.steps) if at >= begin and step.startswith("before ")]
    assert len(ends) > 12
    prefixes = [first, *(run_until_death(versions, dated, Fate(at), monkeypatch) for at in ends)]
    for prefix in prefixes:
        assert versions.ids(prefix + NAME) == []
        assert len(versions.keys(prefix)) == 3
        assert len(versions.keys(f"{prefix}Processed/replaced_")) == 2


def run_until_death(
    versions: VersionedStore, world: World, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A file written over twice, a poller that dies, and what its successors publish; its prefix."""
    world.begin(f"s{len(fate.steps)}-{fate.at}/")
    for text in ("pending", "open", "processed"):
        versions.put(world.prefix + NAME, status(text))
    with monkeypatch.context() as patch:
        FatedBuckets(patch, fate)
        try:
            world.run(fate)
        except Death:
            world.store.expire()
    world.poller().poll()
    assert world.run()[0] is RunState.DONE
    assert {seen.value["STATUS"] for seen in world.seen()} == {"processed"}, fate.steps
    return world.prefix


def test_an_object_that_the_store_refuses_holds_up_no_other(versions: VersionedStore, dated: World) -> None:
    """It is told in every run without its key, and the others are dealt with."""
    secret = dated.prefix + "Jane Doe.csv"
    versions.put(secret, b"x")
    versions.refuses["COPY", secret] = "InvalidObjectState"
    for day in range(2):
        versions.put(dated.prefix + NAME, sample(1, first=day))
        with structlog.testing.capture_logs() as logs:
            state, detail = dated.run()
        assert state is RunState.FAILED
        assert "objects that could not be dealt with: 1 (object " in str(detail)
        assert "the store refuses: InvalidObjectState" in str(detail)
        assert "Jane" not in str(detail) + str(logs)
    assert len(versions.keys(f"{dated.prefix}Processed/")) == 2
    versions.refuses.clear()
    assert dated.run()[0] is RunState.DONE
    assert all("/Processed/" in key or "/Error/" in key for key in versions.keys(dated.prefix))


def test_a_file_too_large_to_be_moved_is_refused_before_it_is_read(
    versions: VersionedStore, dated: World
) -> None:
    """No row is published; it stays, with a report, and the file written over it is taken as ever."""
    key = dated.prefix + NAME
    versions.put(key, sample(1), size=MAX_COPY_BYTES + 1)
    versions.refuses["GET", key] = versions.refuses["COPY", key] = "InvalidRequest"
    for _ in range(2):
        assert dated.run()[0] is RunState.DONE
    (file,) = dated.store.files
    assert (file.state, file.error, file.received) == (FileState.DONE, Code.TOO_LARGE, 0)
    assert str(MAX_COPY_BYTES + 1) in str(file.detail)
    (report,) = versions.keys(f"{dated.prefix}Error/")
    assert report == f"{file.destination}.errors.csv"
    versions.refuses.clear()
    versions.put(key, sample(2, first=5))
    for _ in range(2):
        assert dated.run()[0] is RunState.DONE
    assert {seen.value["ID"] for seen in dated.seen()} == {"UC5", "UC6"}


def test_a_long_name_is_shortened(versions: VersionedStore, dated: World) -> None:
    """The longest key a store takes is moved, with its report: a hash and the end of its name are kept."""
    names = ["\N{LATIN SMALL LETTER E WITH ACUTE}" * 500 + f"{at}.csv" for at in range(2)]
    for name in names:
        versions.put(dated.prefix + name, b"x")
    assert dated.run() == (RunState.DONE, None)
    moved = versions.keys(f"{dated.prefix}Error/")
    assert len(moved) == 4
    assert all(len(key.encode()) <= 1024 for key in moved)
    assert sum(key.endswith(("0.csv", "1.csv")) for key in moved) == 2
    assert sum(key.endswith(REPORT) for key in moved) == 2
