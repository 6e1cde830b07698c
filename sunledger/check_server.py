"""`sunledger check --server`: the file goes to an API as a dry run of an upload; nothing is kept there."""

import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from sunledger.check import CANNOT_OPEN, Answer, Progress
from sunledger.demo.client import ApiClient
from sunledger.why import asked

PATH: Final = "/v1/uploads"
LIMIT_S: Final = 3600.0
"""How long an answer is waited for: a large file is judged row by row before there is one."""


def check_there(
    api: ApiClient, file: Path, fields: Mapping[str, str | Sequence[str]], progress: Progress
) -> Answer:
    """The server's report on a file; `fields` are those of the upload beside the file.

    Raises:
        ServerFailed: the server does not answer, or refuses.
    """
    try:
        source = file.open("rb")
    except OSError as error:
        return Answer(_nothing_read(file, f"the file cannot be read: {error.strerror}"))
    with source:
        body = Multipart({**fields, "dry_run": "true"}, file.name, source, progress)
        return Answer(asked(api, lambda: api.send(PATH, body, body.content_type, len(body), LIMIT_S)))


def _nothing_read(file: Path, detail: str) -> dict[str, Any]:
    zero = {"accepted": 0, "duplicate": 0, "conflict": 0, "quarantined": 0}
    return {
        "file": file.name, "profile": "upload", "rows": 0, "ok": 0, "bad": 0,
        "file_error": {"code": CANNOT_OPEN, "detail": detail}, "errors": [], "errors_total": 0, "reasons": {},
        "outcomes": zero, "duplicates": [], "conflicts": [], "warnings": [],
    }  # fmt: skip


class Multipart:
    """A body of multipart/form-data (RFC 7578) that is read from the file while it is sent."""

    def __init__(
        self,
        fields: Mapping[str, str | Sequence[str]],
        name: str,
        source: IO[bytes],
        progress: Progress = lambda done: None,
    ) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        head = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, values in fields.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        head.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._source = source
        self._progress = progress
        size = source.seek(0, io.SEEK_END)
        source.seek(0)
        start, end = "".join(head).encode(), f"\r\n--{boundary}--\r\n".encode()
        self._parts: list[IO[bytes]] = [io.BytesIO(start), source, io.BytesIO(end)]
        self._length = len(start) + size + len(end)

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; empty at the end."""
        while self._parts:
            data = self._parts[0].read(size if size > 0 else 1 << 16)
            if data:
                self._progress(self._source.tell())
                return data
            self._parts.pop(0)
        return b""
