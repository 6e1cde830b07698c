"""What the tests of uploads share: files, forms, and the spool looked at."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2 as httpx
import xlsxwriter
from api_helpers import Api

from tests.support.workers import payment

NAME = "ELECTRICITY_PAYMENT.csv"
WORKBOOK = "ELECTRICITY_PAYMENT.xlsx"
BOUNDARY = "sunledger-test-boundary"
KIND = f"multipart/form-data; boundary={BOUNDARY}"
Part = tuple[str, bytes | str, str | None]
"""Name, content, file name."""


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def workbook(rows: Sequence[Mapping[str, Any]], *more: str) -> bytes:
    """Rows as the first sheet of a workbook that has further ones with these names."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    sheet = book.add_worksheet("Payments")
    for at, cells in enumerate([list(rows[0]), *(list(row.values()) for row in rows)]):
        sheet.write_row(at, 0, cells)
    for name in more:
        book.add_worksheet(name)
    book.close()
    return data.getvalue()


def sample(count: int, **changes: Any) -> bytes:
    """A file of so many good payments."""
    return table([payment(number, **changes) for number in range(count)])


def body(*parts: Part, end: bool = True) -> bytes:
    """A multipart body of these parts, in this order."""
    made = b""
    for name, content, file_name in parts:
        more = f'; filename="{file_name}"' if file_name is not None else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
        made += head.encode() + (content.encode() if isinstance(content, str) else content) + b"\r\n"
    return made + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def fields(project: Mapping[str, Any] | None, **changes: str | None) -> dict[str, str]:
    """The fields beside the file."""
    given: dict[str, str | None] = {
        "dataset_name": "01_2026_Site",
        "dataset_type": "electricity_payments",
        "data_provider": "User",
        "project_ids": project["id"] if project else None,
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


async def send(
    api: Api, project: Mapping[str, Any] | None, data: bytes, name: str = NAME, **changes: str | None
) -> httpx.Response:
    """Upload a file."""
    answer: httpx.Response = await api.http.post(
        "/v1/uploads", data=fields(project, **changes), files={"file": (name, data, "text/csv")}
    )
    return answer


async def send_raw(api: Api, content: Any, kind: str = KIND, **headers: str) -> httpx.Response:
    """Post any body."""
    answer: httpx.Response = await api.http.post(
        "/v1/uploads", content=content, headers={"Content-Type": kind, **headers}
    )
    return answer


async def accepted(
    api: Api, project: Mapping[str, Any] | None, data: bytes, **changes: Any
) -> dict[str, Any]:
    """Upload a file that is taken."""
    answer = await send(api, project, data, **changes)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def kept(api: Api) -> list[str]:
    """Ids of the uploads whose file is in the spool."""
    return api.running.spool.uploads()


def left(api: Api) -> list[str]:
    """Everything in the spool's directory but its name."""
    directory = api.running.parts.settings.uploads_directory
    return sorted(set(os.listdir(directory)) - {"spool-id"})
