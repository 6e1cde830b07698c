"""Templates of payments files: a header, one good row, and in xlsx a sheet that explains the fields.

A csv has no place for notes: a comment line would be a row. Columns and their order are those of the
seeds' file definitions, per profile.
"""

import csv
import io
from collections.abc import Iterator
from typing import Final, NamedTuple

import xlsxwriter

from producers.template_names import NOTES_SHEET, TemplateFormat, TemplateProfile
from schemas.fields import ALIASES, BY_NAME, DEFAULT_CURRENCY_PROFILES, EXAMPLES, PROFILES
from schemas.forms import form_of

NOTE_HEADS: Final = ("field", "required", "form", "meaning", "example")

_S3_COLUMNS: Final = (
    "ID", "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE", "TRANSACTION_CHARGES",
    "REFERENCE_ID", "CUSTOMER_ID", "METER_ID", "CUSTOMER_NAME", "CUSTOMER_PHONE", "CUSTOMER_CATEGORY",
    "FINANCING_ID", "AGENT_ID", "LATITUDE", "LONGITUDE", "UTILITY_ID", "FAILED_BATTERY_CAPACITY_COUNT",
    "ACCOUNT_TYPE", "STATUS", "NOTES",
)  # fmt: skip
"""Seeds payments-s3 and payments-google-sheet, in their order."""
_UPLOAD_COLUMNS: Final = (
    "TIMESTAMP", "ID", "METER_ID", "UTILITY_ID", "CUSTOMER_ID", "CUSTOMER NAME", "TRANSACTION CHARGES",
    "PAYMENT_SOURCE", "REFERENCE_ID", "PAYMENT_AMOUNT", "ACCOUNT_TYPE", "STATUS", "NOTES", "LOCATION",
    "SOURCE", "EXTERNAL_ID", "PAYMENT_CURRENCY",
)  # fmt: skip
"""Seed payments-file-upload in its order, then the two columns that its fourth guideline names, and the
currency, without which a row is good only where a dataset fills it in."""
_PULL_COLUMNS: Final = (
    "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE", "ID", "METER_ID", "CUSTOMER_ID",
    "CUSTOMER_NAME", "CUSTOMER_PHONE", "CUSTOMER_CATEGORY", "AGENT_ID", "LATITUDE", "LONGITUDE",
)  # fmt: skip
"""What the Odyssey-standard pull API answers, under the names of the fields, in its order."""
COLUMNS: Final[dict[TemplateProfile, tuple[str, ...]]] = {
    "s3": _S3_COLUMNS,
    "sheet": _S3_COLUMNS,
    "upload": _UPLOAD_COLUMNS,
    "api": _S3_COLUMNS,
    "pull": _PULL_COLUMNS,
}


class Note(NamedTuple):
    """What is said about a column, all of it text."""

    field: str
    required: str
    form: str
    meaning: str
    example: str


def payments_template(profile: TemplateProfile, form: TemplateFormat) -> bytes:
    """The file of a profile.

    Raises:
        KeyError: there is no such profile.
    """
    return _csv(profile) if form == "csv" else _xlsx(profile)


def notes(profile: TemplateProfile) -> Iterator[Note]:
    """One note per column, in order."""
    for column in COLUMNS[profile]:
        field = BY_NAME[ALIASES.get(column, column)]
        required = "yes" if field.name in PROFILES[profile] else "no"
        yield Note(column, required, form_of(field), field.summary, field.example)


def example_row(profile: TemplateProfile) -> dict[str, str]:
    """A good row under the profile, by column."""
    return {column: EXAMPLES[ALIASES.get(column, column)] for column in COLUMNS[profile]}


def _csv(profile: TemplateProfile) -> bytes:
    """UTF-8 without a byte order mark, commas, CRLF (RFC 4180)."""
    text = io.StringIO(newline="")
    row = example_row(profile)
    writer = csv.writer(text)
    writer.writerow(row)
    writer.writerow(row.values())
    return text.getvalue().encode()


def _xlsx(profile: TemplateProfile) -> bytes:
    """The payments on the first sheet, in cells of the form text, and the notes on the second.

    Cells of another form are what turns a telephone number into 2.34567E+11 and takes leading zeros away.
    """
    data = io.BytesIO()
    options = {"in_memory": True, "strings_to_numbers": False, "strings_to_formulas": False}
    book = xlsxwriter.Workbook(data, options)
    text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True, "num_format": "@"})
    payments, about = book.add_worksheet("ELECTRICITY_PAYMENT"), book.add_worksheet(NOTES_SHEET)
    row = example_row(profile)
    payments.set_column(0, len(row) - 1, 22, text)
    for at, (name, example) in enumerate(row.items()):
        payments.write_string(0, at, name, bold)
        payments.write_string(1, at, example, text)
    payments.freeze_panes(1, 0)
    lines = [NOTE_HEADS, *notes(profile), (), *((line,) for line in _remarks(profile))]
    for number, line in enumerate(lines):
        for at, cell in enumerate(line):
            about.write_string(number, at, cell, bold if number == 0 else text)
    about.set_column(0, 1, 24)
    about.set_column(2, 4, 60)
    about.freeze_panes(1, 0)
    book.close()
    return data.getvalue()


def _remarks(profile: TemplateProfile) -> Iterator[str]:
    """What concerns the whole file."""
    yield "The second line of the first sheet is an example: replace it by your payments."
    yield "The file is read as ELECTRICITY_PAYMENT.csv: save the first sheet alone, as CSV in UTF-8."
    yield "Header names must stay as they are. Further columns are kept, with a warning."
    if profile in DEFAULT_CURRENCY_PROFILES:
        yield (
            "The column PAYMENT_CURRENCY may be left out, or its cells empty, where the dataset has a "
            "default currency."
        )
