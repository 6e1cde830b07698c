"""Inserts: whole batches over Arrow, repeatable, and errors sorted by what cures them."""

import socket
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from sinks_helpers import NOON, Store, payment

from sinks.client import connect, factory
from sinks.errors import Refused, Retryable, classify
from sinks.tables import SCHEMAS, batch, batch_of_rows
from sinks.writer import Writer


def test_values_come_back_as_they_went_in(store: Store) -> None:
    """Decimals, UTC milliseconds, maps, lists and NULLs survive the way to the table and back."""
    sent = payment(
        payment_amount=Decimal("-1234567890123.123456789"),
        timestamp=datetime(1900, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
        custom={"Übung": "ja\n", "b": ""},
        supplied=["ID", "custom"],
        latitude=-1.25,
        customer_id="\u0000 ☀",
        identity=2**64 - 1,
        position=2**63 + 5,
    )
    store.put("payment_versions", sent)
    names = ", ".join(sent)
    got = store.rows(f"SELECT {names} FROM payment_versions")[0]
    assert got == sent


def test_an_insert_again_changes_nothing(store: Store) -> None:
    """A batch whose answer was lost is inserted again; views count it once, before any merge."""
    rows = [payment() for _ in range(50)]
    store.pay(*rows)
    store.pay(*rows)
    assert store.rows("SELECT count() AS n, sum(payment_amount) AS s FROM payments") == [
        {"n": 50, "s": Decimal(500)}
    ]


def test_the_first_stored_row_of_a_key_wins(store: Store) -> None:
    """A later insert of the same version, even with other fields, does not rewrite it."""
    first = payment(status="assigned")
    store.pay(first)
    store.pay({**first, "status": "other"})
    assert store.rows("SELECT status FROM payments") == [{"status": "assigned"}]
    store.client.command("OPTIMIZE TABLE payment_versions FINAL")
    assert store.rows("SELECT status FROM payment_versions") == [{"status": "assigned"}]


def test_an_empty_batch_is_nothing(store: Store) -> None:
    """No rows, no statement."""
    store.writer.insert("payment_keys", SCHEMAS["payment_keys"].empty_table())


def test_threads_have_connections_of_their_own(store: Store) -> None:
    """Several threads insert at once and lose nothing."""
    rows = [[payment() for _ in range(200)] for _ in range(4)]
    threads = [threading.Thread(target=store.put, args=("payment_versions", *part)) for part in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.rows("SELECT count() AS n FROM payments") == [{"n": 800}]


def test_rows_the_server_cannot_take_are_refused(store: Store) -> None:
    """A value that never fits its column is not worth a second try, and is not quoted in the error."""
    bad = pa.record_batch({"identity": pa.array(["secret-name"]), "organization_id": pa.array(["org_a"])})
    with pytest.raises(Refused) as caught:
        store.writer.insert("payment_versions", bad)
    assert "secret-name" not in str(caught.value)


def test_a_null_where_none_belongs_is_refused(store: Store) -> None:
    """It does not silently become an empty text."""
    bad = pa.record_batch({"organization_id": pa.array([None], type=pa.string())})
    with pytest.raises(Refused):
        store.writer.insert("payment_versions", bad)


def test_a_missing_table_is_retried(store: Store) -> None:
    """What an operator can cure is no reason to throw rows away."""
    with pytest.raises(Retryable):
        store.writer.insert("not_there", batch("payment_keys", {"home": [1]}))


def test_a_store_that_is_away_is_retried_and_found_again(store: Store) -> None:
    """Without a server the insert is retryable; the same writer works once there is one."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{held.getsockname()[1]}"
    urls = [closed, store.url]
    writer = Writer(lambda: connect(urls.pop(0), database=store.database), store.database)
    rows = batch_of_rows("payment_versions", [payment(customer_name="n")])
    with pytest.raises(Retryable):
        writer.insert("payment_versions", rows)
    writer.insert("payment_versions", rows)
    writer.close()
    assert store.rows("SELECT count() AS n FROM payments") == [{"n": 1}]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Code: 252. DB::Exception: Too many parts", Retryable),
        ("Code: 241. DB::Exception: Memory limit exceeded", Retryable),
        ("Code: 159. DB::Exception: Timeout exceeded", Retryable),
        ("Code: 60. DB::Exception: Table does not exist", Retryable),
        ("HTTP driver received HTTP status 503", Retryable),
        ("Code: 53. DB::Exception: Type mismatch", Refused),
        ("Code: 469. DB::Exception: Constraint violated", Refused),
        ("Code: 117. DB::Exception: Incorrect data: 0801234567", Refused),
    ],
)
def test_errors_are_sorted_by_what_cures_them(text: str, kind: type[Exception]) -> None:
    """Overload, time and absence are retried; faults of the rows are not. Values are not repeated."""
    found = classify(RuntimeError(text))
    assert type(found) is kind
    assert "0801234567" not in str(found)


def test_batches_refuse_what_does_not_fit() -> None:
    """A number out of range, an unknown column and unequal lengths are found before the insert."""
    for columns in ({"line": [-1]}, {"nope": [1]}, {"line": [1], "home": [1, 2]}, {"payment_amount": ["x"]}):
        with pytest.raises(Refused):
            batch("payment_versions", columns)
    assert batch_of_rows("payment_versions", []).num_rows == 0


def test_times_come_back_aware(store: Store) -> None:
    """No naive time leaves the store: it would be read as local time."""
    store.pay(payment())
    row = store.rows("SELECT timestamp, stored_at FROM payments")[0]
    assert row["timestamp"] == NOON
    assert row["stored_at"].utcoffset().total_seconds() == 0


def test_a_wrong_password_is_retryable(store: Store) -> None:
    """An operator cures it; rows wait."""
    host = store.url.rsplit("@", 1)[1]
    writer = Writer(factory(f"http://{host}", user="nobody", password="wrong"), store.database)
    with pytest.raises(Retryable):
        writer.insert("payment_keys", batch("payment_keys", {"home": [1]}))
