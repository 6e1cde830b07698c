"""The file that `sunledger check` looks at: one that can be read from its beginning several times."""

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sunledger.check import CheckFailed


@contextmanager
def rereadable(file: Path) -> Iterator[Path]:
    """The file itself, or a copy of what comes from a pipe; the copy keeps its name.

    Only its owner may read the copy, and it is gone at the end. A file that cannot be read is left to the
    check, which says so.

    Raises:
        CheckFailed: it cannot be copied.
    """
    if not _is_stream(file):
        yield file
        return
    with TemporaryDirectory(prefix="sunledger-check-") as folder:
        copy = Path(folder) / file.name
        try:
            with file.open("rb") as source, copy.open("wb") as out:
                shutil.copyfileobj(source, out)
        except OSError as error:
            raise CheckFailed(f"{file} cannot be copied to a temporary file: {error.strerror}") from None
        yield copy


def _is_stream(file: Path) -> bool:
    """Whether what stands there gives its bytes once only; false for what is not there."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
