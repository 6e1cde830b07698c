"""Brakes by themselves: whose rows fail, who is told, and what stops a topic."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.alerts import DatasetFailing
from schemas.outcomes import Outcome
from streams import brakes
from streams.brake_windows import WINDOW_ROWS
from streams.brakes import MIN_ORGANIZATION_ROWS, Brake
from streams.config import BrakeLimits
from streams.registry import Registry
from streams.rows import Row
from streams.store import Abandoned
from streams.turn import Verdict
from tests.streams.made import record
from tests.streams.world import register

RECORD = record(0, b"", [])


class Held(Exception):
    """The lease was asked for while the topic is held back."""


class Lease:
    """A lease that tells that somebody waits, by an exception after so many renewals."""

    def __init__(self, patience: int = 0, watch: Brake | None = None) -> None:
        self.patience = patience
        self.giving_up = False
        self.watch = watch
        self.stopped = False

    def renew(self) -> None:
        """Count down."""
        self.patience -= 1
        self.stopped = self.watch is not None and self.watch.stopped
        if self.patience < 0:
            raise Held


def registry(organizations: int = 5) -> Registry:
    """Organisations org_0, org_1, … and the dataset `ds` of org_0."""
    made = Registry()
    for number in range(organizations):
        register(made, "organizations", {"id": f"org_{number}", "name": "N"})
    register(made, "datasets", {"id": "ds", "organization_id": "org_0"})
    return made


def verdicts(
    pattern: str,
    organization: str = "org_0",
    dataset: str = "ds",
    replay: int | None = None,
    version: int = 1,
) -> list[Verdict]:
    """One verdict a letter: `.` accepted, `x` quarantined."""
    return [
        Verdict(
            Row(
                RECORD,
                0,
                False,
                organization,
                dataset,
                "s3",
                "f",
                0,
                0,
                replay,
                None,
                version if dataset else 0,
            ),
            Outcome.QUARANTINED if letter == "x" else Outcome.ACCEPTED,
            "",
            reasons=["bad_decimal:PAYMENT_AMOUNT"] if letter == "x" else (),
        )
        for letter in pattern
    ]


def brake(known: Registry | None = None, **limits: Any) -> Brake:
    """A brake of the payments topic."""
    return Brake("payments", BrakeLimits(**limits), known or registry())


def settle(watch: Brake, turn: list[Verdict], lease: Lease | None = None) -> list[DatasetFailing]:
    """Look at a turn and store it; what is told then."""
    watch.settled(watch.look(turn, lease or Lease()))
    told, watch.untold = watch.untold, []
    return told


def test_a_dataset_whose_share_passes_the_limit_is_told_once() -> None:
    """From 200 rows on, when more than half of the latest are refused; again after it was good."""
    watch = brake()
    assert settle(watch, verdicts("x" * 199)) == []
    (alert,) = settle(watch, verdicts("x"))
    assert (alert.organization_id, alert.dataset_id, alert.dataset_version) == ("org_0", "ds", 1)
    assert (alert.rows, alert.bad, alert.run) == (200, 200, 200)
    assert alert.reasons == ["bad_decimal:PAYMENT_AMOUNT"]
    assert "200 of the latest 200" in alert.summary
    assert settle(watch, verdicts("x" * 100)) == []
    assert settle(watch, verdicts("." * 2 * WINDOW_ROWS)) == []
    assert len(settle(watch, verdicts("x" * 2 * WINDOW_ROWS))) == 1


def test_a_small_file_a_day_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file all bad, a day apart, others' rows between them: the run goes on over the files."""
    watch = brake()
    told = []
    for day in range(4):
        monkeypatch.setattr(brakes, "time", SimpleNamespace(monotonic=lambda day=day: day * 86_400.0))
        told += settle(watch, verdicts("x" * 150))
        told += settle(watch, verdicts(".", organization="org_1", dataset=""))
    assert [alert.run for alert in told] == [200]


@pytest.mark.parametrize(("pattern", "told"), [(".x" * 300, 0), ("xx." * 300, 1), ("." * 5000, 0)])
def test_half_refused_is_not_yet_too_many(pattern: str, told: int) -> None:
    """The limit is a share that is passed, not reached."""
    assert len(settle(brake(), verdicts(pattern))) == told


@pytest.mark.parametrize("turns", [1, 2, 50])
def test_a_run_of_refused_rows_is_told_wherever_it_lies(turns: int) -> None:
    """500 in a row among thousands of good ones, in one turn or over many."""
    rows = "." * 4000 + "x" * 500 + "." * 4000
    size = len(rows) // turns
    watch, found = brake(share=0.9), []
    for at in range(0, len(rows), size):
        found += settle(watch, verdicts(rows[at : at + size]))
    assert [alert.run for alert in found] == [500]
    assert settle(brake(share=0.9), verdicts("." * 4000 + "x" * 499 + "." * 4000)) == []


def test_a_bad_share_is_told_wherever_it_lies() -> None:
    """What many good rows of the same turn follow is as bad as in a turn of its own."""
    (alert,) = settle(brake(), verdicts("." * 9000 + "xx." * 2000 + "." * 50_000))
    assert (alert.rows, alert.bad) == (WINDOW_ROWS, WINDOW_ROWS // 2 + 1)


def test_rows_are_counted_in_the_order_in_which_they_were_received() -> None:
    """A turn is judged bad rows first: a few of many are no run, over partitions either."""
    turn = verdicts("x" * 600 + "." * 59_400)
    for number, verdict in enumerate(turn):
        received = number * 100 if number < 600 else number
        verdict.row.position, verdict.row.received_ms = (received % 3 << 40) + received, received
    assert settle(brake(), turn) == []


def test_a_turn_that_is_dropped_and_fetched_again_counts_once() -> None:
    """Nothing is counted or told before it is stored, for datasets as for the topic."""
    watch = brake()
    for _ in range(3):
        watch.look(verdicts("x" * 150), Lease())
    assert settle(watch, verdicts("x" * 150)) == []
    for _ in range(2):
        for number in (1, 2, 3):
            watch.look(verdicts("x" * (MIN_ORGANIZATION_ROWS - 1), f"org_{number}", ""), Lease())
    look = watch.look(verdicts("x" * 50), Lease())
    assert (len(look.alerts), watch.untold, watch.stopped) == (1, [], False)
    assert len(settle(watch, verdicts("x" * 50))) == 1


def test_old_rows_do_not_outweigh_new_ones() -> None:
    """A dataset that was good for a long time fails all the same when it breaks."""
    watch = brake(run=10**9)
    for _ in range(50):
        assert settle(watch, verdicts("." * WINDOW_ROWS)) == []
    told = [bool(settle(watch, verdicts("x" * 100))) for _ in range(2 * WINDOW_ROWS // 100)]
    assert sum(told) == 1


def test_replays_do_not_count() -> None:
    """Correcting what is in quarantine must not pause the dataset again."""
    assert settle(brake(), verdicts("x" * 1000, replay=7)) == []


def test_a_resumed_dataset_begins_anew() -> None:
    """Resuming makes a new version; what failed before it is nobody's any more."""
    known = registry()
    watch = brake(known)
    assert len(settle(watch, verdicts("x" * 1000))) == 1
    register(known, "datasets", {"id": "ds", "organization_id": "org_0", "version": 2})
    assert settle(watch, verdicts("x" * 1000)) == []  # prepared before the resumption was known
    assert settle(watch, verdicts("x" * 100, version=2)) == []
    (alert,) = settle(watch, verdicts("x" * 100, version=2))
    assert (alert.dataset_version, alert.rows) == (2, 200)


def test_invented_names_are_not_remembered() -> None:
    """Rows of datasets and organisations that do not exist are their organisation's own, or nobody's."""
    watch = brake()
    for number in range(1000):
        settle(watch, verdicts("x", "org_0", f"invented_{number}", version=0))
        settle(watch, verdicts("x", f"org_invented_{number}", "ds", version=0))
    assert len(watch._sources) == 1
    (alert,) = settle(watch, verdicts("x" * 200, "org_0", "invented", version=0))[-1:] or [None]
    assert alert is None  # it was told when the first 200 had failed


def test_one_sender_never_stops_the_others() -> None:
    """One organisation fails, however much it sends, under however many invented names."""
    watch = brake()
    assert len(settle(watch, verdicts("x" * 50_000))) == 1
    for number in range(50):
        settle(watch, verdicts("x" * 100, organization=f"org_invented_{number}", dataset=""))
    for number in (1, 2):
        settle(watch, verdicts("." * 100, organization=f"org_{number}", dataset=""))
    assert not watch.stopped


def failing(count: int, good: int) -> list[Verdict]:
    """Rows of organisations that fail, and of some that do not."""
    rows = [verdicts("x" * MIN_ORGANIZATION_ROWS, f"org_{n}", "") for n in range(count)]
    rows += [verdicts("." * MIN_ORGANIZATION_ROWS, f"org_{n}", "") for n in range(count, count + good)]
    return [verdict for one in rows for verdict in one]


@pytest.mark.parametrize(("bad", "good", "stops"), [(3, 2, True), (3, 3, False), (2, 0, False), (5, 0, True)])
def test_a_topic_stops_when_most_organisations_fail(bad: int, good: int, stops: bool) -> None:
    """More than half of those that send, and at least three; the turn is held before it is written."""
    watch, told = brake(registry(6)), []
    lease = Lease(patience=2, watch=watch)
    if stops:
        with pytest.raises(Held):
            watch.look(failing(bad, good), lease, lambda: told.append("stopping"))
    else:
        watch.look(failing(bad, good), lease, lambda: told.append("stopping"))
    assert lease.stopped is stops
    assert told == ["stopping"] * stops
    assert not watch.stopped  # the rows went elsewhere, and with them what is wrong


def test_small_senders_are_senders() -> None:
    """After a restart few good rows are all that is known of most: three that fail do not stop them."""
    watch = brake(registry(10))
    lease = Lease(patience=2, watch=watch)
    for number in range(3, 10):
        settle(watch, verdicts("." * (MIN_ORGANIZATION_ROWS - 1), f"org_{number}", ""), lease)
    settle(watch, failing(3, 0), lease)
    assert not lease.stopped


def test_an_operator_can_switch_it_off() -> None:
    """When all senders really are wrong, their rows belong into quarantine."""
    watch = brake(stop_topic=False)
    settle(watch, failing(5, 0))
    assert not watch.stopped


def test_a_held_turn_is_given_up_with_its_partitions() -> None:
    """A rebalance does not wait for a turn that cannot end."""
    lease = Lease(patience=10**9)
    threading.Timer(0.2, lambda: setattr(lease, "giving_up", True)).start()
    with pytest.raises(Abandoned):
        brake().look(failing(5, 0), lease)


def test_a_held_turn_ends_with_the_process() -> None:
    """SIGTERM: the turn is given up unwritten."""
    watch = brake()
    threading.Timer(0.2, watch.end).start()
    with pytest.raises(Abandoned):
        watch.look(failing(5, 0), Lease(patience=10**9))
