"""Values of unknown columns that look personal: numbers to call, mail addresses, and what has parts.

A number to call has 9 to 15 digits (ITU-T E.164 with its country's code, or the national numbers of most
countries), in any script, with white space and punctuation as people write it, alone or inside a text.
A number that a spreadsheet made a fraction of, `254712345678.0`, is one still. Numbers of 8 digits are found
where they are written in groups (`70 12 34 56`) or with a plus: serial numbers of devices have 8 digits too,
and have no groups.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

# White space, punctuation of numbers, and the invisible marks that telephones put around copied numbers.
_GAP: Final = r"[\s().\-/\u00ad\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
_NUMBER: Final = re.compile(
    r"\d(?:"
    r"(?<!\d\d)\d{8,14}(?!\d)(?![A-Z])"
    rf"|(?<!\d\d)(?=(?:{_GAP}*+\d){{7}})\d{{0,6}}{_GAP}"
    rf"|(?:(?<=[+\uff0b]\d)|(?<=[+\uff0b]\(\d))(?:{_GAP}*+\d){{7}}"
    r")"
)
"""9 to 15 digits in a row; 8 or more with gaps, or behind a plus. Begins with what is quick to find."""
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_CALLS: Final = "TEL|PHONE|MOBILE|MOB|CELL|CALL|GSM|FAX|WHATSAPP|MOMO|MPESA|SIM|SIMU|FONE|NO"
_NO_NUMBER: Final = re.compile(
    "|".join(
        (
            rf"(?<!\d)(?:{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}|{_DAY}[-/.]{_DAY}[-/.]{_YEAR})(?!\d)",
            r"(?<!\d)\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?!\d)",
            rf"(?<![\d.,])(?<!\d{_GAP})(?!\d{{9,15}}\.0+(?!\d))(?:\d{{1,3}}\.\d+|\d+[.,]\d{{1,6}})(?![.,]?\d)(?!{_GAP}+\d)",
            r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
            rf"(?<![A-Z])(?!(?:{_CALLS})[-_]?\d)[A-Z]{{1,12}}[-_]?\d+(?:[-_./]\d+)*+(?!\d)",
        )
    )
)
"""Digits that nobody calls: dates, times of day, decimal numbers, UUIDs, ids such as INV-2026-000123."""
_BETWEEN: Final = "|"
"""Stands in no number; white space does, and Python's includes the control characters that separate texts."""


def looks_personal(value: Any) -> bool:
    """Whether a value of any column holds a number to call or a mail address, or has parts: JSON, or a list.

    Nobody looks inside what has parts. Decimal numbers, dates and times are no numbers to call.
    """
    if isinstance(value, dict | list):
        return True
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    text = str(value)
    if not _may_look_personal(text):
        return False
    return _has_parts(text.strip()) or any(map(_is_mail, text.split())) or _holds_number(text)


def any_looks_personal(texts: Sequence[str]) -> bool:
    """Whether `looks_personal` is true of some text: a look or two at all of them rule most columns out."""
    together = _BETWEEN.join(texts)
    if not _may_look_personal(together) or not _may_look_personal(_NO_NUMBER.sub(_BETWEEN, together)):
        return False
    return any(map(looks_personal, texts))


def _may_look_personal(text: str) -> bool:
    return "@" in text or "{" in text or "[" in text or _NUMBER.search(text) is not None


def _has_parts(text: str) -> bool:
    """Whether a text is written as an object or a list."""
    return text[:1] + text[-1:] in ("{}", "[]")


def _is_mail(word: str) -> bool:
    """Whether a text without white space holds `x@y.z`.

    A pattern that says this takes minutes for a long text of nothing but `@`, and senders choose the text.
    """
    at = word.find("@", 1)
    return at > 0 and word.rfind(".", at + 2, len(word) - 1) > 0


def _holds_number(text: str) -> bool:
    return _NUMBER.search(_NO_NUMBER.sub(_BETWEEN, text)) is not None
