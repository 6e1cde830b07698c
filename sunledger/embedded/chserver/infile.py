"""Rows on their way into the engine, in a file.

chDB's own way to take rows piece by piece (`send_insert`) says that rows are stored when they are not: an
insert that meets its time limit or a full disk ends without a word. The same statement over a file fails
as it must.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sunledger.embedded.chserver.errors import ClickHouseError

_NOT_ENOUGH_SPACE = 243
_FOLDER = "incoming"


def clear(data_dir: Path) -> None:
    """Remove what a killed server left."""
    shutil.rmtree(data_dir / _FOLDER, ignore_errors=True)


@contextmanager
def written(data_dir: Path) -> Iterator[IO[bytes]]:
    """A file beside the data, gone afterwards. Raises ClickHouseError when the disk has no room for it."""
    folder = data_dir / _FOLDER
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="rows-") as file:
            yield file
    except OSError as error:
        text = f"Cannot write {error.filename or 'the rows'}: {error.strerror}"
        raise ClickHouseError.make(_NOT_ENOUGH_SPACE, "NOT_ENOUGH_SPACE", text) from None
