"""Members that stand twice in one JSON object: a reader keeps the last and says nothing, so rows are refused.

RFC 8259 leaves open which of two members of one name counts. The readers that are fast enough for a worker
(orjson, pydantic's) take the last one, and do not tell. So the ends of members in the text, `":` and its
forms with white space, are counted for many texts at once, and compared with the members that were read.
Texts in it may only add to that count: where it differs, all is read again, slowly, by a reader that sees.
"""

import json
from collections.abc import Container, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.faults import SENTENCES
from schemas.fields import ALIASES, CUSTOM, NAMES
from schemas.outcomes import Code
from schemas.read_model import READ_FIELDS

_AT_ONCE: Final = 500
"""Texts that are looked at together."""
_BYTES_AT_ONCE: Final = 256 * 1024
"""What fits the processor's cache is twice as fast."""
_DEEPEST: Final = 100
"""Nesting of what is kept for a person to look at."""
_QUOTE, _COLON, _SPACE = map(ord, '": ')
_TOLD: Final = NAMES | ALIASES.keys() | {CUSTOM, *READ_FIELDS}
"""Members that may be named: any other name is a sender's, and may be a person's."""


class NumberText(str):
    """A number by the digits it was sent with."""

    __slots__ = ()


class Members(dict[str, Any]):
    """An object. `repeated` says which of its members stands in it twice, None for none: the last is here.

    `pairs` are all members of such an object, as they were sent.
    """

    repeated: str | None = None
    pairs: Sequence[tuple[str, Any]] = ()


def members(pairs: list[tuple[str, Any]]) -> Members:
    """What the standard library's decoder makes of an object (`object_pairs_hook`)."""
    found = Members(pairs)
    if len(found) != len(pairs):
        found.repeated = _first_again(name for name, _ in pairs)
        found.pairs = pairs
    return found


def _first_again(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def repeated_member(value: Any) -> str | None:
    """A member that stands twice in an object of `Members`, or in one inside it; None for none."""
    left = [value]
    for part in left:
        if isinstance(part, Members):
            if part.repeated is not None:
                return part.repeated
            left += [one for one in part.values() if isinstance(one, Members | list)]
        elif isinstance(part, list):
            left += [one for one in part if isinstance(one, Members | list)]
    return None


def all_members(value: Any, depth: int = 0) -> str:
    """Compact JSON of a value of `Members`, with every member that was sent; cut where it is very deep."""
    if isinstance(value, Members | list) and depth >= _DEEPEST:
        return '"…"'
    if isinstance(value, Members):
        pairs = value.pairs or value.items()
        parts = (
            f"{json.dumps(name, ensure_ascii=False)}:{all_members(part, depth + 1)}" for name, part in pairs
        )
        return f"{{{','.join(parts)}}}"
    if isinstance(value, list):
        return f"[{','.join(all_members(part, depth + 1) for part in value)}]"
    if isinstance(value, NumberText):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def told(name: str) -> str | None:
    """A member's name if it is one of ours; None for one that a sender made."""
    return name if name in _TOLD else None


def sentence(name: str, told: Container[str] = _TOLD) -> str:
    """What is said of a repeated member; its name only if it is among those that may be told."""
    known = f"the member `{name}`" if name in told else ""
    return SENTENCES[Code.REPEATED_MEMBER].replace("a member", known or "a member", 1)


def repeated_in(texts: Sequence[bytes], values: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Which texts have a member twice, and its name; `values` are the objects that were read of them."""
    found: dict[int, str] = {}
    for start in range(0, len(texts), _AT_ONCE):
        part, objects = texts[start : start + _AT_ONCE], values[start : start + _AT_ONCE]
        ends = _ends(part)
        # What all have at least, and at most, is what each has: enough for nearly all texts.
        if len(ends) == sum(map(len, objects)) or len(ends) == sum(map(_shallow, objects)):
            continue
        for at, most in enumerate(_counts(ends, part), start):
            value = values[at]
            if most not in (len(value), _shallow(value)) and most != _count(value):
                name = _repeated(texts[at])
                if name is not None:
                    found[at] = name
    return found


def may_repeat(text: bytes, value: Any, further: int = 0) -> bool:
    """Whether a text may have a member twice, given what was read of it. Never a false no.

    Args:
        further: members that were read and are not in `value`.
    """
    most = len(_ends([text])) - further
    return most != _shallow(value) and most != _count(value)


def _ends(texts: Sequence[bytes]) -> npt.NDArray[np.intp]:
    """Where members end in the joined texts, and perhaps elsewhere: colons behind a quote or white space."""
    letters = np.frombuffer(b"\n".join([*texts, b""]), np.uint8)
    found = [_ends_in(letters, start) for start in range(0, len(letters), _BYTES_AT_ONCE)]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _ends_in(letters: npt.NDArray[np.uint8], start: int) -> npt.NDArray[np.intp]:
    """The same in one piece of the text."""
    colons = np.flatnonzero(letters[start : start + _BYTES_AT_ONCE] == _COLON) + start
    before = letters[colons - 1]
    found: npt.NDArray[np.intp] = colons[(before == _QUOTE) | (before <= _SPACE)]
    return found


def _counts(ends: npt.NDArray[np.intp], texts: Sequence[bytes]) -> list[int]:
    """How many of the ends are in each text: as many as it has members, or more."""
    bounds = np.cumsum([len(text) + 1 for text in texts])
    counts: list[int] = np.diff(np.searchsorted(ends, bounds), prepend=0).tolist()
    return counts


def _shallow(value: Any) -> int:
    """Members of an object and its `custom`, or of a list's objects or a request's rows; never too many."""
    if isinstance(value, list):
        return sum(len(one) for one in value if type(one) is dict)
    if not isinstance(value, dict):
        return 0
    custom, rows = value.get(CUSTOM), value.get("payments")
    inside = len(custom) if type(custom) is dict else 0
    return len(value) + inside + (_shallow(rows) if type(rows) is list else 0)


def _count(value: Any) -> int:
    """Members of a value, and of all inside it."""
    count = 0
    left = [value]
    for part in left:
        inside = part
        if isinstance(part, dict):
            count += len(part)
            inside = part.values()
        left += [one for one in inside if type(one) is dict or type(one) is list]
    return count


def _repeated(text: bytes) -> str | None:
    """The repeated member of a text that was read before; None for none."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if (name := members(pairs).repeated) is not None:
            found.append(name)

    try:
        json.loads(text.decode(), object_pairs_hook=note, parse_int=str)
    except RecursionError:
        return ""  # nested as deep as only few readers go: nobody can say what is in it
    return found[-1] if found else None
