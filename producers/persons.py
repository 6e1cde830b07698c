"""What stands in place of personal texts, remembered: people pay again and again in one file."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from producers.header import Header
from producers.json_rows import entry
from schemas.fields import PERSONAL
from schemas.personal import Pseudonymizer, Sealer
from schemas.personal_names import sounds_personal
from schemas.personal_values import any_looks_personal

MOST_PERSONS: Final = 50_000
"""How many are remembered, the latest ones; some 60 MB."""
MOST_TEXTS: Final = 40_000
"""How many texts of each column in `_REPEATED` are remembered by themselves; up to some 20 MB a column."""
LONGEST_REMEMBERED: Final = 256
"""Characters of the texts of one person: longer ones are not worth the memory."""
_LONGEST_TEXT: Final = 64
_REPEATED: Final = frozenset({"CUSTOMER_NAME", "CUSTOMER_PHONE", "AGENT_ID"})
"""Fields whose texts come again with other ones beside them, where notes differ in every row."""

# Plain tuples of texts: the garbage collector leaves them alone, however many there are.
Person = tuple[str, str, bytes]
"""What stands in a row for its personal columns.

Entries of the row's JSON object, each with a comma before it; the same of the object `custom` in it; the
sealed originals, empty if there are none.
"""
_Text = tuple[str, str]
"""What stands for one text: its entry, and that of the original if it was replaced."""


class Persons:
    """The persons in rows of one organisation under one header.

    Personal are the columns whose names say so, and unknown ones from the first text on that looks so.
    """

    def __init__(
        self, pseudonymizer: Pseudonymizer, sealer: Sealer, organization_id: str, header: Header
    ) -> None:
        self._pseudonymizer = pseudonymizer
        self._sealer = sealer
        self._organization_id = organization_id
        self._header = header
        columns = list(zip(header.names, header.known, strict=True))
        self._watched = [
            at for at, (name, known) in enumerate(columns) if not known and not sounds_personal(name)
        ]
        self._places = [
            at
            for at, (name, known) in enumerate(columns)
            if (name in PERSONAL if known else sounds_personal(name))
        ]
        self._known: OrderedDict[tuple[str, ...], Person] = OrderedDict()
        self._texts: dict[int, OrderedDict[str, _Text]] = {
            at: OrderedDict() for at in self._places if header.names[at] in _REPEATED
        }

    def of(self, columns: Sequence[Sequence[str]]) -> tuple[list[Person], list[int]]:
        """The person of each row, and which columns those stand for."""
        if self._watched:
            self._watch(columns)
        if not self._places:
            return [("", "", b"")] * len(columns[0]), []
        keys = list(zip(*[columns[at] for at in self._places], strict=True))
        known = map(self._known.get, keys)
        return [person or self._person(key) for person, key in zip(known, keys, strict=True)], self._places

    def _watch(self, columns: Sequence[Sequence[str]]) -> None:
        """Take the unknown columns in which something looks personal among the personal ones."""
        if found := [at for at in self._watched if any_looks_personal(columns[at])]:
            self._watched = [at for at in self._watched if at not in found]
            self._places = sorted((*self._places, *found))
            self._known.clear()

    def _person(self, key: tuple[str, ...]) -> Person:
        """The person whose columns have these texts."""
        known = self._known.get(key)
        if known is not None:
            return known
        fields = custom = originals = ""
        for at, text in zip(self._places, key, strict=True):
            if text:
                own, original = self._text(at, text)
                originals += original
                if self._header.known[at]:
                    fields += own
                else:
                    custom += own
        person = fields, custom, self._sealed(originals) if originals else b""
        if sum(map(len, key)) <= LONGEST_REMEMBERED:
            if len(self._known) >= MOST_PERSONS:
                self._known.popitem(last=False)
            self._known[key] = person
        return person

    def _sealed(self, originals: str) -> bytes:
        data = f"{{{originals[1:]}}}".encode()
        return self._sealer.seal(self._organization_id, data).encode()

    def _text(self, at: int, text: str) -> _Text:
        """What stands for a text in one of the columns."""
        texts = self._texts.get(at)
        known = None if texts is None else texts.get(text)
        if known is not None:
            return known
        name = self._header.names[at]
        custom = not self._header.known[at]
        stand_in = self._pseudonymizer.stand_in(self._organization_id, name, text, custom=custom)
        original = entry(name, text)
        found = (original, "") if stand_in is None else (entry(name, stand_in), original)
        if texts is not None and len(text) <= _LONGEST_TEXT:
            if len(texts) >= MOST_TEXTS:
                texts.popitem(last=False)
            texts[text] = found
        return found
