"""What stands in place of personal texts, remembered: people pay again and again in one file."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson

from schemas import headers
from schemas.personal import Pseudonymizer, Sealer

MOST_PERSONS: Final = 50_000
"""How many are remembered, the latest ones; some 70 MB."""
LONGEST_REMEMBERED: Final = 256
"""Characters of the texts of one person: notes that differ in every row are not worth the memory."""

Headers = list[tuple[str, bytes]]
Replaced = tuple[dict[str, str], Headers]
"""Texts that stand in place of others, by field, and the header that seals the originals."""


class Persons:
    """The persons in rows of one organisation, told by certain personal columns.

    Args:
        names: canonical names of those columns.
    """

    def __init__(
        self, pseudonymizer: Pseudonymizer, sealer: Sealer, organization_id: str, names: tuple[str, ...]
    ) -> None:
        self._pseudonymizer = pseudonymizer
        self._sealer = sealer
        self._organization_id = organization_id
        self._names = names
        self._known: OrderedDict[tuple[str, ...], Replaced] = OrderedDict()

    def replaced(self, texts: tuple[str, ...]) -> Replaced:
        """What stands in place of the texts of those columns."""
        known = self._known.get(texts)
        return self._learn(texts) if known is None else known

    def _learn(self, texts: tuple[str, ...]) -> Replaced:
        cells: dict[str, Any] = dict(zip(self._names, texts, strict=True))
        originals = self._pseudonymizer.protect(self._organization_id, cells)
        found: Replaced = ({}, [])
        if originals:
            sealed = self._sealer.seal(self._organization_id, orjson.dumps(originals)).encode()
            found = ({name: cells[name] for name in originals}, [(headers.SEALED, sealed)])
        if sum(map(len, texts)) <= LONGEST_REMEMBERED:
            if len(self._known) >= MOST_PERSONS:
                self._known.popitem(last=False)
            self._known[texts] = found
        return found


def picker(names: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Picks the wanted columns of a row whose columns have these names."""
    places = [names.index(name) for name in wanted]
    if len(places) > 1:
        return itemgetter(*places)
    return lambda texts: tuple(texts[at] for at in places)
