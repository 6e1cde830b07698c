"""Unknown columns that are personal: told by their name, or by what stands in them.

A payments file may have any further column, and analysts see it under `custom`. One pseudonym too many
harms less than one too few: whatever sounds like a person, or looks like a telephone number or an e-mail
address, is replaced.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from schemas.fields import ALIASES, BY_NAME, NAMES, PERSONAL, Field
from schemas.personal_cells import is_protected

_PARTS: Final = (
    "name", "phone", "telefon", "mobile", "msisdn", "whatsapp", "mail", "address", "adresse", "agent",
    "note", "comment", "location", "contact", "passport", "birth", "nextofkin", "nationalid", "recipient",
)  # fmt: skip
"""Found anywhere in a name, make it personal."""
_WORDS: Final = frozenset(
    {
        "tel", "cell", "gsm", "momo", "mpesa", "wallet", "payer", "payee", "nom", "prenom", "dob", "nin",
        "bvn", "ssn", "kin", "owner", "beneficiary", "sim", "fax",
    }
)  # fmt: skip
"""As a word of a name by itself, make it personal."""
_AS_SENT: Final = "_AS_SENT"
_WORD: Final = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+")
_MIN_DIGITS, _MAX_DIGITS = 9, 15
"""Digits of a telephone number with or without its country's code (ITU-T E.164 allows 15)."""
_NUMBER: Final = re.compile(r"\+?[\d\s().\-/]+", re.ASCII).fullmatch
_DIGITS: Final = re.compile(rf"(?:\d[\s().\-/]*){{{_MIN_DIGITS}}}", re.ASCII).search
_BETWEEN: Final = "\x1f"
"""Stands in no telephone number and between the words of no mail address."""
_DECIMAL: Final = re.compile(r"[+-]?\d+\.\d+", re.ASCII).fullmatch
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).match


def _plain(name: str) -> str:
    """A name without accents, in compatible letters: full-width ones become plain."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _squeezed(name: str) -> str:
    return "".join(filter(str.isalnum, _plain(name))).casefold()


_BY_SQUEEZED: Final = {_squeezed(name): BY_NAME[name] for name in PERSONAL} | {
    _squeezed(alias): BY_NAME[name] for alias, name in ALIASES.items() if name in PERSONAL
}


@lru_cache(maxsize=4096)
def sounds_personal(name: str) -> Field | None:
    """The personal field that an unknown column's name stands for, None for none.

    A name that mixes scripts, such as Latin and Cyrillic, is one: nobody can see what it says.
    """
    if name in NAMES:
        return None
    squeezed = _squeezed(name)
    if squeezed in _BY_SQUEEZED:
        return _BY_SQUEEZED[squeezed]
    words = {word.casefold() for word in _WORD.findall(_plain(name))}
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in squeezed if letter.isalpha()}
    personal = len(scripts) > 1 or words & _WORDS or any(part in squeezed for part in _PARTS)
    return BY_NAME["NOTES"] if personal else None


def looks_personal(value: Any) -> bool:
    """Whether a value of any column looks like a telephone number or an e-mail address.

    Decimal numbers and dates do not; a whole number of 9 to 15 digits does.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    text = str(value).strip()
    if any(map(_is_mail, text.split())):
        return True
    if not _NUMBER(text) or _DECIMAL(text) or _DATE(text):
        return False
    return _MIN_DIGITS <= sum(map(str.isdigit, text)) <= _MAX_DIGITS


def may_look_personal(texts: Iterable[str]) -> bool:
    """Whether `looks_personal` may be true of some text: one look at many of them. Never a false no."""
    text = _BETWEEN.join(texts)
    return "@" in text or _DIGITS(text) is not None


def _is_mail(word: str) -> bool:
    """Whether a text without white space holds `x@y.z`.

    A pattern that says this takes minutes for a long text of nothing but `@`, and senders choose the text.
    """
    at = word.find("@", 1)
    return at > 0 and word.rfind(".", at + 2, len(word) - 1) > 0


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
