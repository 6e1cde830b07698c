"""Currencies: ISO 4217 codes and the names people write, to the code; the ambiguous stay refused.

What a name can mean is independent of any default currency; the default is applied afterwards, per
row. So a change of a dataset's default never changes the content of a row.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

import pycountry
from pydantic import PlainValidator, WithJsonSchema

from schemas.cells import PLACEHOLDERS, trim
from schemas.currency_names import NAMES, WITHDRAWN_CODES
from schemas.faults import fault
from schemas.outcomes import Code

MAX_TEXT: Final = 64
"""Longest text that is looked at as a currency, in characters."""
_SUPRANATIONAL: Final = frozenset({"XOF", "XAF", "XCD", "XPF", "XCG"})
_FUNDS: Final = frozenset({"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW"})
CODES: Final = frozenset(
    currency.alpha_3
    for currency in pycountry.currencies
    if currency.alpha_3 not in _FUNDS
    and (not currency.alpha_3.startswith("X") or currency.alpha_3 in _SUPRANATIONAL)
)
"""Codes of ISO 4217 that somebody can be paid in: no metals, funds, units of account, XTS and XXX."""
_ENDINGS: Final = ("/=", "/")
"""Folded `/=` and `/-`, which stand behind amounts in shillings, and so behind their names."""
_SEPARATORS: Final = re.compile(r"[\s.\-_]+")


class Currency(NamedTuple):
    """A currency as given.

    Attributes:
        given: the sender's text, trimmed.
        codes: ISO 4217 codes it can mean; one, unless the name is ambiguous.
        content: what goes into the content hash: the code, or the ambiguous name itself.
    """

    given: str
    codes: tuple[str, ...]
    content: str


def fold(name: str) -> str:
    """A name without case, accents, full stops and doubled separators."""
    decomposed = unicodedata.normalize("NFKD", name.casefold().replace("\u2019", "'"))
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _SEPARATORS.sub(" ", bare.casefold()).strip()


def _table() -> dict[str, tuple[str, ...]]:
    """Folded name or code → candidate codes. Codes win over names that look like them."""
    table: dict[str, tuple[str, ...]] = {}
    for currency in pycountry.currencies:
        if currency.alpha_3 in CODES:
            name = fold(currency.name)
            table[name] = (*table.get(name, ()), currency.alpha_3)
    table.update((fold(name), codes) for name, codes in NAMES.items())
    table.update((code.lower(), (code,)) for code in (*CODES, *WITHDRAWN_CODES))
    return table


_CANDIDATES: Final = _table()


def parse_currency(text: str) -> Currency:
    """What a code, name or symbol can mean.

    Raises:
        PydanticCustomError: `unknown_currency`.
    """
    name = fold(text) if len(text) <= MAX_TEXT else ""
    # "C.F.A." and "U S D" lose separators, "KES/=" its ending, only when nothing else is known by that name.
    for form in (name, squeezed := name.replace(" ", ""), *(squeezed.removesuffix(end) for end in _ENDINGS)):
        if codes := _CANDIDATES.get(form):
            return Currency(text, codes, codes[0] if len(codes) == 1 else form)
    raise fault(Code.UNKNOWN_CURRENCY)


def resolve(currency: Currency, default: str | None) -> str | None:
    """The one code a currency means; the default decides an ambiguous name if it is a candidate."""
    if len(currency.codes) == 1:
        return currency.codes[0]
    return default if default in currency.codes else None


def currency_cell(value: Any) -> Currency | None:
    """A currency cell of a payment; None for a missing value."""
    if isinstance(value, str):
        return _remembered(value) if len(value) <= MAX_TEXT else _text_cell(value)
    if value is None:
        return None
    raise fault(Code.WRONG_TYPE)


def _text_cell(value: str) -> Currency | None:
    text = trim(value)
    return None if text in PLACEHOLDERS else parse_currency(text)


_remembered: Final = lru_cache(maxsize=4096)(_text_cell)
CurrencyCell = Annotated[
    Currency | None,
    PlainValidator(currency_cell),
    WithJsonSchema({"type": "string", "pattern": rf"^\s*\S.{{0,{MAX_TEXT - 1}}}\s*$"}),
]
