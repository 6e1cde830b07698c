"""Content of a row: the fields its sender supplied, the hash of their values, and what differs between two.

The hash is taken before defaults are filled in, leaves out personal fields, and carries a version in
its top 8 bits, so a change of default currency, pseudonym key or normaliser never turns a re-send
into a conflict.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from schemas.currencies import fold
from schemas.fields import BY_NAME, CONTENT, CUSTOM
from schemas.identity import netstrings
from schemas.unknown_columns import without_personal

HASH_VERSION: Final = 1
"""Version of the normalisation; to be raised with any change that alters a hash."""
_HASH_BITS: Final = 56
_VERSION: Final = HASH_VERSION << _HASH_BITS
HOLDS_BACK: Final = frozenset({"reversed", "error", "pending"})
"""STATUS in any case with which a payment does not count (docs/verification.md)."""
REVERSAL: Final = "REVERSAL"
"""TRANSACTION_TYPE that takes a payment back."""
# Copying a prepared hash costs half of making one.
_EMPTY: Final = hashlib.blake2b(digest_size=_HASH_BITS // 8)


def content_hash(text: str) -> int:
    """64 bits: the version in the top 8, then 56 bits of BLAKE2b over the text."""
    digest = _EMPTY.copy()
    digest.update(text.encode())
    return _VERSION | int.from_bytes(digest.digest(), "big")


def hash_columns(columns: Sequence[tuple[str, Sequence[Any], Callable[[Any], str]]]) -> list[int]:
    """Content hash of every row of some columns: (field, cells, how a cell is written).

    A row's text is the netstrings of field and value of each cell that is not None, in the order given.
    """
    pieces = [_pieces(field, cells, write) for field, cells, write in columns]
    return [content_hash("".join(parts)) for parts in zip(*pieces, strict=True)]


def _pieces(field: str, cells: Sequence[Any], write: Callable[[Any], str]) -> list[str]:
    """Netstrings of field and value for each cell, empty where there is no value."""
    name = netstrings(field)
    texts: Sequence[Any] = (
        cells if write is str_of_text else [cell if cell is None else write(cell) for cell in cells]
    )
    if "".join(filter(None, texts)).isascii():
        return ["" if text is None else f"{name}{len(text)}:{text}" for text in texts]
    return ["" if text is None else f"{name}{netstrings(text)}" for text in texts]


def str_of_text(cell: str) -> str:
    """A text is written as it is."""
    return cell


def custom_text(custom: Mapping[str, str]) -> str:
    """Custom columns as one text: netstrings of names and values, ordered by name, personal ones left out."""
    content = without_personal(custom)
    return netstrings(*[part for name in sorted(content) for part in (name, content[name])])


def supplied_fields(columns: Mapping[str, Sequence[Any]], rows: int) -> list[list[str]]:
    """For each row the names of the columns in which it has a value, in the columns' order.

    Rows with the same fields share one list, because most rows of a file look alike.
    """
    if not columns:
        return [[] for _ in range(rows)]
    known: dict[tuple[bool, ...], list[str]] = {}
    partial = {name: cells for name, cells in columns.items() if None in cells}
    if not partial:
        return [list(columns)] * rows
    patterns = zip(*[[cell is None for cell in cells] for cells in partial.values()], strict=True)
    supplied = []
    for pattern in patterns:
        names = known.get(pattern)
        if names is None:
            absent = {name for name, missing in zip(partial, pattern, strict=True) if missing}
            names = known[pattern] = [name for name in columns if name not in absent]
        supplied.append(names)
    return supplied


def differences(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the content fields that both versions supplied and that differ, in the table's order.

    Both are rows of the columns of `payments` (lower-case names, `supplied`, `custom`,
    `currency_given`); timestamps may be milliseconds or aware datetimes. A difference in an unknown
    column is named `custom.NAME`.

    Three fields can differ from none (docs/decisions/0035): a STATUS with which a payment does not count,
    from none that was there before; the TRANSACTION_TYPE of a reversal, on either side; a currency from
    another one that a default filled in.
    """
    both = set(stored["supplied"]) & set(new["supplied"])
    if "STATUS" in new["supplied"] and str(new["status"]).strip().lower() in HOLDS_BACK:
        both.add("STATUS")
    if REVERSAL in (stored["transaction_type"], new["transaction_type"]):
        both.add("TRANSACTION_TYPE")
    both.add("PAYMENT_CURRENCY")
    found = [name for name in CONTENT if name in both and _differs(name, stored, new)]
    if CUSTOM in both:
        old_custom, new_custom = without_personal(stored[CUSTOM]), without_personal(new[CUSTOM])
        shared = sorted(set(old_custom) & set(new_custom))
        found += [f"{CUSTOM}.{name}" for name in shared if old_custom[name] != new_custom[name]]
    return found


def _differs(name: str, stored: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    field = BY_NAME[name]
    if field.kind == "currency" and fold(stored["currency_given"]) == fold(new["currency_given"]):
        # The same ambiguous name under another default currency is the same content.
        return False
    value = _COMPARABLE.get(field.kind, _same)
    return bool(value(stored[field.column]) != value(new[field.column]))


def _same(value: Any) -> Any:
    return value


def _milliseconds(value: Any) -> Any:
    """Milliseconds of UTC of an aware datetime; anything else as it is."""
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


_COMPARABLE: Final[dict[str, Callable[[Any], Any]]] = {"timestamp": _milliseconds, "decimal": Decimal}
