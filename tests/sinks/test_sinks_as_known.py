"""`verification` as known at a moment: the same for ever, and at this moment the same as the view."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sinks_helpers import NOON, Store, payment, read

from sinks.as_known import connection_as_known, verification_as_known

ORDER = "ORDER BY connection_id"
Rows = list[dict[str, Any]]


def now(store: Store) -> datetime:
    """The server's clock, once it has gone on: what follows is stored later."""
    moment: datetime = store.rows("SELECT now64(3, 'UTC') AS at")[0]["at"]
    later = "SELECT now64(3, 'UTC') > {at:DateTime64(3, 'UTC')} AS later"
    while not store.rows(later, at=text(moment))[0]["later"]:
        pass
    return moment


def text(moment: datetime) -> str:
    """A moment as the view takes it."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def known(store: Store, moment: datetime) -> Rows:
    """All connections as known at a moment."""
    return store.rows(f"SELECT * FROM verification_as_known(at = {{at:String}}) {ORDER}", at=text(moment))


class History:
    """Things that happen to an organisation, at random, one after the other."""

    def __init__(self, store: Store, dice: random.Random) -> None:
        self.store = store
        self.dice = dice
        self.versions: dict[str, int] = {}
        self.paid: Rows = []
        self.stored_reads = 0

    def step(self) -> str:
        """One of them; its name."""
        steps: list[Callable[[], None]] = [
            self.pay, self.pay, self.pay, self.pay_again, self.reverse, self.decide, self.decide,
            self.connect, self.connect, self.connect, self.enrol, self.aim, self.equip, self.measure,
            self.measure,
        ]  # fmt: skip
        step = self.dice.choice(steps)
        step()
        return step.__name__

    def _version(self, id: str) -> int:
        self.versions[id] = self.versions.get(id, 0) + 1
        return self.versions[id]

    def _meter(self) -> str:
        return f"M{self.dice.randrange(4)}"

    def pay(self) -> None:
        """A payment comes in."""
        dice = self.dice
        row = payment(
            meter_id=self._meter(),
            external_id=dice.choice(["", self._meter()]),
            dataset_id=dice.choice(["", "ds_0", "ds_1"]),
            payment_amount=Decimal(dice.randrange(1, 90)),
            payment_currency=dice.choice(["NGN", "KES"]),
            reference_id=dice.choice(["", f"R{dice.randrange(6)}"]),
            timestamp=NOON + timedelta(days=dice.randrange(-9, 9)),
        )
        self.paid += self.store.pay(row)

    def pay_again(self) -> None:
        """A further version of a payment; or the same one once more, as a redelivery stores it."""
        if not self.paid:
            return
        row = self.dice.choice(self.paid)
        if self.dice.random() < 0.3:
            self.store.put("payment_versions", row)
            return
        changed = payment(
            id=row["id"],
            meter_id=row["meter_id"],
            outcome="conflict",
            payment_amount=Decimal(self.dice.randrange(90)),
        )
        self.paid += self.store.pay(changed)

    def reverse(self) -> None:
        """A reversal comes in."""
        self.store.pay(
            payment(
                transaction_type="REVERSAL", reference_id=f"R{self.dice.randrange(6)}", meter_id=self._meter()
            )
        )

    def decide(self) -> None:
        """Somebody decides about a payment with several versions, or takes it back."""
        rows = [row for row in self.paid if row["outcome"] == "conflict"]
        if not rows:
            return
        row = self.dice.choice(rows)
        hashes = [other["content_hash"] for other in self.paid if other["identity"] == row["identity"]]
        decision = self.dice.choice(["keep_first", "take_new", "count_both", "undo"])
        selected = {"take_new": [row["content_hash"]], "count_both": hashes}.get(decision, [])
        self.store.decide(row, decision, selected=selected, known=[] if decision == "undo" else hashes)

    def connect(self) -> None:
        """A connection is registered, corrected, moved, bounded, equipped, archived or restored."""
        dice, id = self.dice, f"con_{self.dice.randrange(5)}"
        bound = NOON + timedelta(days=dice.randrange(-9, 9))
        self.store.connection(
            id,
            self._meter(),
            f"prj_{dice.randrange(2)}",
            version=self._version(id),
            archived=dice.random() < 0.2,
            customer_external_id=dice.choice(["", "cus_1"]),
            device_id=dice.choice(["", "dev_0", "dev_1"]),
            valid_from=dice.choice([None, None, bound]),
            valid_to=dice.choice([None, None, bound + timedelta(days=5)]),
        )

    def enrol(self) -> None:
        """A project is enrolled in a programme, or leaves it."""
        id = f"prj_{self.dice.randrange(2)}"
        self.store.put(
            "project_versions",
            {
                "id": id, "number": 1, "version": self._version(id), "archived": False, "changed_at": NOON,
                "organization_id": "org_a", "programme_ids": self.dice.choice([[], ["prg"]]),
            },
        )  # fmt: skip

    def aim(self) -> None:
        """A dataset gets another target."""
        id = f"ds_{self.dice.randrange(2)}"
        target = self.dice.choice(
            [
                {"target": "project", "project_ids": ["prj_0"]},
                {"target": "project", "project_ids": ["prj_0", "prj_1"]},
                {"target": "programme", "programme_id": "prg"},
            ]
        )
        self.store.dataset(id, version=self._version(id), **target)

    def equip(self) -> None:
        """A device is registered, renamed or archived."""
        id = f"dev_{self.dice.randrange(2)}"
        self.store.device(
            id,
            self._meter(),
            f"prj_{self.dice.randrange(2)}",
            version=self._version(id),
            archived=self.dice.random() < 0.2,
        )

    def measure(self) -> None:
        """A read comes in; a register value may be late."""
        dice = self.dice
        end, device = NOON + timedelta(hours=dice.randrange(90)), f"dev_{dice.randrange(2)}"
        kind = {"type": "Delta", "start": end - timedelta(hours=1)} if dice.random() < 0.5 else {}
        self.store.put("read_versions", read(end, dice.randrange(9000), device_id=device, **kind))


@pytest.mark.parametrize("seed", range(2))
def test_what_was_known_stays_whatever_comes_later(store: Store, seed: int) -> None:
    """Random histories: of each moment as the view said then, also after merges; of now as it says now."""
    history = History(store, random.Random(seed))
    moments: list[tuple[datetime, Rows]] = []
    for _ in range(20):
        for _ in range(history.dice.randrange(1, 5)):
            history.step()
        moments.append((now(store), store.rows(f"SELECT * FROM verification {ORDER}")))
    for table in ("payment_versions", "read_versions", "connection_versions", "decisions"):
        store.client.command(f"OPTIMIZE TABLE {table} FINAL")
    assert len({str(rows) for _, rows in moments}) > 5, "hardly anything happened"
    for number, (moment, rows) in enumerate(moments):
        assert known(store, moment) == rows, f"step {number}"
    assert known(store, now(store)) == moments[-1][1]


def test_a_moment_is_given_as_text_in_utc(store: Store) -> None:
    """A day, a second, a millisecond; a literal, an expression or a parameter; anything else is an error."""
    store.connection("con_1", "M1")
    for moment in ("'2299-01-01'", "'2299-01-01 00:00:00'", "'2299-01-01T00:00:00.001'", "now64(3, 'UTC')"):
        assert len(store.rows(f"SELECT * FROM verification_as_known(at = {moment})")) == 1, moment
    assert store.rows("SELECT * FROM verification_as_known(at = '2020-01-01')") == []
    for wrong in ("'yesterday'", "'2026-01-01T00:00:00Z'"):
        with pytest.raises(Exception, match="parsed"):
            store.rows(f"SELECT * FROM verification_as_known(at = {wrong})")


def test_one_connection_as_known(store: Store) -> None:
    """Not known before it was registered, nor to another organisation; known while it is archived."""
    before = now(store)
    store.connection("con_1", "M1")
    registered = now(store)
    store.pay(payment())
    paid = now(store)
    store.connection("con_1", "M2", "prj_b", version=2)
    corrected = now(store)
    store.connection("con_1", "M1", "prj_b", version=3, archived=True)
    archived = now(store)
    ask = lambda at: verification_as_known(store.client, "org_a", "con_1", at)  # noqa: E731
    assert ask(before) is None
    counts = [(ask(at) or {}).get("payments") for at in (registered, paid, corrected, archived)]
    assert counts == [0, 1, 0, None]
    assert verification_as_known(store.client, "org_b", "con_1", paid) is None
    assert connection_as_known(store.client, "org_a", "con_1", before) is None
    assert connection_as_known(store.client, "org_a", "con_1", corrected) == {
        "project_id": "prj_b",
        "external_id": "M2",
    }
    assert connection_as_known(store.client, "org_a", "con_1", archived) == {
        "project_id": "prj_b",
        "external_id": "M1",
    }
