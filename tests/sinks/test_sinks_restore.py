"""What a worker reads back: keys by home, high waters, outcomes, orphans, versions, epochs."""

import threading
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sinks_helpers import NOON, Store, ledger_row, payment, read

from schemas.identity import position
from sinks import index_keys, restore
from sinks.client import connect
from sinks.restore import KEY_OUTCOMES, KeySlice


def keys(slices: list[KeySlice]) -> dict[int, set[tuple[int, int, int, str]]]:
    """Slices as sets of (identity, content, position, outcome) by home."""
    found: dict[int, set[tuple[int, int, int, str]]] = {}
    for part in slices:
        rows = zip(
            part.identities.tolist(),
            part.contents.tolist(),
            part.positions.tolist(),
            [KEY_OUTCOMES[code] for code in part.outcomes.tolist()],
            strict=True,
        )
        found.setdefault(part.home, set()).update(rows)
    return found


def key(home: int, identity: int, content: int, at: int, outcome: str = "accepted") -> dict[str, int | str]:
    """A row of the key table."""
    return {
        "home": home,
        "identity": identity,
        "content_hash": content,
        "position": at,
        "outcome": outcome,
    }


def test_keys_come_back_by_home(store: Store) -> None:
    """Only the homes asked for; every outcome, aliases included; all 64 bits."""
    top = 2**64 - 1
    store.put(
        "payment_keys",
        key(0, 1, 2, 3),
        key(255, top, top, top, "conflict"),
        key(255, 7, 8, 9, "alias"),
        key(4, 5, 5, 5),
    )
    assert keys(list(restore.stream_keys(store.client, [0, 255, 17]))) == {
        0: {(1, 2, 3, "accepted")},
        255: {(top, top, top, "conflict"), (7, 8, 9, "alias")},
    }
    assert list(restore.stream_keys(store.client, [])) == []


def test_a_kept_slice_reads_only_what_was_stored_since(store: Store) -> None:
    """Less an overlap, because an insert becomes visible after its time; also rows with low positions."""
    store.client.command(
        "INSERT INTO payment_keys (home, identity, content_hash, position, outcome, stored_at)"
        " VALUES (1, 1, 1, 1, 'accepted', now64(3) - 1000), (2, 2, 2, 2, 'accepted', now64(3) - 1000)"
    )
    since = restore.server_now_ms(store.client)
    store.put("payment_keys", key(1, 10, 10, 0), key(2, 20, 20, 0))
    found = keys(list(restore.stream_keys(store.client, [1, 2], {1: since})))
    assert found == {1: {(10, 10, 0, "accepted")}, 2: {(2, 2, 2, "accepted"), (20, 20, 0, "accepted")}}


def test_a_version_without_a_key_counts_as_one(store: Store) -> None:
    """A process died between the two inserts; later rows of the payment must find it, in a kept slice too."""
    store.put("payment_versions", payment(home=1, identity=1, content_hash=2, position=3))
    store.put("payment_versions", payment(home=2, identity=7, content_hash=8, position=9, outcome="conflict"))
    store.put("payment_versions", payment(home=3, identity=5, content_hash=5, position=5))
    store.pay(payment(home=1, identity=4, content_hash=4, position=4))
    store.put("payment_keys", key(1, 4, 6, 6, "alias"))
    expected = {
        1: {(1, 2, 3, "accepted"), (4, 4, 4, "accepted"), (4, 6, 6, "alias")},
        2: {(7, 8, 9, "conflict")},
    }
    assert keys(list(restore.stream_keys(store.client, [1, 2]))) == expected
    since = restore.server_now_ms(store.client)
    assert keys(list(restore.stream_keys(store.client, [1, 2], {1: since, 2: since}))) == expected
    assert sum(len(part.identities) for part in restore.stream_keys(store.client, [1, 2])) == 4, "none twice"


def test_many_keys_arrive_whole(store: Store) -> None:
    """A stream of many blocks loses no record at their borders."""
    n = 450_000
    store.client.command(
        "INSERT INTO payment_keys (home, identity, content_hash, position, outcome)"
        f" SELECT number % 256, sipHash64(number), number, number, 'accepted' FROM numbers({n})"
    )
    parts = list(restore.stream_keys(store.client, range(256)))
    assert np.array_equal(np.sort(np.concatenate([part.contents for part in parts])), np.arange(n))
    assert all((part.positions % 256 == part.home).all() for part in parts)


class _Source:
    """A byte stream that gives what it likes, at most what was asked."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = data
        self._sizes = sizes

    def read(self, size: int) -> bytes:
        """The next piece; empty at the end."""
        piece = min(size, self._sizes.pop() if self._sizes else size)
        head, self._data = self._data[:piece], self._data[piece:]
        return head


@given(st.lists(st.integers(0, 255), max_size=40), st.lists(st.integers(1, 60), max_size=40))
def test_records_survive_any_split_of_the_stream(homes: list[int], sizes: list[int]) -> None:
    """Wherever the network cuts, records come out whole and with their home."""
    rows = np.zeros(len(homes), dtype=index_keys._KEY)
    rows["home"], rows["identity"] = homes, np.arange(len(homes))
    blocks = list(index_keys._records(_Source(rows.tobytes(), sizes)))
    parts = [part for block in blocks for part in index_keys._by_home(block)]
    assert sorted((p.home, i) for p in parts for i in p.identities.tolist()) == sorted(
        (home, i) for i, home in enumerate(homes)
    )


def test_a_stream_that_ends_inside_a_record_is_an_error() -> None:
    """Half a record is no end: the restore is tried again."""
    with pytest.raises(OSError, match="inside a record"):
        list(index_keys._records(_Source(b"x" * 28, [])))


def test_the_high_water_is_the_greatest_end(store: Store) -> None:
    """Per device and type, within the homes asked for."""
    store.put(
        "read_versions",
        read(NOON, 1, home=1),
        read(NOON + timedelta(hours=2), 1, home=1),
        read(NOON, 1, home=1, type="Delta"),
        read(NOON, 1, home=2, device_id="dev_b"),
    )
    high = restore.read_high_water(store.client, [1, 3])
    noon = int(NOON.timestamp() * 1000)
    found = dict(zip(zip(high.device_ids, high.types, strict=True), high.ends_ms.tolist(), strict=True))
    assert found == {("dev_a", "Aggregate"): noon + 7_200_000, ("dev_a", "Delta"): noon}


def test_outcomes_of_a_partition(store: Store) -> None:
    """Highest judged position and outcomes of a range; other partitions, epochs and topics apart."""
    at = [position(1, 2, offset) for offset in (5, 6, 9)]
    store.put("ledger_rows", *[ledger_row(position=p, outcome="duplicate") for p in at])
    store.put("ledger_rows", ledger_row(position=at[0], outcome="accepted"))
    store.put("ledger_rows", ledger_row(position=position(1, 3, 50)), ledger_row(position=position(2, 2, 50)))
    store.put("ledger_rows", ledger_row(position=position(1, 2, 70), topic="reads"))
    assert restore.ledger_high(store.client, "payments", 1, 2) == at[2]
    assert restore.ledger_high(store.client, "payments", 0, 2) == -1
    assert restore.ledger_outcomes(store.client, "payments", at[0], at[1]) == dict.fromkeys(
        at[:2], "duplicate"
    )
    assert restore.ledger_outcomes_of(store.client, "payments", [at[2], 77]) == {at[2]: "duplicate"}
    assert restore.ledger_outcomes_of(store.client, "payments", []) == {}


def test_the_next_offset_comes_from_the_ranges(store: Store) -> None:
    """None before the first finished batch."""
    assert restore.ledger_next_offset(store.client, "payments", 0, 1) is None
    ranges = [(0, 100), (100, 250)]
    store.put(
        "ledger_ranges",
        *[{"topic": "payments", "partition": 1, "first_offset": a, "next_offset": b} for a, b in ranges],
    )
    assert restore.ledger_next_offset(store.client, "payments", 0, 1) == 250
    assert restore.ledger_next_offset(store.client, "payments", 1, 1) is None


def test_orphans_keep_the_outcome_they_were_stored_with(store: Store) -> None:
    """Rows in fact and quarantine tables without a ledger row, above a position."""
    at = [position(0, 1, offset) for offset in range(6)]
    store.pay(*[payment(position=p, outcome="conflict") for p in at[:4]])
    store.put("read_versions", read(NOON, 1, position=at[4], topic="payments"))
    quarantined = ledger_row(position=at[5])
    del quarantined["outcome"]
    store.put("quarantine_rows", quarantined)
    store.pay(payment(position=position(0, 2, 3)), payment(position=at[3] + 1, topic="else"))
    store.put("ledger_rows", ledger_row(position=at[2]))
    found = restore.orphans(store.client, "payments", 0, 1, at[0])
    assert {p: (o.table, o.outcome) for p, o in found.items()} == {
        at[1]: ("payment_versions", "conflict"),
        at[3]: ("payment_versions", "conflict"),
        at[4]: ("read_versions", "accepted"),
        at[5]: ("quarantine_rows", "quarantined"),
    }
    some = restore.orphans_of(store.client, "payments", [at[0], at[2], at[5]], ["payment_versions"])
    assert list(some) == [at[0]]
    with pytest.raises(ValueError, match="no fact table"):
        restore.orphans_of(store.client, "payments", [1], ["secrets"])


def test_stored_versions_come_with_every_field(store: Store) -> None:
    """By identity and position, for a comparison field by field; each version once."""
    first, second, other = payment(id="A"), payment(id="A", custom={"a": "ü"}), payment(id="B")
    store.pay(second, other)
    store.pay(first)
    store.pay(first)
    found = restore.stored_payments(store.client, [first["identity"]])
    assert [{name: row[name] for name in first} for row in found] == [first, second]
    assert isinstance(found[0]["payment_amount"], Decimal)
    assert restore.stored_payments(store.client, []) == []
    mine = read(NOON, 5)
    store.put("read_versions", mine, read(NOON, 6, device_id="dev_b"))
    assert [row["value_wh"] for row in restore.stored_reads(store.client, [mine["identity"]], ["dev_a"])] == [
        5
    ]
    assert len(restore.stored_reads(store.client, [mine["identity"]])) == 1
    assert restore.stored_reads(store.client, [mine["identity"]], ["dev_b"]) == []


def test_a_topic_created_again_has_the_next_epoch(store: Store) -> None:
    """The epoch of a topic id never changes, and topics count on their own."""
    assert restore.epoch_for(store.client, "payments", "id-1") == 0
    assert restore.epoch_for(store.client, "payments", "id-2") == 1
    assert restore.epoch_for(store.client, "payments", "id-1") == 0
    assert restore.epoch_for(store.client, "reads", "id-9") == 0


def test_workers_that_race_agree_on_the_epoch(store: Store) -> None:
    """Several register the same new id at once and read the same number."""
    restore.epoch_for(store.client, "payments", "old")
    barrier = threading.Barrier(4)
    found: list[int] = []

    def register() -> None:
        with connect(store.url, database=store.database) as client:
            barrier.wait()
            found.append(restore.epoch_for(client, "payments", "new"))

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1, 1]
