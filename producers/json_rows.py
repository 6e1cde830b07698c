"""Columns of texts into one JSON object a row, for many rows at once.

All objects are written as one text, of which each column fills every n-th piece: a step for each column in
place of one for each cell. An empty cell has no entry.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

import orjson

from schemas.cells import control_characters
from schemas.fields import CUSTOM

Named = Sequence[tuple[str, Sequence[str]]]
"""Columns with their names; one text for each row."""

# Control characters are escaped in JSON, so these can only be ours.
_END: Final = "\n"
_OPEN: Final = "\x01"
"""Opens an object of which the first entry, in every row another one, has a comma before it."""


def json_rows(
    fields: Named, ends: Sequence[str], custom: Named, custom_ends: Sequence[str], *, plain: bool = False
) -> list[bytes]:
    """The JSON object of each row, which has at least one entry.

    Args:
        fields: what stands in the object itself.
        ends: further entries of each row, as JSON, each with a comma before it.
        custom: what stands in the object `custom` inside; a row that has nothing there has no such object.
        custom_ends: further entries of that one.
        plain: no text has to be escaped.
    """
    if not plain and not _is_plain([column for _, column in (*fields, *custom)]):
        fields, custom = _escaped(fields), _escaped(custom)
    writer = _Writer(_END)
    writer.open(fields)
    writer.column(ends)
    has_custom = any(any(texts) for _, texts in custom) or any(custom_ends)
    if has_custom:
        writer.literal(f",{_quoted(CUSTOM)}:")
        writer.open(custom)
        writer.column(custom_ends)
        writer.literal("}")
    writer.literal("}")
    text = writer.text(len(ends))
    if _OPEN in text:
        text = text.replace(f",{_quoted(CUSTOM)}:{_OPEN}}}", "").replace(f"{_OPEN},", "{")
    return text.encode().split(_END.encode())[1:]


def entry(name: str, text: str) -> str:
    """One entry of an object, with a comma before it."""
    return f",{_quoted(name)}:{orjson.dumps(text).decode()}"


class _Writer:
    """Literal texts and columns in turn, the pattern of every row."""

    def __init__(self, begin: str) -> None:
        self._literals = [begin]
        self._columns: list[Sequence[str]] = []

    def literal(self, text: str) -> None:
        self._literals[-1] += text

    def column(self, texts: Sequence[str]) -> None:
        self._columns.append(texts)
        self._literals.append("")

    def open(self, named: Named) -> None:
        """Begin an object with entries of columns, those first that have a text in every row.

        A column that is empty in some rows brings its name along in the others.
        """
        full = [(name, texts) for name, texts in named if all(texts)]
        opening = "{" if full else _OPEN
        for name, texts in full:
            self.literal(f'{opening}{_quoted(name)}:"')
            self.column(texts)
            opening = '",'
        self.literal('"' if full else opening)
        for name, texts in named:
            if any(texts) and not all(texts):
                label = f',{_quoted(name)}:"'
                self.column([text and f'{label}{text}"' for text in texts])

    def text(self, rows: int) -> str:
        """What was written for all rows."""
        pattern = [""] * (2 * len(self._columns) + 1)
        pattern[::2] = self._literals
        pieces = pattern * rows
        for at, texts in enumerate(self._columns):
            pieces[2 * at + 1 :: len(pattern)] = texts
        return "".join(pieces)


def _is_plain(columns: Iterable[Sequence[str]]) -> bool:
    """Whether no text has to be escaped in JSON."""
    text = "".join(chain.from_iterable(columns))
    return '"' not in text and "\\" not in text and not control_characters(text)


def _escaped(named: Named) -> Named:
    return [
        (name, texts if _is_plain([texts]) else [orjson.dumps(text).decode()[1:-1] for text in texts])
        for name, texts in named
    ]


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()
