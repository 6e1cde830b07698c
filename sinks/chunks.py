"""Long lists as query parameters, in pieces.

A server refuses a form field over 128 KiB (`http_max_field_value_size`), and a turn may ask about
100,000 identities.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 4000
"""Items of one query: 4,000 numbers of 20 digits are 84 kB."""


def chunks(items: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Lists of at most `size` items; none when there are no items."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


TEXT_BYTES: Final = 96 * 1024
"""Bytes of the texts of one query: quotes, commas and escapes come on top."""


def text_chunks(texts: Iterable[str], size: int = TEXT_BYTES) -> Iterator[list[str]]:
    """Lists of texts that take at most `size` bytes together as a parameter, none longer than `AT_ONCE`.

    A text that is longer by itself stands alone.
    """
    piece: list[str] = []
    taken = 0
    for text in texts:
        needed = 2 * len(text.encode()) + 3  # each byte may be escaped
        if piece and (taken + needed > size or len(piece) == AT_ONCE):
            yield piece
            piece, taken = [], 0
        piece.append(text)
        taken += needed
    if piece:
        yield piece
