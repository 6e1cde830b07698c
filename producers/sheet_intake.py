"""One look at a Google Sheet: every range, or every visible sheet, is read anew and has a receipt of its own.

A range: claim → publish its rows → all acknowledged → `done`. There is nothing to move and no version to
name, so a reading is named after its run. One that broke off, whatever the reason, ends as `replaced`, and
the next one has a name of its own: the sheet may have changed in between, and then a line is another row.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

import orjson
import structlog

from producers.backoff import Backoff
from producers.contracts import Dataset, FileRecord, FileState, Run, RunStore, SheetLocation
from producers.errors import FileRefused, ProducerError, SourceChanged
from producers.feed import RowFeed
from producers.metrics import FILES
from producers.sheet_ranges import Area
from producers.sheet_rows import open_sheet
from producers.sheets import SheetsAccess, SheetsApi, Window
from producers.table_rows import Row

log = structlog.get_logger(__name__)

SOURCE: Final = "sheet"
_LOOKS_AT_ONCE: Final = 5
"""How often a spreadsheet that changes while it is read is looked at before the run fails."""


class _ReadingBroken(ProducerError):
    """The broker was away in the middle of a reading: the next one has to have its own name."""


class SheetIntake:
    """Reads spreadsheets, one dataset at a time. Blocks; belongs to the poller's thread."""

    def __init__(self, store: RunStore, feed: RowFeed, backoff: Backoff, access: SheetsAccess) -> None:
        self._store = store
        self._feed = feed
        self._backoff = backoff
        self._access = access

    def run(self, dataset: Dataset, location: SheetLocation, run: Run) -> str | None:
        """Read all ranges of a dataset; says so when some could not be read, or there was none.

        Raises:
            Stopped: the process is to end; everything unfinished is on record.
            SourceError: Google does not answer, or refuses.
            ProducerError: the dataset cannot be served as it is, or was paused meanwhile.
        """
        self._give_up(dataset)
        account = self._access.account
        if account is None:
            raise ProducerError(
                "this installation has no service account for Google Sheets: the operator sets"
                " SUNLEDGER_GOOGLE_CREDENTIALS_FILE"
            )
        api = SheetsApi(account, self._access, self._backoff)
        try:
            looks = 0
            while looks < _LOOKS_AT_ONCE:
                try:
                    return self._look(api, dataset, location, run)
                except (SourceChanged, _ReadingBroken) as broken:
                    looks += isinstance(broken, SourceChanged)
                    log.info("sheet_read_anew", dataset_id=dataset.id, why=str(broken))
                    self._give_up(dataset)
            raise SourceChanged("the sheet changes faster than it is read")
        finally:
            api.close()

    def _look(self, api: SheetsApi, dataset: Dataset, location: SheetLocation, run: Run) -> str | None:
        """Read what was not read to its end in this run."""
        grids = api.grids(location.spreadsheet_id)
        areas = {grid.area.sheet: grid.area for grid in grids}
        visible = [grid.area.sheet for grid in grids if not grid.hidden]
        names = list(dict.fromkeys(location.ranges or visible))
        files = []
        for name in names:
            file = self._claimed(dataset, location, run, name)
            if file.state is not FileState.DONE:
                range_ = _Range(api, location.spreadsheet_id, name, areas.get(name), dataset.profile)
                file = self._published(dataset, file, range_)
            files.append(file)
        refused = sum(file.error is not None for file in files)
        if refused:
            return f"{refused} of {len(names)} ranges could not be read; their files say why"
        return None if names else "the spreadsheet has no visible sheet"

    def _published(self, dataset: Dataset, file: FileRecord, range_: "_Range") -> FileRecord:
        """One range, published or refused; both is its end."""
        try:
            received = self._feed.publish(dataset, file, SOURCE, range_.open)
        except FileRefused as refusal:
            log.warning("sheet_refused", dataset_id=dataset.id, file_id=file.id, code=refusal.code.value)
            FILES.labels("refused").inc()
            code = refusal.code.value
            return self._store.advance(file.id, FileState.DONE, error=code, detail=refusal.detail)
        FILES.labels("processed").inc()
        content_hash = range_.content_hash
        return self._store.advance(file.id, FileState.DONE, received=received, content_hash=content_hash)

    def _claimed(self, dataset: Dataset, location: SheetLocation, run: Run, name: str) -> FileRecord:
        """The record under which a range is read in this run; `done` if it was."""
        first = f"sheet://{location.spreadsheet_id}/{name}@{run.id}"
        for reading in count(1):
            self._backoff.check()
            source_ref = first if reading == 1 else f"{first}.{reading}"
            file = self._store.claim(run.id, dataset.id, SOURCE, source_ref)
            if file.state is not FileState.REPLACED:
                break
        return file

    def _give_up(self, dataset: Dataset) -> None:
        """End readings that broke off; what they published stays."""
        for file in self._store.unfinished(dataset.id):
            FILES.labels("replaced").inc()
            self._store.advance(file.id, FileState.REPLACED)


class _Range:
    """One range as the feed opens it, once.

    Args:
        name: what the dataset calls it.
        area: the whole sheet of that name; None when there is none.
    """

    def __init__(
        self, api: SheetsApi, spreadsheet_id: str, name: str, area: Area | None, profile: str
    ) -> None:
        self._api = api
        self._spreadsheet_id = spreadsheet_id
        self._name = name
        self._area = area
        self._profile = profile
        self._digest = hashlib.sha256()
        self._opened = False

    @property
    def content_hash(self) -> str:
        """SHA-256 in hex of the rows that were read last, empty ones apart, each with its number."""
        return self._digest.hexdigest()

    @contextmanager
    def open(self) -> Iterator[Iterable[Sequence[Row]]]:
        """The rows; see `producers.feed.Opened`.

        Raises:
            _ReadingBroken: they were opened before.
        """
        if self._opened:
            raise _ReadingBroken("the broker was away while the range was read")
        self._opened = True
        area = self._area or self._api.area(self._spreadsheet_id, self._name)
        read = partial(self._api.windows, self._spreadsheet_id, area)
        yield open_sheet(lambda: self._hashed(read()), read, self._profile).batches()

    def _hashed(self, windows: Iterator[Window]) -> Iterator[Window]:
        for first, rows in windows:
            for line, cells in enumerate(rows, first):
                if cells:
                    self._digest.update(orjson.dumps((line, cells)))
            yield first, rows
