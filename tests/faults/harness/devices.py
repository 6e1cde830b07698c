"""Devices in the field: they send over HTTP with their own tokens, and send again until they get a 202."""

import json
import random
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from tests.faults.harness.plant import Plant
from tests.faults.sending import Sending

DEVICES = 4
FIRST_END = 1_767_225_600
STEP_S = 900
PATIENCE_S = 20.0
DONE_S = 240.0


@dataclass(frozen=True)
class Receipt:
    """A request that was answered 202: what must be in the ledger under it, whatever happens later."""

    id: str
    reads: int
    rejected: int


class Devices:
    """Sends from a thread, one device after the other; every body goes out until it is acknowledged."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self._plant = plant
        self._random = random.Random(seed)
        self._sending = Sending("devices", self._one, lambda: self._random.uniform(0.02, 0.2))
        self._tokens: dict[str, str] = {}
        self._next = Counter[str]()
        self._late: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.receipts: list[Receipt] = []
        self.accepted: dict[tuple[str, int], float] = {}
        """(device, end) → the first value sent, of every good read that was acknowledged."""
        self.refusals = Counter[str]()
        self.organization_id = plant.api.post("/v1/organizations", name="Devices Ltd")["id"]
        project = plant.api.post("/v1/projects", organization_id=self.organization_id, name="P", country="NG")
        for number in range(DEVICES):
            made = plant.api.post(
                "/v1/devices", project_id=project["id"], external_id=f"F{number}", manufacturer="HOP",
                serial_number=f"S{number}",
            )  # fmt: skip
            self._tokens[f"F{number}"] = plant.api.post(f"/v1/devices/{made['id']}/tokens")["token"]

    def start(self) -> None:
        """Begin to send."""
        self._sending.start()

    def check(self) -> None:
        """They send. Raises AssertionError when they do not any more."""
        self._sending.check()

    def abandon(self) -> None:
        """No further request begins: the run has failed."""
        self._sending.stop()

    def finish(self) -> None:
        """Stop after the request under way, which is sent until it is acknowledged.

        Raises:
            AssertionError: an answer was wrong, or none came.
        """
        self._sending.finish(300)

    def _one(self) -> None:
        device = self._random.choice(sorted(self._tokens))
        good = [self._new(device) for _ in range(self._random.randrange(1, 25))]
        if self._late[device] and self._random.random() < 0.3:
            good.append(self._late[device].pop(self._random.randrange(len(self._late[device]))))
        self._random.shuffle(good)
        again = self._random.sample(good, k=min(len(good), self._random.randrange(3)))
        bad = [{**good[0], "value": "much"}] * self._random.randrange(2)
        body = {"type": "Delta", "unit": "kWh", "reads": [*good, *again, *bad]}
        self._send_until_acknowledged(device, body, len(bad))
        for one in good:
            self.accepted[device, one["endtimestamp"]] = one["value"]

    def _new(self, device: str) -> dict[str, Any]:
        """The next read; sometimes one is left out, and sent late."""
        self._next[device] += 1
        end = FIRST_END + self._next[device] * STEP_S
        made = {"starttimestamp": end - STEP_S, "endtimestamp": end, "value": self._random.randrange(1, 500)}
        if self._random.random() < 0.03:
            self._late[device].append(made)
            return self._new(device)
        return made

    def _send_until_acknowledged(self, device: str, body: dict[str, Any], bad: int) -> None:
        deadline = time.monotonic() + DONE_S
        while True:
            answer = self._send(device, body)
            if answer is not None:
                assert answer["accepted"] == len(body["reads"]) - bad, answer
                self.receipts.append(Receipt(answer["receipt"], len(body["reads"]), bad))
                return
            assert time.monotonic() < deadline, f"a device still waits: {self.refusals}"
            time.sleep(0.2)

    def _send(self, device: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer of a 202; None when it has to be sent again."""
        request = urllib.request.Request(
            f"{self._plant.endpoints.api}/meter-reads/{device}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._tokens[device]}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read().decode(errors="replace")
            if error.code not in (429, 503):
                raise AssertionError(f"{error.code}: {detail}") from None
            self.refusals[str(error.code)] += 1
        except (urllib.error.URLError, OSError, ValueError) as error:
            self.refusals[type(error).__name__] += 1
        return None
