"""What a dry run says of a file beside the verdicts on its rows: odd names of columns, and of the file."""

from collections.abc import Iterable, Set
from difflib import get_close_matches
from typing import Final

from producers.header import FOLDED_NAMES, fold
from producers.table_rows import Remark
from schemas.fields import ALIASES, FILE_NAME, NAMES
from schemas.personal_values import looks_personal

AS_SENT: Final = "_AS_SENT"
"""Ends the unknown column under which the reader keeps a number's text with its decimal comma."""
NAMED: Final = 20
"""Most names of a warning."""
_ALIKE: Final = 0.8


def column_warnings(unknown: Iterable[str]) -> list[Remark]:
    """What is odd about the columns. A name that looks like somebody's data is not repeated."""
    names = {name for name in unknown if name.removesuffix(AS_SENT) not in NAMES}
    warned = []
    if names:
        shown = [repr(name) for name in sorted(names) if not looks_personal(name)][:NAMED]
        shown += [f"{len(names) - len(shown)} more"] if len(shown) < len(names) else []
        text = "columns that are no fields of a payment are kept beside them, as they are"
        warned.append(Remark("unknown_columns", f"{text}: {', '.join(shown)}"))
    if len(names) < len(set(unknown)):
        warned.append(
            Remark("decimal_comma", "numbers are written with decimal commas; they are read as such")
        )
    return warned


def near_warnings(unknown: Iterable[str], fields: Set[str]) -> list[Remark]:
    """Unknown columns that are named nearly as a field that no column has: an optional one, misspelt.

    A required one that is missing is a fault of the header.
    """
    near = []
    for name in sorted(unknown):
        found = get_close_matches(fold(name), FOLDED_NAMES, n=1, cutoff=_ALIKE)
        field = FOLDED_NAMES[found[0]] if found else ""
        field = ALIASES.get(field, field)
        if field and field not in fields and not looks_personal(name):
            near.append(f"{name!r} (did you mean {field}?)")
    if not near:
        return []
    text = "columns that are named nearly as a field are not read as it"
    return [Remark("misspelt_columns", f"{text}: {', '.join(near[:NAMED])}")]


def name_warnings(name: str, profile: str) -> list[Remark]:
    """A name that a bucket, or an upload without the dataset's leave, would refuse; a sheet has none."""
    workbook = FILE_NAME.removesuffix(".csv") + ".xlsx"
    allowed = {"s3": {FILE_NAME}, "upload": {FILE_NAME, workbook}}.get(profile, {name})
    if name in allowed:
        return []
    expected = " or ".join(sorted(allowed))
    text = f"the file must be named exactly {expected} when it is sent; found {name[-80:]!r}"
    return [Remark("wrong_name", text)]
