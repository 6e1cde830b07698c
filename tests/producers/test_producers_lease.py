"""A lease is renewed beside its run, and nothing happens under one that may be lost."""

import threading
import time

import pytest

from producers.backoff import Backoff, Stopped
from producers.contracts import LeaseLost, StoreUnavailable
from producers.lease import Lease


class Holding:
    """What the store says of one dataset, and how often it was asked."""

    def __init__(self) -> None:
        self.ours, self.away, self.asked = True, 0, 0

    def renew(self) -> bool:
        self.asked += 1
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        return self.ours


def lease_of(holding: Holding, lasts_s: float, stop: threading.Event | None = None) -> Lease:
    """A lease taken just now."""
    backoff = Backoff(stop or threading.Event(), 0.01)
    return Lease(
        "ds_1",
        holding.renew,
        lambda call: backoff.until_done(call, (StoreUnavailable,)),
        lasts_s,
        time.monotonic(),
    )


def until(condition: object) -> None:
    """Wait for a condition, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_fresh_lease_asks_nobody() -> None:
    """Steps of a run cost no call of the store while the lease is known to last."""
    holding = Holding()
    lease = lease_of(holding, 60)
    for _ in range(1000):
        lease.check()
    assert holding.asked == 0


def test_it_is_renewed_beside_the_run() -> None:
    """A run that is busy elsewhere for longer than the lease lasts keeps it."""
    holding = Holding()
    with lease_of(holding, 0.2):
        until(lambda: holding.asked >= 8)
    asked = holding.asked
    time.sleep(0.1)
    assert holding.asked == asked, "no renewal after the run"


def test_a_lost_lease_stays_lost() -> None:
    """Every further step is refused, and the store is not asked to take the dataset back."""
    holding = Holding()
    with lease_of(holding, 0.2) as lease:
        holding.ours = False
        until(lambda: lost(lease))
        holding.ours, asked = True, holding.asked
        assert lost(lease)
        assert holding.asked == asked


def lost(lease: Lease) -> bool:
    """Whether a step is refused."""
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def test_a_process_that_was_stopped_asks_before_it_goes_on() -> None:
    """Nothing was renewed for longer than the lease lasts: the next step waits for the store's answer."""
    holding = Holding()
    lease = lease_of(holding, 0.01)
    time.sleep(0.02)
    lease.check()
    assert holding.asked == 1
    time.sleep(0.02)
    holding.ours = False
    with pytest.raises(LeaseLost):
        lease.check()


def test_a_store_that_is_away_is_waited_for() -> None:
    """Without an answer it is not known whose the dataset is: the step waits, and the renewals go on."""
    holding = Holding()
    holding.away = 3
    lease = lease_of(holding, 0.01)
    time.sleep(0.02)
    lease.check()
    assert holding.asked == 4
    holding.away = 3
    with lease_of(holding, 0.2):
        until(lambda: holding.asked >= 9)


def test_waiting_for_the_store_ends_with_the_process() -> None:
    """An order to stop is not missed while the store is away."""
    holding, stop = Holding(), threading.Event()
    holding.away = 10**9
    lease = lease_of(holding, 0.01, stop)
    time.sleep(0.02)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        lease.check()


def test_every_check_of_the_work_asks_the_guard() -> None:
    """While a run is guarded, a repeated call is not made again once the lease is lost."""
    backoff, calls = Backoff(threading.Event(), 0.001), []

    def call() -> None:
        calls.append(1)
        raise StoreUnavailable("away")

    def guard() -> None:
        if len(calls) == 3:
            raise LeaseLost("ds_1")

    with backoff.guarded(guard), pytest.raises(LeaseLost):
        backoff.until_done(call, (StoreUnavailable,))
    assert len(calls) == 3
    backoff.check()
