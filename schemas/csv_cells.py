"""What a spreadsheet would run as a formula, made harmless before a text leaves as a CSV cell.

A cell that begins with `=`, `+`, `-` or `@` is a formula to Excel, LibreOffice and Google Sheets, and a
sender chooses what is in a row (OWASP, "CSV Injection"). Excel also cuts a line at the list separator of
its own country, so that `a;=cmd` can become two cells: the text after each separator is looked at as well.
A plain number is none and stays as it is: a whole cell such as `-5.00` or `-5,00`, or the second half of
`1.3,-30.14`. Nor is a telephone number of digits and spaces, `+234 801 234 5678`: there is nothing in it to
compute. With hyphens or brackets there is, and it gets its apostrophe.
"""

import re
from itertools import pairwise

# Full-width forms count as formulas in East Asian versions of Excel.
_OPENS = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
# What stands between a separator and the first character that a spreadsheet looks at; a separator itself
# is left out, because what follows it is looked at anyway.
_BLANK = '[\\s\\x00-\\x1f\\x7f\\u00ad\\u200b-\\u200f\\u2060\\ufeff"]'
_SKIPPED = f"(?:(?![\\t\\r\\n]){_BLANK})"
_PLAIN = r"[+\-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+\-]?\d++)?"
_TELEPHONE = r"\+\d++(?:[ ]++\d++)++"
_NUMBER = f"(?:{_PLAIN}|{_TELEPHONE})[ ]*+"
# The comma may be a separator too: both sides of it must be the rest of the cell.
_WHOLE_NUMBER = rf"(?:{_NUMBER}|[+\-]?\d*+,\d++[ ]*+)"
_SEPARATOR = r"[,;|\t\r\n]"


def _formula(begin: str, number: str, end: str) -> str:
    """A place behind `begin` where a formula starts; a number that goes up to `end` is none."""
    return f"{begin}(?='+{_OPENS}|(?!{number}{end}){_OPENS})"


# The first number must be the whole cell: `-5;x` is none where the semicolon separates nothing.
_ALONE = _formula(f"^{_BLANK}*+", _WHOLE_NUMBER, r"\Z")
_BEHIND = _formula(f"(?<={_SEPARATOR}){_SKIPPED}*+", _NUMBER, rf"(?:{_SEPARATOR}|\Z)")
_FORMULA = re.compile(f"{_ALONE}|{_BEHIND}")
_MARKED = re.compile(f"(?:^|(?<={_SEPARATOR}))(?P<skipped>{_SKIPPED}*+)'(?='*{_OPENS})")


def harmless(text: str) -> str:
    """The text for a CSV cell: an apostrophe before whatever a spreadsheet would take for a formula.

    Every cell that leaves the system as CSV goes through this, header cells and reasons too. Quoting is
    the CSV writer's work and no defence: a spreadsheet takes the quotes off first.
    """
    if _FORMULA.search(text) is None:
        return text
    # both ways of cutting may find one place
    places = [0, *dict.fromkeys(found.end() for found in _FORMULA.finditer(text)), len(text)]
    return "'".join(text[begin:end] for begin, end in pairwise(places))


def as_sent(cell: str) -> str:
    """The text that `harmless` was given: what a corrected file is read with, so that no mark is ingested."""
    return _MARKED.sub(r"\g<skipped>", cell)
