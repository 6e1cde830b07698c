"""The client of the Sheets API against a double: tokens, quotas, outages, refusals in words."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from google_double import (
    EMAIL,
    Book,
    GoogleDouble,
    Refused,
    Sheet,
    broken,
    cut_off,
    elsewhere,
    expired,
    quota,
    reason,
    server_error,
    slow,
)

from producers import google_http
from producers.backoff import Backoff, Stopped
from producers.errors import FileRefused, SourceChanged, SourceError, SourceForbidden, SourceUnavailable
from producers.google_account import KeyFileUnusable, ServiceAccount
from producers.sheet_ranges import Area
from producers.sheets import SheetsAccess, SheetsApi
from schemas.outcomes import Code
from sunledger.settings import ProducersSettings, SettingsFaults, load

ID = "1AbCdEfGhIjKlMn"


@contextmanager
def opened(google: GoogleDouble, stop: threading.Event | None = None, **key: str) -> Iterator[SheetsApi]:
    """A client with pauses that tests can wait for."""
    account = ServiceAccount({**google.key(), **key})
    access = SheetsAccess(account, google.url, first_pause_s=0.002)
    api = SheetsApi(account, access, Backoff(stop or threading.Event()))
    try:
        yield api
    finally:
        api.close()


@pytest.fixture
def api(google: GoogleDouble) -> Iterator[SheetsApi]:
    """A client, and a spreadsheet with a little of everything."""
    sheets = [
        Sheet("Payments", [["ID", "METER_ID"], ["UC1", "001"], [], ["UC2", 2.5]]),
        Sheet("Old", [["ID"]], hidden=True),
        Sheet("Graph", [], kind="OBJECT"),
        Sheet("Q1", [["x"]]),
        Sheet("It's 'ours'!", [["y"]], size=(3, 2)),
    ]
    google.books[ID] = Book(sheets, named={"ALL_PAYMENTS": "Payments!A2:B4"})
    with opened(google) as made:
        yield made


def grids(api: SheetsApi) -> list[Area]:
    """The sheets that a person sees."""
    return [grid.area for grid in api.grids(ID) if not grid.hidden]


def read(api: SheetsApi, area: Area) -> list[Any]:
    """All windows of an area."""
    return list(api.windows(ID, area))


def test_visible_sheets_and_their_cells(api: SheetsApi) -> None:
    """Hidden sheets and charts are left out; a grid is as large as Google says; titles may be odd."""
    found = grids(api)
    assert found == [
        Area("Payments", 1, 11, 1, 5),
        Area("Q1", 1, 8, 1, 4),
        Area("It's 'ours'!", 1, 3, 1, 2),
    ]
    assert read(api, found[0]) == [(1, [["ID", "METER_ID"], ["UC1", "001"], [], ["UC2", 2.5]])]
    assert read(api, found[1]) == [(1, [["x"]])]
    assert read(api, found[2]) == [(1, [["y"]])]
    assert [grid.area.sheet for grid in api.grids(ID) if grid.hidden] == ["Old"]


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("Payments!A2:B", Area("Payments", 2, 11, 1, 2)),
        ("Payments!B2:B3", Area("Payments", 2, 3, 2, 2)),
        ("Payments!2:3", Area("Payments", 2, 3, 1, 5)),
        ("'It''s ''ours''!'!A1", Area("It's 'ours'!", 1, 1, 1, 1)),
        ("ALL_PAYMENTS", Area("Payments", 2, 4, 1, 2)),
        ("A1:B2", Area("Payments", 1, 2, 1, 2)),
        ("Old!A:A", Area("Old", 1, 8, 1, 1)),
    ],
)
def test_ranges_are_what_google_makes_of_them(api: SheetsApi, text: str, area: Area) -> None:
    """Open columns, rows, quoted and named ranges, hidden sheets: cells within the grid."""
    assert api.area(ID, text) == area


@pytest.mark.parametrize("text", ["Paymnts!A:B", "Nothing", "Payments!A1:[5", "Payments!A5000:B", "../x?y#z"])
def test_a_range_that_is_none_is_named(api: SheetsApi, text: str) -> None:
    """The file-level error says what was asked for and what is expected."""
    with pytest.raises(FileRefused, match="expected the name of a sheet") as refused:
        api.area(ID, text)
    assert refused.value.code is Code.WRONG_NAME
    assert repr(text) in refused.value.detail


def test_rows_come_in_windows(api: SheetsApi, google: GoogleDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is for some rows; empty windows in the middle do not end the reading."""
    rows = [["ID"], *([f"UC{n}"] for n in range(5)), *([] for _ in range(9)), ["UC9"]]
    google.books[ID].sheets = [Sheet("S", rows, size=(20, 2))]
    monkeypatch.setattr("producers.sheet_ranges.ROWS_AT_ONCE", 4)
    (area,) = grids(api)
    found = read(api, area)
    assert [first for first, _ in found] == [1, 5, 9, 13, 17]
    assert [row for _, part in found for row in part if row] == [row for row in rows if row]
    assert [path.rpartition("/")[2] for path, _ in google.asked[1:3]] == [
        "%27S%27%21A1%3AB4",
        "%27S%27%21A5%3AB8",
    ]


def test_an_answer_that_is_too_large_is_asked_for_in_parts(
    api: SheetsApi, google: GoogleDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded whatever stands in the cells; a single row beyond it is an error."""
    google.books[ID].sheets = [Sheet("S", [["x" * 300, n] for n in range(16)], size=(16, 2))]
    monkeypatch.setattr(google_http, "MAX_ANSWER_BYTES", 2000)
    (area,) = grids(api)
    found = read(api, area)
    assert [row[1] for _, part in found for row in part] == list(range(16))
    assert [first for first, _ in found] == [1, 5, 9, 13]
    monkeypatch.setattr(google_http, "MAX_ANSWER_BYTES", 310)
    with pytest.raises(SourceError, match="row 1 is larger than an answer may be"):
        read(api, area)


def test_one_token_serves_many_requests(api: SheetsApi, google: GoogleDouble) -> None:
    """A token is asked for once, with a signed assertion, and used until it expires."""
    for _ in range(3):
        grids(api)
    assert google.issued == 1


def test_an_expired_token_is_renewed_once(api: SheetsApi, google: GoogleDouble) -> None:
    """401 in the middle of a reading: a new token, the same request; a second 401 is told."""
    grids(api)
    google.trouble.append(expired)
    grids(api)
    assert google.issued == 2
    google.trouble.extend([expired, expired])
    with pytest.raises(SourceForbidden, match=f"does not take the access tokens of {EMAIL}"):
        grids(api)


@pytest.mark.parametrize("trouble", [quota(), server_error(500), server_error(503), broken, cut_off])
def test_what_passes_is_waited_for(api: SheetsApi, google: GoogleDouble, trouble: Any) -> None:
    """Quotas, errors of the server and broken connections: the request is made again until it works."""
    google.trouble.extend([trouble] * 4)
    assert len(grids(api)) == 3
    assert len(google.asked) == 5


def test_garbage_and_wrong_forms_are_waited_for(api: SheetsApi, google: GoogleDouble) -> None:
    """An answer that is no JSON object is as good as none; one of another form ends the reading."""
    google.trouble.extend(
        [lambda request: request.send(200, b"<html>"), lambda request: request.send(200, [])]
    )
    assert len(grids(api)) == 3
    for wrong in ({"sheets": 5}, {"sheets": [5]}):
        google.trouble.append(lambda request, wrong=wrong: request.send(200, wrong))
        with pytest.raises(SourceUnavailable, match="another form"):
            grids(api)
    google.trouble.append(lambda request: request.send(200, {"values": [5]}))
    with pytest.raises(SourceUnavailable, match="not rows of cells"):
        read(api, Area("Payments", 1, 2, 1, 2))


def test_waiting_ends(api: SheetsApi, google: GoogleDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many attempts the source counts as away, with what Google said last, without its prose."""
    monkeypatch.setattr(google_http, "ATTEMPTS", 3)
    google.trouble.extend([quota()] * 3)
    with pytest.raises(SourceUnavailable) as told:
        grids(api)
    assert str(told.value) == "Google answers 429 RESOURCE_EXHAUSTED RATE_LIMIT_EXCEEDED"
    google.trouble.extend([broken] * 3)
    with pytest.raises(SourceUnavailable, match="no answer: "):
        grids(api)


def test_pauses_grow_and_retry_after_is_honoured(
    api: SheetsApi, google: GoogleDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exponential pauses; seconds or a date of `Retry-After` instead; an unreadable one is ignored."""
    waited: list[float] = []
    monkeypatch.setattr(Backoff, "pause", lambda self, seconds: waited.append(seconds) or time.sleep(seconds))
    google.trouble.extend([quota()] * 5)
    grids(api)
    assert waited[0] >= 0.002
    assert all(later > earlier * 1.5 for earlier, later in pairwise(waited))
    waited.clear()
    google.trouble.append(quota("1"))
    grids(api)
    assert sum(waited) >= 1
    google.trouble.extend(
        [quota("soon"), quota(format_datetime(datetime.now(UTC) - timedelta(1), usegmt=True))]
    )
    began = len(google.asked)
    grids(api)
    assert len(google.asked) == began + 3
    assert google_http._told({"Retry-After": "86400"}) == google_http.LONGEST_RETRY_AFTER_S


def test_stopping_does_not_wait(google: GoogleDouble) -> None:
    """A process that is to end does not sit out a quota."""
    google.books[ID] = Book([])
    stop = threading.Event()
    with opened(google, stop) as api:
        google.trouble.append(quota("300"))
        threading.Timer(0.1, stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            grids(api)
        assert time.monotonic() - began < 60


def test_a_slow_answer_is_given_up(api: SheetsApi, google: GoogleDouble) -> None:
    """A server that says nothing is asked again after the time limit."""
    api._http._http.connection_pool_kw["timeout"] = 0.2
    api._http._http.clear()
    google.trouble.append(slow(2))
    assert len(grids(api)) == 3


def _disable(google: GoogleDouble) -> None:
    google.api_disabled = True


def _unshare(google: GoogleDouble) -> None:
    google.books[ID].readers.clear()


def _office(google: GoogleDouble) -> None:
    google.books[ID].is_office_file = True


def _scope(google: GoogleDouble) -> None:
    refused = Refused(403, "PERMISSION_DENIED", "x", reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT"))
    google.trouble.append(lambda request: request.refuse(refused))


def _strange(google: GoogleDouble) -> None:
    google.trouble.append(lambda request: request.send(418, b"teapot"))


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_unshare, f"is not shared with this installation: share it with {EMAIL} as a viewer"),
        (
            lambda google: google.books.clear(),
            f"no spreadsheet with this id.*share it with {EMAIL} as a viewer",
        ),
        (_disable, "the operator must switch the Google Sheets API on"),
        (_scope, "the operator must let the service account read spreadsheets"),
        (_office, "no Google Sheet, perhaps an Excel file in Drive"),
        (_strange, "Google refuses: 418"),
    ],
)
def test_refusals_say_what_to_do(
    api: SheetsApi, google: GoogleDouble, prepare: Callable[[GoogleDouble], None], words: str
) -> None:
    """Not shared, no such spreadsheet, API switched off: who has to do what, and with which address."""
    prepare(google)
    with pytest.raises(SourceForbidden, match=words) as told:
        grids(api)
    assert ID not in str(told.value)
    assert len(google.asked) == 1


def test_a_sheet_that_changes_between_windows_is_told(api: SheetsApi, google: GoogleDouble) -> None:
    """Renamed or made smaller while it is read: what was asked for is not there any more."""
    (area, *_) = grids(api)
    google.books[ID].sheets[0].title = "Renamed"
    with pytest.raises(SourceChanged, match="renamed or made smaller"):
        read(api, area)
    google.books[ID].readers.clear()
    for call in (lambda: read(api, area), lambda: api.area(ID, "Renamed!A:B")):
        with pytest.raises(SourceForbidden, match="not shared"):
            call()


def test_redirects_lead_nowhere(api: SheetsApi, google: GoogleDouble) -> None:
    """Neither the API nor the token endpoint can send the client, and its token, somewhere else."""
    with GoogleDouble() as other:
        google.trouble.append(elsewhere(f"{other.url}/v4/spreadsheets/{ID}"))
        with pytest.raises(SourceForbidden, match="Google refuses: 302"):
            grids(api)
        google.token_trouble.append((307, {"location": f"{other.url}/token"}))
        with opened(google) as fresh, pytest.raises(SourceForbidden, match="no access token is issued"):
            grids(fresh)
        assert other.asked == []
        assert other.issued == 0


def test_only_the_two_hosts_of_the_operator_are_connected_to(google: GoogleDouble) -> None:
    """The guard of addresses holds: even the operator's own choice cannot be a metadata service."""
    for place in ("token_uri", "url"):
        key = google.key()
        url = "http://169.254.169.254/"
        account = ServiceAccount({**key, "token_uri": url} if place == "token_uri" else key)
        access = SheetsAccess(account, url if place == "url" else google.url, first_pause_s=0.002)
        with pytest.raises(SourceForbidden, match="may not be connected to"):
            SheetsApi(account, access, Backoff(threading.Event())).grids(ID)
    assert google.asked == []


def test_token_errors_are_told_apart(google: GoogleDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not taken is the operator's matter; an endpoint in trouble is waited for."""
    google.books[ID] = Book([])
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)
    with opened(google, private_key=google.key("another")["private_key"]) as api:
        with pytest.raises(SourceForbidden, match=rf"for the service account {EMAIL} \(invalid_grant\)"):
            grids(api)
    for trouble in ((500, {}), (503, "<html>")):
        google.token_trouble.extend([trouble] * 4)
    with opened(google) as api:
        assert grids(api) == []
    google.token_trouble.append((200, {"no": "token"}))
    with opened(google) as api, pytest.raises(SourceForbidden, match="no reason given"):
        grids(api)


def test_no_token_and_no_key_in_the_log(api: SheetsApi, google: GoogleDouble) -> None:
    """What is logged while things go wrong names neither the spreadsheet nor a token."""
    google.trouble.extend([quota(), broken, server_error(), expired])
    with structlog.testing.capture_logs() as logs:
        grids(api)
    assert len(logs) == 3
    text = json.dumps(logs)
    assert ID not in text
    assert "ya29" not in text
    assert "PRIVATE" not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"type": "authorized_user"}', "has the type 'authorized_user', expected 'service_account'"),
        ('{"type": "service_account", "client_email": "a@b"}', "has no private_key, token_uri"),
        (
            '{"type": "service_account", "client_email": "a@b", "private_key": "SECRET", "token_uri": "u"}',
            "has a private_key that cannot be read",
        ),
    ],
)
def test_key_files_that_are_none(tmp_path: Path, content: str | None, words: str) -> None:
    """What is wrong is said without anything of the key."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(KeyFileUnusable, match=words) as told:
        ServiceAccount.read(path)
    assert "SECRET" not in str(told.value)


def test_settings_say_what_is_wrong_with_the_key(
    google: GoogleDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key file ends the process at its start with the variable's name; a good one is the access."""
    secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    needed = {"kafka": "k:9092", "sql_url": "sqlite://", "credential_key": secret}
    needed |= {"pseudonym_secret": secret, "seal_secret": secret}
    path = tmp_path / "key.json"
    path.write_text('{"type": "authorized_user"}')
    monkeypatch.setenv("SUNLEDGER_GOOGLE_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("SUNLEDGER_SHEETS_URL", "https://sheets.googleapis.com/v4")
    with pytest.raises(SettingsFaults) as faults:
        load(ProducersSettings, **needed)
    assert "SUNLEDGER_GOOGLE_CREDENTIALS_FILE: Value error, has the type 'authorized_user'" in str(
        faults.value
    )
    assert "SUNLEDGER_SHEETS_URL: " in str(faults.value)
    monkeypatch.setenv("SUNLEDGER_GOOGLE_CREDENTIALS_FILE", str(google.key_file(tmp_path)))
    monkeypatch.setenv("SUNLEDGER_SHEETS_URL", google.url)
    access = load(ProducersSettings, **needed).sheets()
    assert access.account is not None
    assert (access.account.email, access.url) == (EMAIL, google.url)
    monkeypatch.setenv("SUNLEDGER_GOOGLE_CREDENTIALS_FILE", "")
    assert load(ProducersSettings, **needed).sheets().account is None


def test_a_key_file_names_the_account(google: GoogleDouble, tmp_path: Path) -> None:
    """The address that a spreadsheet has to be shared with, and where tokens are issued."""
    account = ServiceAccount.read(google.key_file(tmp_path))
    assert (account.email, account.token_url) == (EMAIL, f"{google.url}/token")
