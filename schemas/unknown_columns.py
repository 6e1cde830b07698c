"""Unknown columns that are personal, by their name or by what stands in them; the others are content.

A payments file may have any further column, and analysts see it under `custom`. One pseudonym too many
harms less than one too few.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.fields import BY_NAME, NAMES, PERSONAL, Field
from schemas.personal_cells import is_protected
from schemas.personal_names import sounds_personal
from schemas.personal_values import looks_personal

_AS_SENT: Final = "_AS_SENT"
_PLACES: Final = frozenset({"latitude", "longitude"})
_NUMBERS: Final = frozenset({"decimal"})
"""Kinds whose text as it was sent is no number to call, however many digits it has."""


def is_personal(name: str, value: Any) -> bool:
    """Whether the value of an unknown column is personal.

    Under `custom` a field's name is a name like any other: it is personal if the field is.
    """
    if name in PERSONAL or sounds_personal(name):
        return True
    if is_as_sent(name) and _field_as_sent(name).kind in _PLACES:
        return True  # analysts see coordinates blurred
    return looks_personal(value) and not (is_as_sent(name) and _field_as_sent(name).kind in _NUMBERS)


def without_personal(custom: Mapping[str, str]) -> dict[str, str]:
    """The unknown columns that are content: what is personal is not compared, before or after a pseudonym.

    Otherwise a new pseudonym key would make a conflict of every row that is sent again. Nor is a field's text
    as it was sent (`as_sent`): the field itself is compared, and `5,5` is `5,50`.
    """
    return {
        name: text
        for name, text in custom.items()
        if not (is_protected(text) or looks_personal(text) or sounds_personal(name) or is_as_sent(name))
    }


def as_sent(field: str) -> str:
    """Name under which the text of a field is kept that a reader had to write anew."""
    return f"{field}{_AS_SENT}"


def is_as_sent(name: str) -> bool:
    """Whether an unknown column's name is one of `as_sent`."""
    return name.endswith(_AS_SENT) and name.removesuffix(_AS_SENT) in NAMES


def _field_as_sent(name: str) -> Field:
    return BY_NAME[name.removesuffix(_AS_SENT)]
