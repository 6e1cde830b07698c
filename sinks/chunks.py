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
