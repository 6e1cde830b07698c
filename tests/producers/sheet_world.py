"""A Google Sheet, a topic and a poller between them."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from google_double import Book, GoogleDouble, Sheet
from s3_world import ORG, Fate, World

from producers.contracts import Dataset, RunState, SheetLocation
from producers.google_account import ServiceAccount
from producers.poller import Poller
from producers.sheets import SheetsAccess

SHEET_HEADER = (
    "ID", "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE", "CUSTOMER_ID", "METER_ID",
    "CUSTOMER_NAME", "CUSTOMER_PHONE", "NOTES",
)  # fmt: skip


def payment_row(number: int) -> list[Any]:
    """A good row, as a person types it: moments and numbers become what spreadsheets make of them."""
    moment = datetime(2024, 5, 16, 14, number // 60 % 60, number % 60)
    return [
        f"UC{number}", moment, 5000.25, "Naira", "FULL_PAYMENT", 45987 + number, f"00{number}",
        f"Jane Doe {number}", 2_348_030_000_000 + number, "",
    ]  # fmt: skip


def payments(rows: int, first: int = 1) -> list[list[Any]]:
    """A header and good rows."""
    return [[*SHEET_HEADER], *(payment_row(first + at) for at in range(rows))]


class SheetWorld(World):
    """One dataset over a spreadsheet of its own."""

    def __init__(self, google: GoogleDouble, s3: Any, kafka: str, topic_prefix: str, bucket: str) -> None:
        self.google = google
        super().__init__(s3, kafka, topic_prefix, bucket)

    def begin(self, prefix: str, store_path: Path | None = None) -> None:
        """A spreadsheet that is shared with the account, named after the prefix; nothing in it yet.

        The dataset was looked at by schedule just now, so that a test meets the runs that it asks for.
        """
        super().begin("1Sheet-" + prefix.strip("/"), store_path)
        looked = self.store.start_scheduled("ds_1", None, 60)
        assert looked is not None
        self.store.finish(looked.id, RunState.DONE)
        self.book = self.google.books[self.prefix] = Book([])
        self.access = SheetsAccess(ServiceAccount(self.google.key()), self.google.url, first_pause_s=0.01)
        self.use()

    def use(self, *ranges: str, schedule: str = "365000000") -> None:
        """Let the dataset read these ranges."""
        location = SheetLocation(self.prefix, ranges)
        dataset = Dataset("ds_1", ORG, "sheet", schedule, location, id_namespace="crm")
        self.dataset = self.datasets.datasets[0] = dataset

    def write(self, rows: Sequence[Sequence[Any]], title: str = "Payments", **options: Any) -> Sheet:
        """Put a sheet with these rows in, or in the place of the one of this name."""
        sheet = Sheet(title, [list(row) for row in rows], **options)
        kept = [one for one in self.book.sheets if one.title != title]
        self.book.sheets = [*kept, sheet]
        return sheet

    def poller(self, fate: Fate | None = None, publisher: Any = None, **options: Any) -> Poller:
        """A poller over this world."""
        return super().poller(fate, publisher, **{"sheets": self.access, **options})
