"""The view reads: energy of intervals, late register values, versions."""

from datetime import timedelta
from decimal import Decimal

from sinks_helpers import NOON, Store, read

HOUR = timedelta(hours=1)


def energies(store: Store) -> list[int]:
    """Energy of each read in order of its end, Wh."""
    return [int(row["energy_wh"]) for row in store.rows("SELECT energy_wh FROM reads ORDER BY end, position")]


def test_a_register_value_counts_its_rise(store: Store) -> None:
    """The first only sets the baseline, a fall counts nothing, and the next rise starts from it."""
    values = [1000, 1500, 1500, 200, 260]
    store.put("read_versions", *[read(NOON + i * HOUR, value) for i, value in enumerate(values)])
    assert energies(store) == [0, 500, 0, 0, 60]


def test_a_late_register_value_corrects_its_neighbours(store: Store) -> None:
    """The sum stays, the parts become right, nothing was stored."""
    store.put("read_versions", read(NOON, 100), read(NOON + 2 * HOUR, 300))
    assert energies(store) == [0, 200]
    store.put("read_versions", read(NOON + HOUR, 150))
    assert energies(store) == [0, 50, 150]
    store.put("read_versions", read(NOON - HOUR, 40))
    assert energies(store) == [0, 60, 50, 150]


def test_registers_of_devices_and_organisations_are_apart(store: Store) -> None:
    """A neighbour is the same device of the same organisation."""
    store.put(
        "read_versions",
        read(NOON, 100),
        read(NOON + HOUR, 500, device_id="dev_b"),
        read(NOON + 2 * HOUR, 700, organization_id="org_b", content_hash=1),
        read(NOON + 3 * HOUR, 110),
    )
    assert energies(store) == [0, 0, 0, 10]


def test_interval_energy_is_its_value(store: Store) -> None:
    """Delta and History reads are energy already; they are no neighbours of register values."""
    store.put(
        "read_versions",
        read(NOON, 100),
        read(NOON + HOUR, 40, type="Delta", start=NOON),
        read(NOON + HOUR, 30, type="History", start=NOON),
        read(NOON + 2 * HOUR, 170),
    )
    assert energies(store) == [0, 40, 30, 70]


def test_one_device_can_be_asked_alone(store: Store) -> None:
    """A filter on the device does not change what its reads mean."""
    store.put("read_versions", read(NOON, 100), read(NOON + HOUR, 160))
    store.put("read_versions", read(NOON, 5, device_id="dev_b"))
    rows = store.rows(
        "SELECT energy_wh FROM reads WHERE device_id = 'dev_a' AND end > {t:DateTime64(3)}", t=NOON
    )
    assert rows == [{"energy_wh": Decimal(60)}]


def test_of_several_versions_the_first_sets_the_register(store: Store) -> None:
    """A conflicting value at the same time does not count until it is selected."""
    first, second = read(NOON + HOUR, 150), read(NOON + HOUR, 180, outcome="conflict")
    store.put("read_versions", read(NOON, 100), first, second)
    assert energies(store) == [0, 50]
    hashes = [first["content_hash"], second["content_hash"]]
    store.decide(first, "take_new", record_type="read", selected=hashes[1:], known=hashes)
    assert energies(store) == [0, 80]


def test_a_decision_about_two_accepted_reads_is_obeyed(store: Store) -> None:
    """They are a case; what counts is what was decided, though neither was called a conflict."""
    one, other = read(NOON, 100, type="Delta"), read(NOON, 900, type="Delta")
    store.put("read_versions", one, other)
    assert store.rows("SELECT open, record_type FROM conflicts") == [{"open": True, "record_type": "read"}]
    known = [one["content_hash"], other["content_hash"]]
    store.decide(one, "take_new", record_type="read", selected=[known[1]], known=known)
    assert energies(store) == [900]


def test_a_register_value_has_no_start(store: Store) -> None:
    """`start` is NULL for an Aggregate without one, and kept when it was sent."""
    store.put("read_versions", read(NOON, 1), read(NOON + HOUR, 2, start=NOON))
    assert [row["start"] for row in store.rows("SELECT start FROM reads ORDER BY end")] == [None, NOON]
