"""One run of the harness: a seed, an installation, strikes while everything is sent, and the books."""

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.faults.feed import DEVICES, Feed
from tests.faults.harness.checks import check
from tests.faults.harness.devices import DEVICES as FIELD_DEVICES
from tests.faults.harness.devices import Devices
from tests.faults.harness.files import CONNECTED, Files
from tests.faults.harness.plant import Plant
from tests.faults.harness.strikes import Strikes
from tests.support.workers import wait_until

DRAINED_S = 300.0


class Report(NamedTuple):
    """What a run saw."""

    seed: int
    strikes: list[str]
    received: dict[str, int]
    seconds: float


def run(seed: int, folder: Path, strikes: int | None = None, a_second: int = 600) -> Report:
    """Strike an installation `strikes` times (None: every strike once) and check its books.

    Raises:
        AssertionError: something was lost, doubled, judged wrongly, or did not come back.
    """
    began, dice = time.monotonic(), random.Random(seed)
    plant = Plant(folder)
    with ExitStack() as ended:
        ended.callback(plant.close)
        organization = _registered(plant)
        devices, files = Devices(plant, seed), Files(plant, seed)
        ended.callback(devices.abandon)
        ended.callback(files.abandon)
        _await_registry(plant)
        with Feed(plant.endpoints.kafka, "", organization, seed, a_second) as feed:
            devices.start()
            files.start()
            done = _strike(plant, dice, strikes, (feed, devices, files))
            feed.finish()
        files.finish()
        devices.finish()
        _drain(plant)
        received = check(plant, feed, organization, devices, files, dice)
    return Report(seed, done, received, time.monotonic() - began)


def _registered(plant: Plant) -> str:
    """An organisation with the devices whose reads the feed publishes straight to the topic."""
    organization = plant.api.post("/v1/organizations", name="Topic Ltd")["id"]
    project = plant.api.post("/v1/projects", organization_id=organization, name="P", country="NG")
    for name in DEVICES:
        plant.api.post(
            "/v1/devices", project_id=project["id"], external_id=name, manufacturer="HOP", serial_number=name
        )
    return str(organization)


def _await_registry(plant: Plant) -> None:
    """Rows of what the workers do not know yet would be refused first, and replay themselves later."""
    everything = {"devices": len(DEVICES) + FIELD_DEVICES, "datasets": 1, "organizations": 3}
    everything["connections"] = CONNECTED
    for view, count in everything.items():
        known = f"SELECT count() FROM {view}"
        wait_until(lambda sql=known, n=count: int(plant.books.value(sql)) == n, DRAINED_S, f"the {view}")  # type: ignore[misc]


class Sender(Protocol):
    """Sends from a thread of its own."""

    def check(self) -> None:
        """Raises AssertionError when it does not send any more."""


def _strike(plant: Plant, dice: random.Random, count: int | None, senders: Sequence[Sender]) -> list[str]:
    """Strike one after the other, each after a moment of work; what died by itself is started again."""
    todo = Strikes(plant, dice).all()
    dice.shuffle(todo)
    done = []
    for strike in todo if count is None else todo[:count]:
        time.sleep(dice.uniform(0.2, 1.8))
        done.append(strike.__name__)
        print(f"  {strike.__name__}", flush=True)
        strike()
        plant.revive()
        for sender in senders:
            sender.check()
    time.sleep(2.0)
    return done


def _drain(plant: Plant) -> None:
    """Return when everything in the topics is committed, and every process is ready.

    The verifier is among them: at the end it has nothing to report.
    """

    def drained() -> bool:
        plant.revive()
        return not plant.books.behind(("payments", "reads"))

    wait_until(drained, DRAINED_S, "the end of every partition")
    for name in list(plant.processes):
        plant.wait_ready(name)
