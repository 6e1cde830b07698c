"""Questions about more rows than one query parameter may name: every piece is asked and answered."""

from sinks_helpers import NOON, Store, ledger_row, payment, read

from sinks import restore
from sinks.chunks import AT_ONCE, text_chunks
from sinks.history_reads import history_intervals
from sinks.rulings import latest_decisions
from sinks.stored_versions import stored_payments, stored_reads

TOP = 2**64 - 1
MANY = range(TOP - 3 * AT_ONCE, TOP + 1)
"""More identities than one query may name, each as long as they get."""
ENDS = (MANY[0], MANY[AT_ONCE], MANY[-1])


def test_stored_versions_of_many_identities(store: Store) -> None:
    """Payments and reads from the first, a middle and the last piece."""
    store.put("payment_versions", *[payment(identity=identity) for identity in ENDS])
    store.put("read_versions", *[read(NOON, 1, identity=identity) for identity in ENDS])
    found = [row["identity"] for row in stored_payments(store.client, MANY)]
    assert sorted(found) == list(ENDS)
    devices = [f"dev_{number:026}" for number in range(3000)]
    for named in (None, ["dev_a"], ["dev_a", *devices]):
        rows = stored_reads(store.client, MANY, named)
        assert sorted(row["identity"] for row in rows) == list(ENDS), named and len(named)


def test_outcomes_of_many_positions(store: Store) -> None:
    """Ledger rows, and rows that have none, of every piece."""
    store.put("ledger_rows", *[ledger_row(position=at, topic="payments") for at in ENDS])
    assert restore.ledger_outcomes_of(store.client, "payments", MANY) == dict.fromkeys(ENDS, "accepted")
    lonely = [at - 1 for at in ENDS]
    store.put("payment_versions", *[payment(position=at) for at in (*ENDS, *lonely)])
    wanted = [*MANY, MANY[0] - 1]
    assert sorted(restore.orphans_of(store.client, "payments", wanted)) == sorted(lonely)


def test_decisions_about_many_identities(store: Store) -> None:
    """The latest decision of each."""
    for identity in ENDS:
        store.decide({"organization_id": "org_a", "identity": identity}, "keep_first", selected=[1])
    found = latest_decisions(store.client, MANY)
    assert {identity: latest[:2] for identity, latest in found.items()} == dict.fromkeys(ENDS, ([1], []))


def test_history_of_many_devices(store: Store) -> None:
    """History reads of the first and the last of 3,000 devices."""
    devices = [f"dev_{number:026}" for number in range(3000)]
    for device in (devices[0], devices[-1]):
        start = NOON.replace(hour=11)
        store.put("read_versions", read(NOON, 1, device_id=device, type="History", start=start))
    found = history_intervals(store.client, devices, 0, 2**41)
    assert sorted(found) == [devices[0], devices[-1]]
    assert found[devices[0]][0][1] == NOON.timestamp() * 1000


def test_texts_are_divided_by_their_bytes() -> None:
    """Every text is in one piece, in order; a piece fits a form field even when each byte is escaped."""
    texts = ["a", "é" * 100, "x" * 500, "b", "c"]
    assert list(text_chunks(texts, 410)) == [["a", "é" * 100], ["x" * 500], ["b", "c"]]
    assert list(text_chunks([])) == []
    many = ["m"] * (AT_ONCE + 1)
    assert [len(piece) for piece in text_chunks(many)] == [AT_ONCE, 1]
