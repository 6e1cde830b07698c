"""What a store answers is told in words that say whose matter it is, and without anything of its text."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from memory_store import Datasets, MemoryRunStore
from s3_double import refusing_store
from s3_world import LOCAL, SEAL_SECRET, SECRET

from producers.contracts import Dataset, RunState, S3Location
from producers.errors import SourceChanged, SourceError, SourceForbidden, SourceUnavailable
from producers.poller import SOURCE_ATTEMPTS, Poller
from producers.publisher import Publisher
from producers.rows import RowRecords
from producers.s3 import Bucket
from producers.s3_errors import translated
from schemas.personal import Pseudonymizer, Sealer

PLACE = S3Location("bucket", "in/", "http://127.0.0.1:1", "AKIASECRET", "s3cr3t")


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("SlowDown", 503, SourceUnavailable, "slow down: SlowDown"),
        ("503", 503, SourceUnavailable, "slow down"),
        ("429", 429, SourceUnavailable, "slow down"),
        ("TooManyRequests", 429, SourceUnavailable, "slow down"),
        ("RequestLimitExceeded", 503, SourceUnavailable, "slow down"),
        ("ThrottlingException", 400, SourceUnavailable, "slow down"),
        ("InternalError", 500, SourceUnavailable, "answers InternalError"),
        ("500", 500, SourceUnavailable, "answers 500"),
        ("RequestTimeout", 400, SourceUnavailable, "answers RequestTimeout"),
        ("ConditionalRequestConflict", 409, SourceUnavailable, "Conflict"),
        ("", 502, SourceUnavailable, "answers 502"),
        ("RequestTimeTooSkewed", 403, SourceForbidden, "set the clock"),
        ("ExpiredToken", 400, SourceForbidden, "credentials have expired"),
        ("TokenRefreshRequired", 400, SourceForbidden, "credentials have expired"),
        ("400", 400, SourceForbidden, "wrong region"),
        ("403", 403, SourceForbidden, "refuses: 403"),
        ("AccessDenied", 403, SourceForbidden, "refuses: AccessDenied"),
        ("SignatureDoesNotMatch", 403, SourceForbidden, "refuses"),
        ("NoSuchBucket", 404, SourceForbidden, "refuses: NoSuchBucket"),
        ("InvalidBucketName", 400, SourceForbidden, "refuses"),
        ("PermanentRedirect", 301, SourceForbidden, "PermanentRedirect"),
        ("NoSuchKey", 404, SourceChanged, "replaced or removed"),
        ("412", 412, SourceChanged, "replaced or removed"),
    ],
)
def test_answers_are_told_apart(code: str, status: int, kind: type[SourceError], says: str) -> None:
    """What waiting cures, what an operator must do, and what concerns one object."""
    error = translated(code, status)
    assert type(error) is kind
    assert says in str(error)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's own pauses between its tries are seconds."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))


def served(url: str) -> tuple[RunState, str | None]:
    """How a run of a dataset in that store ends."""
    store = MemoryRunStore()
    dataset = Dataset("ds_1", "org_1", "s3", "365000000", replace(PLACE, endpoint_url=url))
    rows = RowRecords("payments", Pseudonymizer(SECRET), Sealer(SEAL_SECRET))
    run_id = store.request("ds_1")
    poller = Poller(
        Datasets(dataset), store, Publisher("127.0.0.1:9"), rows, lambda: 0, hosts=LOCAL, first_pause_s=0.01
    )
    assert poller._served_one()
    return store.run_state(run_id)


def test_a_store_that_asks_to_slow_down_is_given_time() -> None:
    """After some refusals the run goes on by itself and ends well."""
    with refusing_store("SlowDown", 503, times=5) as (url, seen):
        assert served(url) == (RunState.DONE, "nothing was found under the prefix")
    assert len(seen) == 6


def test_a_store_that_always_asks_to_slow_down_ends_the_run() -> None:
    """It is not asked for ever: the run fails with that reason, and it is told when it is tried again."""
    with refusing_store("SlowDown", 503) as (url, seen):
        state, detail = served(url)
    assert state is RunState.FAILED
    assert "the store asks to slow down: SlowDown (failure 1 in a row; tried again at " in str(detail)
    assert SOURCE_ATTEMPTS <= len(seen) <= 4 * SOURCE_ATTEMPTS


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("RequestTimeTooSkewed", 403, "clock"),
        ("ExpiredToken", 400, "expired"),
        ("AccessDenied", 403, "AccessDenied"),
    ],
)
def test_what_waiting_does_not_cure_is_not_repeated(code: str, status: int, says: str) -> None:
    """One request, one clear reason; the store's own text, which may hold keys and names, is not in it."""
    with refusing_store(code, status) as (url, seen):
        state, detail = served(url)
        assert len(seen) == 1
        bucket = Bucket(replace(PLACE, endpoint_url=url), LOCAL)
        with pytest.raises(SourceForbidden):
            bucket.head("in/x.csv")
        bucket.close()
    assert state is RunState.FAILED
    assert says in str(detail)
    assert not any(word in str(detail) for word in ("AKIA", "Jane", "s3cr3t"))
