"""Late truth: whatever comes late or is corrected is in `verification` within 10 seconds, by the real path.

Registry changes go through API, outbox and topics, payments and reads through their topics and the worker.
Each change is timed and printed; what was known before it can still be asked.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from sunledger.embedded.supervisor import status
from tests.e2e.installation import Installation
from tests.support.workers import Sender, payment, read, wait_until

PROMISE_S = 10.0
SLOW_DAY_S = 60.0
TARGET = {"target": "project", "provider": "ODYSSEY", "source": "s3", "type": "electricity_payments"}


class Site:
    """An organisation with a project, and what happens to its connections."""

    def __init__(self, installation: Installation, sender: Sender) -> None:
        self.installation = installation
        self.sender = sender
        self.project = installation.project()
        self.organization: str = self.project["organization_id"]

    # -- the registry

    def make(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Register an object."""
        return self.installation.api.post(f"/v1/{kind}", **fields)

    def connection(self, external_id: str, **fields: Any) -> str:
        """Register a connection of the project; its id."""
        given = {"project_id": self.project["id"], "external_id": external_id, **fields}
        return str(self.make("connections", **given)["id"])

    def device(self, external_id: str) -> str:
        """Register a device of the project; its id."""
        given = {"external_id": external_id, "manufacturer": "HOP", "serial_number": f"S-{external_id}"}
        return str(self.make("devices", project_id=self.project["id"], **given)["id"])

    def other_project(self) -> str:
        """A further project of the organisation; its id."""
        return str(self.make("projects", organization_id=self.organization, name="Q", country="NG")["id"])

    def dataset(self, **target: Any) -> str:
        """A dataset of the organisation; its id."""
        s3 = {"bucket": f"late-{secrets.token_hex(4)}", "access_key": "a", "secret_key": "s"}
        given = {**TARGET, "name": "D", "organization_id": self.organization, "s3": s3, **target}
        return str(self.make("datasets", **given)["id"])

    def change(self, kind: str, id: str, **fields: Any) -> None:
        """Change an object."""
        self.installation.api._call("PATCH", f"/v1/{kind}/{id}", json.dumps(fields).encode(), None)

    # -- rows

    def pay(self, *rows: dict[str, Any], **headers: str) -> None:
        """Payments come in, and are stored."""
        count = self._stored()
        self.sender.payments(rows, self.organization, **headers)
        wait_until(lambda: self._stored() == count + len(rows), SLOW_DAY_S, "the payments")

    def measure(self, *rows: dict[str, Any]) -> None:
        """Reads come in, and are stored."""
        count = self._stored()
        self.sender.reads(rows, self.organization)
        wait_until(lambda: self._stored() == count + len(rows), SLOW_DAY_S, "the reads")

    def _stored(self) -> int:
        return int(
            self.installation.value(
                f"SELECT count() FROM ledger WHERE organization_id = '{self.organization}'"
            )
        )

    # -- the evidence

    def evidence(self, connection: str, at: datetime | None = None) -> dict[str, Any]:
        """The verification of a connection, now or as it was known at a moment."""
        known = f"?as_known_at={quote(at.isoformat())}" if at else ""
        return self.installation.api.get(f"/v1/connections/{connection}/verification{known}")

    def expect(self, connection: str, **expected: Any) -> None:
        """Return when the evidence says so."""
        wait_until(lambda: _says(self.evidence(connection), expected), SLOW_DAY_S, str(expected))

    def in_time(self, what: str, change: Callable[[], object], connection: str, **expected: Any) -> None:
        """After a change the evidence says so within 10 seconds; what was known before stays known."""
        before, moment = self.evidence(connection), datetime.now(UTC)
        assert not _says(before, expected), f"{what}: nothing would change"
        time.sleep(0.002)  # the moment is over: what follows is stored later
        began = time.monotonic()
        change()
        self.expect(connection, **expected)
        took = time.monotonic() - began
        tell(what, took)
        then = self.evidence(connection, moment)
        assert then.pop("as_known_at") is not None
        assert then == {name: value for name, value in before.items() if name != "as_known_at"}, what


def tell(what: str, took_s: float) -> None:
    """Print how long a change took; a slow day is no fault, and is named."""
    print(f"late truth: {what}: {took_s:.2f} s{'' if took_s < PROMISE_S else ', MORE THAN PROMISED'}")


def _says(evidence: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(evidence[name] == value for name, value in expected.items())


@pytest.fixture
def site(installation: Installation) -> Iterator[Site]:
    """A site of its own in the installation."""
    sender = Sender(installation.endpoints.kafka, "")
    yield Site(installation, sender)
    sender.close()


def test_a_connection_that_comes_late_or_is_corrected(site: Site) -> None:
    """Payments before their connection; another external_id; bounds of time; archived and restored."""
    site.pay(payment(1, METER_ID="M-1"), payment(2, METER_ID="M-2"), payment(3, METER_ID="M-2"))
    connection = site.connection("wrong")
    site.expect(connection, payments=0, external_id="wrong")

    def change(**fields: Any) -> Callable[[], None]:
        return lambda: site.change("connections", connection, **fields)

    site.in_time("external_id corrected", change(external_id="M-1"), connection, payments=1)
    site.in_time("external_id corrected again", change(external_id="M-2"), connection, payments=2)
    later, earlier = "2026-05-16T14:16:02Z", "2026-05-16T14:16:01Z"
    site.in_time("valid_from set", change(valid_from=later), connection, payments=0)
    site.in_time("valid_from moved", change(valid_from=earlier), connection, payments=2)
    site.in_time("valid_to set", change(valid_to=earlier, valid_from=None), connection, payments=0)
    site.in_time("valid_to taken away", change(valid_to=None), connection, payments=2)
    site.in_time("archived", change(archived=True), connection, payments=0, verified=False)
    site.in_time("restored", change(archived=False), connection, payments=2, verified=True)


def test_a_payment_before_its_connection(site: Site) -> None:
    """It counts as soon as the connection is there, with no re-ingestion."""
    site.pay(payment(1, METER_ID="EARLY"))
    began = time.monotonic()
    connection = site.connection("EARLY")
    site.expect(connection, payments=1, verified=True, totals={"NGN": "5000"})
    took = time.monotonic() - began
    tell("a connection after its payment", took)


def test_a_connection_that_is_re_assigned(site: Site) -> None:
    """To another project, whose dataset's payments count from now on; to another customer: they stay."""
    other = site.other_project()
    connection = site.connection("M-1")
    dataset = site.dataset(project_ids=[other])
    site.pay(payment(1, METER_ID="M-1"), dataset_id=dataset)
    site.expect(connection, payments=0)
    move = lambda: site.change("connections", connection, project_id=other)  # noqa: E731
    site.in_time("another project", move, connection, payments=1, project_id=other)
    site.change("connections", connection, customer_external_id="C-2")
    customer = f"SELECT customer_external_id FROM connections WHERE id = '{connection}'"
    wait_until(lambda: site.installation.value(customer) == "C-2", SLOW_DAY_S, "the customer")
    site.expect(connection, payments=1, project_id=other)


def test_a_device_that_is_replaced(site: Site) -> None:
    """Energy follows the device that the connection names."""
    first, second = site.device("D-1"), site.device("D-2")
    connection = site.connection("M-1", device_id=first)
    site.measure(read("D-1", 1), read("D-1", 2), read("D-2", 3))
    site.expect(connection, energy_wh="25000", device_id=first)
    replace = lambda: site.change("connections", connection, device_id=second)  # noqa: E731
    site.in_time("a device replaced", replace, connection, energy_wh="12500", device_id=second)


def test_a_target_that_changes(site: Site) -> None:
    """A dataset gets another target; a project is enrolled in a programme."""
    other, programme = site.other_project(), f"prg-{site.organization[-6:]}"
    connection = site.connection("M-1")
    dataset = site.dataset(project_ids=[other])
    enrolled = site.dataset(target="programme", programme_id=programme, project_ids=[])
    site.pay(payment(1, METER_ID="M-1"), dataset_id=dataset)
    site.pay(payment(2, METER_ID="M-1"), dataset_id=enrolled)
    site.expect(connection, payments=0)
    own = site.project["id"]
    aim = lambda: site.change("datasets", dataset, project_ids=[own])  # noqa: E731
    site.in_time("a dataset's target", aim, connection, payments=1)
    enrol = lambda: site.change("projects", own, programme_ids=[programme])  # noqa: E731
    site.in_time("a project enrolled", enrol, connection, payments=2)
    leave = lambda: site.change("projects", own, programme_ids=[])  # noqa: E731
    site.in_time("a project that leaves", leave, connection, payments=1)


def test_a_payment_that_is_reversed_or_decided(site: Site) -> None:
    """A reversal takes a payment out; a decision about a conflict changes the total, and so does its undo."""
    connection = site.connection("M-1")
    site.pay(payment(1, METER_ID="M-1", REFERENCE_ID="R-1"), payment(2, METER_ID="M-1", PAYMENT_AMOUNT="700"))
    site.expect(connection, payments=2, totals={"NGN": "5700"})
    reversal = payment(
        3, METER_ID="M-1", REFERENCE_ID="R-1", TRANSACTION_TYPE="REVERSAL", PAYMENT_AMOUNT="-5000"
    )
    reverse = lambda: site.pay(reversal)  # noqa: E731
    site.in_time("a reversal", reverse, connection, payments=1, totals={"NGN": "700"})
    site.pay(payment(2, METER_ID="M-1", PAYMENT_AMOUNT="900"))
    identity = site.installation.value(
        f"SELECT identity FROM conflicts WHERE organization_id = '{site.organization}' AND open"
    )
    case = f"/v1/conflicts/payment/{identity}"

    def decide(decision: str) -> Callable[[], object]:
        return lambda: site.installation.api.post(f"{case}/decisions", decision=decision)

    site.in_time("a conflict decided", decide("take_new"), connection, totals={"NGN": "900"}, payments=1)
    site.in_time("both count", decide("count_both"), connection, totals={"NGN": "1600"}, payments=2)
    site.in_time("the decision undone", decide("undo"), connection, totals={"NGN": "900"}, payments=1)


def test_the_verifier_of_the_installation_is_ready(installation: Installation) -> None:
    """It is a part like the others: it runs, and has compared everything once with nothing wrong."""

    def ready() -> bool:
        return any(part.name == "verifier" and part.state == "ready" for part in status(installation.folder))

    wait_until(ready, SLOW_DAY_S, "the verifier")
