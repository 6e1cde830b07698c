"""Names of uploaded files: the one that the seed asks for, or any harmless one if the dataset allows it."""

from typing import Final

from api.errors import Invalid
from api.uploads.form import FILE
from schemas.fields import FILE_NAME

EXPECTED: Final = (FILE_NAME, f"{FILE_NAME.removesuffix('.csv')}.xlsx")
"""Names of a payments file: that of the seed payments-file-upload, and of a workbook."""
SUFFIXES: Final = (".csv", ".xlsx")
MAX_NAME: Final = 200
"""Longest name of a file, in characters."""


def check_form(name: str) -> None:
    """Refuse what can be no file's name for us, before any of the file is read.

    Raises:
        Invalid: it has a path or characters that do not show, is too long, or is neither .csv nor .xlsx.
    """
    if "/" in name or "\\" in name or not name.isprintable() or len(name) > MAX_NAME:
        text = f"Expected a file name of at most {MAX_NAME} characters, without a path in it."
        raise Invalid.field(FILE, "bad_file_name", text)
    if not name.lower().endswith(SUFFIXES) or name.lower() in SUFFIXES:
        raise Invalid.field(FILE, "bad_file_name", "Expected a file name that ends with .csv or .xlsx.")


def check_expected(name: str, any_file_name: bool) -> None:
    """Refuse another name than the one the dataset asks for.

    Raises:
        Invalid: says which one that is.
    """
    if not any_file_name and name not in EXPECTED:
        text = (
            f"The file must be named exactly {FILE_NAME} (or {EXPECTED[1]}), unless the dataset's"
            " `upload.any_file_name` allows others."
        )
        raise Invalid.field(FILE, "wrong_name", text)
