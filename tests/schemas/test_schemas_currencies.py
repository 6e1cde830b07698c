"""Currencies: codes and the names people write, ambiguous ones only with the right default."""

import pytest
from payment_rows import faults, row, stored, verdict

from schemas.currencies import parse_currency
from schemas.currency_names import NAMES
from schemas.outcomes import Code
from schemas.payments import PaymentContext


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("NGN", "NGN"),
        ("ngn", "NGN"),
        ("Naira", "NGN"),
        ("NAIRA", "NGN"),
        ("₦", "NGN"),
        ("Nigerian  Naira", "NGN"),
        ("Ghana Cedi", "GHS"),
        ("cedis", "GHS"),
        ("Kenyan Shilling", "KES"),
        ("kenyan-shilling", "KES"),
        ("Shilingi ya Kenya", "KES"),
        ("Uganda Shilling", "UGX"),
        ("Birr", "ETB"),
        ("ብር", "ETB"),
        ("Rand", "ZAR"),
        ("Leone", "SLE"),
        ("SLL", "SLL"),
        ("Dalasi", "GMD"),
        ("Ariary", "MGA"),
        ("Metical", "MZN"),
        ("Pula", "BWP"),
        ("Euro", "EUR"),
        ("€", "EUR"),
        ("US Dollar", "USD"),
        ("US$", "USD"),
        ("Zambian Kwacha", "ZMW"),
        ("Franc guinéen", "GNF"),
        ("FRANC GUINEEN", "GNF"),
        ("Franc CFA BCEAO", "XOF"),
        ("U.S.D.", "USD"),
        ("Escudo cabo-verdiano", "CVE"),
        *((text, "GHS") for text in ("GH¢", "GH₵", "¢", "Gh¢", "GHS₵")),
        *((text, "KES") for text in ("KSh", "KES/=", "Ksh.", "K.Sh.", "KSHS", "Kshs/-")),
        *((text, "NGN") for text in ("N", "=N=")),
        *((text, "UGX") for text in ("USh", "UGX/=")),
        ("TSh/=", "TZS"),
        ("R", "ZAR"),
        ("ZK", "ZMW"),
        ("MK", "MWK"),
        ("D", "GMD"),
        ("Br", "ETB"),
        ("FBu", "BIF"),
        ("RWF", "RWF"),
        ("Frw", "RWF"),
        ("MT", "MZN"),
        ("MTn", "MZN"),
        ("Kz", "AOA"),
        ("DA", "DZD"),
        ("DT", "TND"),
        ("£E", "EGP"),
        ("E£", "EGP"),
        ("L.E.", "EGP"),
        ("ج.م", "EGP"),
        ("د.ج", "DZD"),
        ("P", "BWP"),
        ("Ar", "MGA"),
        ("FG", "GNF"),
        ("FC", "CDF"),
        ("$US", "USD"),
        ("NLe", "SLE"),
        ("XOF", "XOF"),
        ("XAF", "XAF"),
    ],
)
def test_names_and_codes(given: str, code: str) -> None:
    """A code or name in any case, with or without accents, is its ISO code; the original is kept."""
    found = stored(row(PAYMENT_CURRENCY=given))
    assert (found["payment_currency"], found["currency_given"]) == (code, given)


@pytest.mark.parametrize(
    ("given", "default", "code"),
    [
        ("CFA", "XOF", "XOF"),
        ("F CFA", "XAF", "XAF"),
        ("FCFA", "XOF", "XOF"),
        ("F.CFA", "XOF", "XOF"),
        ("Kwacha", "MWK", "MWK"),
        ("Shilling", "TZS", "TZS"),
        ("$", "USD", "USD"),
        ("dollar", "LRD", "LRD"),
        ("CFA", "NGN", None),
        ("CFA", None, None),
        ("$", None, None),
        *((text, None, None) for text in ("F", "Sh", "/=", "K", "DH", "Le", "LD", "SR", "Rs", "₨")),
        ("Le", "SLE", "SLE"),
        ("F", "GNF", "GNF"),
        ("DH", "MAD", "MAD"),
    ],
)
def test_ambiguous_names(given: str, default: str | None, code: str | None) -> None:
    """An ambiguous name means the default if that is a candidate; otherwise it is refused."""
    context = PaymentContext("s3", default_currency=default)
    if code is None:
        assert faults(row(PAYMENT_CURRENCY=given), context) == {"PAYMENT_CURRENCY": Code.AMBIGUOUS_CURRENCY}
    else:
        assert stored(row(PAYMENT_CURRENCY=given), context)["payment_currency"] == code


_NOBODYS = ("XXX", "XTS", "XAU", "XAG", "XDR", "XUA", "XBA", "CHE", "USN", "CLF")


@pytest.mark.parametrize("given", ["Galleon", "NG", "x" * 1000, "NGNN", "5", "Gold", *_NOBODYS, "xxx"])
def test_unknown(given: str) -> None:
    """What nobody is paid in is refused, codes for metals, funds, tests and no currency among it."""
    assert faults(row(PAYMENT_CURRENCY=given)) == {"PAYMENT_CURRENCY": Code.UNKNOWN_CURRENCY}


def test_an_ambiguous_name_is_told_with_what_it_can_mean() -> None:
    """The sender need not look the codes up; nothing of what he sent is repeated."""
    (fault,) = verdict(row(PAYMENT_CURRENCY="F CFA")).errors[0]
    assert fault.detail.endswith("it can be XOF, XAF")


def test_every_listed_name_is_found() -> None:
    """Each name of the table means the currencies it is listed with, in capitals too."""
    for name, codes in NAMES.items():
        assert parse_currency(name.upper()).codes == codes, name


def test_default_currency_does_not_change_the_content() -> None:
    """The same row under another default has the same content hash."""
    hashes = {
        verdict(row(PAYMENT_CURRENCY="CFA"), context=PaymentContext("s3", default)).content_hash[0]
        for default in ("XOF", "XAF")
    }
    assert len(hashes) == 1
