"""`sunledger check`: exit codes, the JSON, the story, and what it writes."""

import csv
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from click.testing import Result
from typer.testing import CliRunner

from sunledger.cli import app
from tests.support.workers import payment

NAME = "ELECTRICITY_PAYMENT.csv"


def run(*arguments: object) -> Result:
    """The command's end."""
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def write(folder: Path, *rows: dict[str, Any], name: str = NAME, delimiter: str = ",") -> Path:
    """A file of these rows."""
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_good_file_passes(tmp_path: Path) -> None:
    """Code 0, in words and as JSON with the promised keys."""
    path = write(tmp_path, payment(1), payment(2))
    told = run(path)
    assert (told.exit_code, "2 rows: 2 pass, 0 do not" in told.stdout) == (0, True)
    answer = run(path, "--json")
    found = json.loads(answer.stdout)
    assert answer.exit_code == 0
    assert found.items() >= {
        "file": NAME, "profile": "s3", "rows": 2, "ok": 2, "bad": 0, "file_error": None, "errors": []
    }.items()  # fmt: skip
    assert found["warnings"] == []


def test_bad_rows_are_told_with_line_field_and_code(tmp_path: Path) -> None:
    """Code 1; every error in the JSON and in the file, the first ones in the story; no value of a row."""
    bad = payment(2, PAYMENT_AMOUNT="1,234", CUSTOMER_PHONE="2.34567E+11")
    path = write(tmp_path, payment(1), bad, payment(1), payment(1, PAYMENT_AMOUNT="7"), name="[x] may.csv")
    errors = tmp_path / "errors.csv"
    answer = run(path, "--json", "--errors", errors)
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["rows"], found["ok"], found["bad"]) == (1, 4, 3, 1)
    assert [(one["line"], one["field"], one["code"]) for one in found["errors"]] == [
        (3, "PAYMENT_AMOUNT", "bad_decimal"), (3, "CUSTOMER_PHONE", "bad_phone")
    ]  # fmt: skip
    assert found["outcomes"] == {"accepted": 1, "duplicate": 1, "conflict": 1, "quarantined": 1}
    assert found["duplicates"] == [{"line": 4, "first_line": 2}]
    assert found["conflicts"] == [
        {"line": 5, "first_line": 2, "fields": ["PAYMENT_AMOUNT"], "decision": None}
    ]
    assert [one["code"] for one in found["warnings"]] == ["wrong_name"]
    assert json.loads(run(path, "--json", "--profile", "sheet").stdout)["warnings"] == []
    with errors.open(newline="") as lines:
        assert [row["code"] for row in csv.DictReader(lines)] == ["bad_decimal", "bad_phone"]
    told = run(path)
    assert told.exit_code == 1
    for text in ("[x] may.csv", "4 rows: 3 pass, 1 do not", "bad_phone", "people do", "PAYMENT_AMOUNT"):
        assert text in told.stdout
    for text in ("Secret Name", "+23480", "2.34567E"):
        assert text not in told.stdout + answer.stdout + errors.read_text()


def test_more_errors_than_are_kept_are_all_in_the_json(tmp_path: Path) -> None:
    """The report keeps the first thousand in memory; the JSON has every one."""
    rows = [payment(number, PAYMENT_AMOUNT="x", TIMESTAMP="y") for number in range(700)]
    found = json.loads(run(write(tmp_path, *rows), "--json").stdout)
    assert (len(found["errors"]), found["errors_total"]) == (1400, 1400)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"a,b\n1,2\n", "bad_header"),
        (b"PK\x03\x04x", "bad_encoding"),
        (None, "cannot_open"),
    ],
)
def test_a_file_that_cannot_be_read_ends_with_code_2(
    tmp_path: Path, content: bytes | None, code: str
) -> None:
    """The reason is in the JSON, no row is counted, and the story says it too."""
    path = tmp_path / NAME
    if content is not None:
        path.write_bytes(content)
    answer = run(path, "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["rows"], found["errors"], found["file_error"]["code"]) == (2, 0, [], code)
    told = run(path)
    assert (told.exit_code, code in told.stdout) == (2, True)


def test_the_profile_and_the_dataset_s_terms_can_be_given(tmp_path: Path) -> None:
    """Uploads need less, and get the default currency; a programme may require more."""
    path = write(tmp_path, payment(1, PAYMENT_CURRENCY=None, TRANSACTION_TYPE=None, CUSTOMER_PHONE=None))
    assert run(path).exit_code == 2
    naira = ("--profile", "upload", "--default-currency", "NGN")
    assert run(path, *naira).exit_code == 0
    for terms, field in (((*naira, "--required", "STATUS"), "STATUS"), (naira[:2], "PAYMENT_CURRENCY")):
        missing = run(path, *terms, "--json")
        assert [one["field"] for one in json.loads(missing.stdout)["errors"]] == [field]
    francs = write(tmp_path, payment(1, PAYMENT_CURRENCY="CFA"))
    assert run(francs, "--profile", "upload").exit_code == 1
    assert run(francs, "--profile", "upload", "--default-currency", "xof").exit_code == 0


def test_the_corrected_copy_passes_where_the_file_did_not(tmp_path: Path) -> None:
    """Headers, spaces, dates, case; the exit code stays that of the file, the report tells of both."""
    odd = payment(1, TIMESTAMP="2026/05/16 14:16", PAYMENT_CURRENCY="ngn", METER_ID=" M1 ")
    path = write(tmp_path, {"id" if name == "ID" else name: value for name, value in odd.items()})
    copy = tmp_path / "corrected.csv"
    answer = run(path, "--corrected", copy, "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["file_error"]["code"]) == (2, "bad_header")
    corrected = found["corrected"]
    assert (corrected["file"], corrected["rows"], corrected["ok"], corrected["left_out"]) == (
        str(copy),
        1,
        1,
        0,
    )
    assert corrected["changes"] == {
        "headers": [{"column": 1, "found": "id", "now": "ID"}],
        "cells": {
            "METER_ID": {"spaces": 1}, "PAYMENT_CURRENCY": {"case": 1}, "TIMESTAMP": {"date form": 1}
        },
    }  # fmt: skip
    assert copy.stat().st_mode & 0o077 == 0
    assert run(copy).exit_code == 0
    assert "1 of 1 rows pass" in run(path, "--corrected", copy).stdout


def test_what_cannot_be_corrected_writes_nothing(tmp_path: Path) -> None:
    """No half copy, no file over the one that is checked; the reason is told."""
    path = write(tmp_path, {"a": "1", "b": "2"})
    copy = tmp_path / "copy.csv"
    answer = run(path, "--corrected", copy, "--json")
    corrected = json.loads(answer.stdout)["corrected"]
    assert (corrected["file"], corrected["file_error"]["code"]) == (None, "bad_header")
    good = write(tmp_path, payment(1))
    before = good.read_bytes()
    for option in ("--corrected", "--errors"):
        refused = run(good, option, good)
        assert (refused.exit_code, "is the file that is checked" in refused.stderr) == (2, True)
    away = run(good, "--corrected", tmp_path / "nowhere" / "copy.csv")
    assert (away.exit_code, "cannot be written" in away.stderr) == (2, True)
    assert good.read_bytes() == before
    assert sorted(found.name for found in tmp_path.iterdir()) == [NAME]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--required", "SATUS"], "'SATUS'"),
        (["--default-currency", "francs"], "ISO 4217"),
        (["--dataset", "D"], "--dataset needs --server"),
        (["--organization", "org_x"], "--organization needs --server"),
        (["--corrected", "x", "--errors", "./x"], "name the same file"),
        (["--server", "http://localhost:1"], "--server needs --dataset"),
        (["--server", "http://localhost:1", "--dataset", "D", "--profile", "s3"], "takes uploads"),
        (
            ["--server", "http://localhost:1", "--dataset", "D", "--corrected", "x"],
            "check the file here first",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    """Nothing that was asked for is ignored in silence."""
    answer = run(write(tmp_path, payment(1)), *options)
    assert (answer.exit_code, said in answer.stderr) == (2, True), answer.stderr


@contextmanager
def server(*answers: tuple[int, bytes], seen: list[bytes] | None = None) -> Iterator[str]:
    """The address of a server that gives these answers, one after the other; `seen` gets what it was sent."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if seen is not None:
                seen.append(body)
            status, body = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}"
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def problem(status: int, title: str, detail: str, **errors: str) -> tuple[int, bytes]:
    """An answer of the API that is an error."""
    faults = [{"field": field, "code": "c", "detail": text} for field, text in errors.items()]
    told = {"type": "urn:x", "title": title, "status": status, "detail": detail, "errors": faults}
    return status, json.dumps(told).encode()


LOGGED_IN = (200, b'{"access_token": "t"}')


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            [problem(401, "Unauthorized", "E-mail or password is wrong.")],
            "the API refuses: Unauthorized: E-mail or password is wrong. (401)",
        ),
        (
            [LOGGED_IN, problem(409, "Conflict", "The dataset is\npaused.")],
            "the API refuses: Conflict: The dataset is paused. (409)",
        ),
        (
            [
                LOGGED_IN,
                problem(422, "Unprocessable Entity", "Some fields are wrong.", project_ids="Unknown."),
            ],
            "the API refuses: Unprocessable Entity: Some fields are wrong.; project_ids: Unknown. (422)",
        ),
        ([(502, b"<html>\nBad gateway</html>")], "the API refuses: Bad Gateway (502)"),
        ([LOGGED_IN, (404, b'["no problem"]')], "the API refuses: Not Found (404)"),
        ([(200, b"<html>")], "the API at {url} does not answer (JSONDecodeError)"),
    ],
)
def test_a_server_that_refuses_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, bytes]], said: str
) -> None:
    """Code 3; title and detail of the problem and what it says of each field, never the answer as it came."""
    monkeypatch.setenv("SUNLEDGER_ADMIN_EMAIL", "admin@sunledger.test")
    monkeypatch.setenv("SUNLEDGER_ADMIN_PASSWORD", "secret")
    with server(*answers) as url:
        answer = run(write(tmp_path, payment(1)), "--server", url, "--dataset", "D", "--json")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (3, "", f"{said}\n".replace("{url}", url))


def test_a_file_that_is_not_there_needs_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the file's matter: code 2, and the report says so."""
    monkeypatch.setenv("SUNLEDGER_ADMIN_EMAIL", "admin@sunledger.test")
    monkeypatch.setenv("SUNLEDGER_ADMIN_PASSWORD", "secret")
    with server(LOGGED_IN) as url:
        answer = run(tmp_path / NAME, "--server", url, "--dataset", "D", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["file_error"]["code"]) == (2, "cannot_open")


def test_a_server_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the admin; without an answer the code is 3 and nothing is printed as a report."""
    path = write(tmp_path, payment(1))
    monkeypatch.setenv("SUNLEDGER_ADMIN_EMAIL", "admin@sunledger.test")
    monkeypatch.setenv("SUNLEDGER_ADMIN_PASSWORD", "secret")
    answer = run(path, "--server", "http://127.0.0.1:9", "--dataset", "D", "--json")
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert answer.stderr == "the API at http://127.0.0.1:9 does not answer (Connection refused)\n"
    named = run(path, "--server", "http://user:word@127.0.0.1:9/x", "--dataset", "D")
    assert "the API at http://127.0.0.1:9/x does not" in named.stderr
    assert "word" not in named.stderr


def test_the_organisation_goes_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the field that an upload names it with: a dataset that exists needs no projects beside it."""
    monkeypatch.setenv("SUNLEDGER_ADMIN_EMAIL", "admin@sunledger.test")
    monkeypatch.setenv("SUNLEDGER_ADMIN_PASSWORD", "secret")
    sent: list[bytes] = []
    with server(LOGGED_IN, problem(422, "T", "D."), seen=sent) as url:
        path = write(tmp_path, payment(1))
        assert run(path, "--server", url, "--dataset", "D", "--organization", "org_1").exit_code == 3
    assert b'name="organization_id"\r\n\r\norg_1\r\n' in sent[-1]


def test_what_comes_from_a_pipe_is_checked_too(tmp_path: Path) -> None:
    """Read twice for its decimal commas, and copied: `sunledger check <(cat FILE)`."""
    data = write(tmp_path, payment(1, PAYMENT_AMOUNT="5,5"), payment(2), delimiter=";").read_bytes()
    pipe, copy = tmp_path / "pipe", tmp_path / "copy.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    answer = run(pipe, "--json", "--corrected", copy)
    writer.join()
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["file"], found["rows"], found["ok"]) == (0, "pipe", 2, 2)
    assert b";5.5;" in copy.read_bytes()


def test_a_misspelt_optional_column_is_told(tmp_path: Path) -> None:
    """With the field that it is nearly named as; not where that field has a column, nor of other columns."""
    path = write(tmp_path, payment(1) | {"STATSU": "processed", "CUSTOMER_UID": "7", "COLOUR": "red"})
    warnings = json.loads(run(path, "--json").stdout)["warnings"]
    (told,) = [one["detail"] for one in warnings if one["code"] == "misspelt_columns"]
    assert told.endswith("not read as it: 'STATSU' (did you mean STATUS?)")
    both = write(tmp_path, payment(1) | {"STATSU": "processed", "STATUS": "pending"})
    assert [one["code"] for one in json.loads(run(both, "--json").stdout)["warnings"]] == ["unknown_columns"]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_last_line_without_a_line_end_is_told(tmp_path: Path, end: str) -> None:
    """A file that was cut within its last cell looks like a whole one: nobody but the sender can know."""
    path = write(tmp_path, payment(1), payment(2))
    path.write_bytes(path.read_bytes().replace(b"\r\n", end.encode()))
    assert json.loads(run(path, "--json").stdout)["warnings"] == []
    path.write_bytes(path.read_bytes().removesuffix(end.encode()))
    found = json.loads(run(path, "--json").stdout)
    assert (found["ok"], [one["code"] for one in found["warnings"]]) == (2, ["no_line_end"])
    assert json.loads(run(path, "--json", "--profile", "sheet").stdout)["warnings"] == []


def test_titles_may_stand_above_the_header_of_a_sheet(tmp_path: Path) -> None:
    """Of a sheet that was exported, as the intake reads it, and of no other file; the copy has none."""
    path = write(tmp_path, payment(1), payment(2, PAYMENT_CURRENCY=" NGN "))
    path.write_bytes(b"Payments of May,,\n,,\n" + path.read_bytes())
    copy = tmp_path / "copy.csv"
    answer = run(path, "--profile", "sheet", "--json", "--corrected", copy)
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["rows"], found["ok"], found["corrected"]["ok"]) == (0, 2, 2, 2)
    assert copy.read_text().startswith("ID,")
    other = run(path, "--json")
    error = json.loads(other.stdout)["file_error"]
    assert (other.exit_code, error["code"], error["detail"][:8]) == (2, "bad_header", "line 1: ")


def test_sheets_that_are_not_read_and_rows_that_are_too_long_are_told(tmp_path: Path) -> None:
    """A workbook's further sheets as a warning; a row that no record holds as the fault it would have."""
    wide = payment(2) | {f"Extra {at}": "x" * 4096 for at in range(216)}
    path = tmp_path / "ELECTRICITY_PAYMENT.xlsx"
    book = xlsxwriter.Workbook(path)
    first, _ = book.add_worksheet("May"), book.add_worksheet("June")
    for at, cells in enumerate([list(wide), list(payment(1).values()), list(wide.values())]):
        first.write_row(at, 0, cells)
    book.close()
    answer = run(path, "--profile", "upload", "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["rows"], found["ok"]) == (1, 2, 1)
    assert [(one["line"], one["code"]) for one in found["errors"]] == [(3, "too_large")]
    assert "further_sheets" in [one["code"] for one in found["warnings"]]
    assert "Warning: only the first visible sheet is read" in run(path, "--profile", "upload").stdout
