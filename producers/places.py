"""Where rows belong: record key and partition of each, many at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.cells import PLACEHOLDERS, plain_text
from schemas.identity import homes_of, netstrings


def places(
    owner: tuple[str, str], source_ref: str, lines: Sequence[int], ids: Sequence[Any], partitions: int
) -> tuple[list[bytes], list[int]]:
    """Keys and partitions of rows.

    Args:
        owner: organisation and id namespace.
        source_ref: where the rows come from.
        lines: on which line of it each row begins.
        ids: what stands in the column ID; a row without an id is named by its line.
        partitions: how many the topic has.
    """
    prefix = netstrings(*owner)
    if _are_plain(ids):
        keys = "\n".join([f"{prefix}{len(text)}:{text}" for text in ids]).encode().split(b"\n")
    else:
        keys = [
            key_of(prefix, given) or nameless_key(owner[0], source_ref, line)
            for given, line in zip(ids, lines, strict=True)
        ]
    return keys, (homes_of(keys) % np.uint32(partitions)).tolist()


def _are_plain(ids: Sequence[Any]) -> bool:
    """Whether all are texts in ASCII that say what they are: nothing to trim, none missing."""
    try:
        text = "".join(ids)
    except TypeError:
        return False
    return text.isascii() and text.split() == [text] and PLACEHOLDERS.isdisjoint(ids)


def key_of(prefix: str, given: Any) -> bytes | None:
    """`payment_key` of an ID, given the netstrings of its first parts; None for a row without one."""
    text = plain_text(given)
    return None if text is None else (prefix + netstrings(text)).encode()


def nameless_key(organization_id: str, source_ref: str, line: int) -> bytes:
    """Key of a row without an id: by its line, so that such rows do not all meet in one partition."""
    return netstrings(organization_id, source_ref, str(line)).encode()
