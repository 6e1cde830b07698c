"""Spreadsheets over the Sheets REST API v4: which sheets there are, and the values of their cells.

Values are asked for unformatted: a formatted amount is rounded and has the sheet's separators. Dates are
then numbers of days since 1899-12-30 (`SERIAL_NUMBER`), whatever form a cell shows them in; what they mean
is for `sheet_cells` to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from producers.backoff import Backoff
from producers.errors import FileRefused, SourceChanged, SourceError, SourceForbidden, SourceUnavailable
from producers.google_account import ServiceAccount
from producers.google_http import FIRST_PAUSE_S, AnswerTooLarge, GoogleHttp, GoogleRefusal
from producers.sheet_ranges import Area
from schemas.outcomes import Code

_FORM: Final = {
    "majorDimension": "ROWS",
    "valueRenderOption": "UNFORMATTED_VALUE",
    "dateTimeRenderOption": "SERIAL_NUMBER",
}

Cells = list[Any]
"""Values of one row: texts, numbers and booleans; empty cells at its end are left out."""
Window = tuple[int, list[Cells]]
"""Number of the first row, and rows from there on; empty rows at the end are left out."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A sheet with cells, whole. A person sees it unless it is hidden."""

    area: Area
    hidden: bool


@dataclass(frozen=True, slots=True)
class SheetsAccess:
    """What the installation needs to read Google Sheets.

    Attributes:
        account: the service account; None where the operator set none up.
        url: base of the API.
        first_pause_s: before a request is repeated for the first time; later pauses grow.
    """

    account: ServiceAccount | None
    url: str
    first_pause_s: float = FIRST_PAUSE_S


NO_SHEETS: Final = SheetsAccess(None, "")
"""An installation in which no service account was set up."""


class SheetsApi:
    """Reads spreadsheets that are shared with a service account. Blocks; belongs to one thread.

    Every call may raise `SourceUnavailable` (repeat), `SourceForbidden` (told to the sheet's owner, or to
    the operator) and `Stopped`.
    """

    def __init__(self, account: ServiceAccount, access: SheetsAccess, backoff: Backoff) -> None:
        self._email = account.email
        self._http = GoogleHttp(account, access.url, backoff, access.first_pause_s)

    def grids(self, spreadsheet_id: str) -> list[Grid]:
        """The sheets that have cells (charts have none), in their order."""
        fields = "sheets.properties(title,hidden,sheetType,gridProperties(rowCount,columnCount))"
        found = self._get(f"/v4/spreadsheets/{quote(spreadsheet_id, safe='')}", {"fields": fields})
        grids = []
        for sheet in _list(found, "sheets"):
            properties = sheet.get("properties", {})
            grid = properties.get("gridProperties", {})
            if properties.get("sheetType", "GRID") == "GRID" and grid.get("rowCount"):
                title, rows, columns = properties["title"], grid["rowCount"], grid.get("columnCount", 1)
                area = Area(str(title), 1, int(rows), 1, int(columns))
                grids.append(Grid(area, bool(properties.get("hidden"))))
        return grids

    def area(self, spreadsheet_id: str, text: str) -> Area:
        """The cells that a range stands for: A1 notation or a named range.

        Only Google knows what a name stands for, and where a column that is open below ends. The name of a
        sheet alone may mean something else to it: `Q1` is a cell.

        Raises:
            FileRefused: there is no such range.
        """
        try:
            found = self._values(spreadsheet_id, text, {"fields": "range"})
        except GoogleRefusal as refusal:
            if refusal.http_status != 400:
                raise self._forbidden(refusal) from None
            raise FileRefused(
                Code.WRONG_NAME,
                f"the spreadsheet has no range {text!r}; expected the name of a sheet, a named range, or"
                " cells such as 'Payments'!A1:T",
            ) from None
        try:
            return Area.parse(str(found.get("range")))
        except ValueError:
            raise SourceUnavailable("the answer names no range") from None

    def windows(self, spreadsheet_id: str, area: Area) -> Iterator[Window]:
        """The values of an area, some thousand rows at a time.

        Raises:
            SourceChanged: the sheet was renamed, or has fewer rows or columns by now.
            SourceError: a single row is larger than an answer may be; rows of 256 columns never are.
        """
        first, size = area.first_row, area.rows_at_once
        while first <= area.last_row:
            last = min(first + size - 1, area.last_row)
            try:
                found = self._values(spreadsheet_id, area.window(first, last), _FORM)
            except AnswerTooLarge:
                if size == 1:
                    raise SourceError(f"row {first} is larger than an answer may be") from None
                size //= 2
                continue
            except GoogleRefusal as refusal:
                if refusal.http_status != 400:
                    raise self._forbidden(refusal) from None
                raise SourceChanged("the sheet was renamed or made smaller while it was read") from None
            yield first, _rows(found)
            first = last + 1

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _values(self, spreadsheet_id: str, text: str, query: dict[str, str]) -> dict[str, Any]:
        place = f"/v4/spreadsheets/{quote(spreadsheet_id, safe='')}/values/{quote(text, safe='')}"
        return self._http.get(place, query)

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        try:
            return self._http.get(path, query)
        except GoogleRefusal as refusal:
            raise self._forbidden(refusal) from None
        except AnswerTooLarge:
            raise SourceForbidden("the spreadsheet has more sheets than can be listed") from None

    def _forbidden(self, refusal: GoogleRefusal) -> SourceForbidden:
        """What is to be done about it, and by whom."""
        share = f"share it with {self._email} as a viewer"
        if refusal.reason in ("SERVICE_DISABLED", "accessNotConfigured"):
            text = "the operator must switch the Google Sheets API on in the service account's project"
        elif refusal.reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT":
            text = "the operator must let the service account read spreadsheets"
        elif refusal.http_status == 403:
            text = f"the spreadsheet is not shared with this installation: {share}"
        elif refusal.http_status == 404:
            text = (
                "there is no spreadsheet with this id: copy it from the sheet's address, between /d/ and the"
                f" next slash, and {share}"
            )
        elif refusal.status == "FAILED_PRECONDITION":
            text = (
                "the document is no Google Sheet, perhaps an Excel file in Drive: save it as a Google Sheet,"
                " and use the id of that"
            )
        else:
            text = f"Google refuses: {refusal}"
        return SourceForbidden(text)


def _list(found: dict[str, Any], name: str) -> Sequence[dict[str, Any]]:
    entries = found.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceUnavailable(f"the answer's {name!r} has another form than expected")
    return entries


def _rows(found: dict[str, Any]) -> list[Cells]:
    rows = found.get("values", [])
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise SourceUnavailable("the answer's values are not rows of cells")
    return rows
