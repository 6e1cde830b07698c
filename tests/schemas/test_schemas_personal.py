"""Personal fields: pseudonyms, fault tokens that keep the verdict, seals."""

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from payment_rows import faults, row, stored, verdict

from schemas.cells import is_missing
from schemas.content import differences
from schemas.fields import NAMES, PERSONAL
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, SealBroken, Sealer
from schemas.personal_names import sounds_personal
from schemas.personal_values import any_looks_personal, looks_personal

MASTER = b"0123456789abcdef0123456789abcdef"
ORG, OTHER = "org_a", "org_b"
PSEUDONYM = re.compile(r"[0-9a-f]{64}").fullmatch


def protected(cells: dict[str, Any], organization_id: str = ORG) -> dict[str, Any]:
    """The row after the pseudonymiser."""
    copy = (
        {**cells, "custom": dict(cells["custom"])} if isinstance(cells.get("custom"), dict) else dict(cells)
    )
    Pseudonymizer(MASTER).protect(organization_id, copy)
    return copy


def test_legacy_profile_is_the_seeds_vector() -> None:
    """The legacy profile is plain SHA-256, as the seed's true sample shows."""
    assert (
        Pseudonymizer(MASTER, "sha256").pseudonym(ORG, "L23FX1236")
        == "6a099e5c63f0138de7b3dfa7e03c17e551ea23e53c6399a2f0d490d5d87457de"
    )


def test_default_profile_has_a_key_per_organisation() -> None:
    """The same name has another pseudonym elsewhere, and none of them is the plain hash."""
    pseudonymizer = Pseudonymizer(MASTER)
    mine, theirs = pseudonymizer.pseudonym(ORG, "Jane"), pseudonymizer.pseudonym(OTHER, "Jane")
    assert mine != theirs
    assert mine == Pseudonymizer(MASTER).pseudonym(ORG, "Jane")
    assert Pseudonymizer(MASTER, "sha256").pseudonym(ORG, "Jane") not in (mine, theirs)


def test_personal_fields_are_replaced_and_originals_returned() -> None:
    """Every personal field becomes 64 hex characters; the originals come back for sealing."""
    cells = row(AGENT_ID="Agent", NOTES="call\nJane", LOCATION="Hill 5", custom={"Customer Name": "Jane"})
    originals = Pseudonymizer(MASTER).protect(ORG, cells)
    assert originals == {
        "CUSTOMER_NAME": "John Doe",
        "CUSTOMER_PHONE": "+2344567890",
        "AGENT_ID": "Agent",
        "NOTES": "call\nJane",
        "LOCATION": "Hill 5",
        "Customer Name": "Jane",
    }
    assert all(PSEUDONYM(cells[name]) for name in PERSONAL)
    assert PSEUDONYM(cells["custom"]["Customer Name"])
    assert cells["ID"] == "UC45678"


def test_second_run_changes_nothing() -> None:
    """The worker may run the step again over what a producer has protected."""
    cells = protected(row(NOTES="x"))
    again = dict(cells)
    assert Pseudonymizer(b"another master secret!").protect(OTHER, again) == {}
    assert again == cells


@pytest.mark.parametrize("placeholder", ["", " ", "N/A", "null", "-", None])
def test_missing_values_stay_missing(placeholder: Any) -> None:
    """A placeholder is no person."""
    cells = {"CUSTOMER_NAME": placeholder}
    assert Pseudonymizer(MASTER).protect(ORG, cells) == {}
    assert cells == {"CUSTOMER_NAME": placeholder}


def test_other_spellings_of_a_personal_field_are_replaced() -> None:
    """A direct publisher's `CUSTOMER NAME` or `customer_phone` does not get through in plain text."""
    cells = protected({"CUSTOMER NAME": "Jane", "customer_phone": "+1", "SITE": "A"})
    assert PSEUDONYM(cells["CUSTOMER NAME"])
    assert PSEUDONYM(cells["customer_phone"])
    assert cells["SITE"] == "A"


@pytest.mark.parametrize(
    "name",
    [
        "customerName", "clientPhone", "PHONE_NO", "Mobile Number", "msisdn2", "WhatsApp", "e-mail", "Email",
        "home_address", "Agent code", "comments", "GPS Location", "Emergency contact", "passport_no",
        "Date of birth", "FULLNAME", "TEL", "Tel No", "telNo", "Cell No", "GSM", "MOMO", "Momo Number",
        "Mpesa", "Wallet", "Recipient", "Payer", "Next of kin", "Nom", "Pr\u00e9nom", "DOB", "NIN",
        "National ID",
        "NOME_CLIENTE", "nomeCliente", "NOM_CLIENT", "REMARKS", "Remarques", "OBSERVATIONS", "Observações",
        "CLIENT", "Cliente", "CLIENT 2", "CUSTOMER", "MEMO", "JINA", "Jina la mteja", "SIMU", "NAMBA_YA_SIMU",
        "MORADA", "ADRESSE", "GUARANTOR", "GARANT", "PAID_BY", "paidBy", "PAYE_PAR", "RECEBIDO_POR",
        "IMELIPWA_NA", "NEXT_OF_KIN", "Fiador", "MDHAMINI", "Anwani", "Endereço", "TELEMOVEL", "Sold by",
        "ACCOUNT_HOLDER", "Narration", "SALES_REP", "Technicien", "CNI", "IMEI", "ISM", "HATIF",
        "اسم العميل", "رقم الهاتف", "J\u200bINA", "\u202eSIMU", "የደንበኛ ስም",
        "\uff30\uff28\uff2f\uff2e\uff25", "Ph\u043ene",
    ],
)  # fmt: skip
def test_unknown_columns_that_sound_personal_are_replaced(name: str) -> None:
    """At the top and under `custom`, whatever the value is."""
    for value in ("Jane", 2348012345678, {"first": "Jane"}, ["Jane"], True, 2.5e11):
        assert PSEUDONYM(protected({name: value})[name])
        assert PSEUDONYM(protected({"custom": {name: value}})["custom"][name])


@pytest.mark.parametrize(
    "value",
    [
        "+254712345678", "0712345678", "0712 345 678", "(071) 234-5678", 254712345678, "jane@example.org",
        " +254 712 345 678 ", "254-712-345-678",
        "08031234567 / 08051234567", "08031234567,08051234567", "0803 123 4567; 0805 123 4567",
        "call 08031234567 after six", "Tel:0803-123-4567", "tel08031234567", "Jane(08031234567)",
        "TEL-08031234567", "PLOT5 08031234567", "x2026-05-16/08031234567",
        "70 12 34 56", "70-12-34-56", "7012 3456", "+70123456", "+(70)123456", "pay 22.12.34.56 please",
        "٠٨٠٣١٢٣٤٥٦٧", "۰۸۰۳۱۲۳۴۵۶۷", "\u202a+234\u00a0803\u2011123\u20114567\u202c",
        "2026-05-16 08031234567", "4111 1111 1111 1111", "mail jane@example.org now",
    ],
)  # fmt: skip
def test_what_looks_like_a_number_to_call_is_replaced_under_any_name(value: Any) -> None:
    """At the top and under `custom`; known fields that are not personal stay as they are."""
    assert PSEUDONYM(protected({"SITE": value})["SITE"])
    assert PSEUDONYM(protected({"custom": {"Ref": value}})["custom"]["Ref"])
    assert protected({"METER_ID": value}) == {"METER_ID": value}


@pytest.mark.parametrize(
    "value",
    [
        "12345678",
        "2026-05-16",
        "2026-05-16 14:16:01",
        "1234567890.50",
        "-1.3, 30",
        "A123456789",
        12.5,
        "2026-05-16T14:16:01.123456Z",
        "16/05/2026 14:16",
        "16.05.2026",
        "2026/5/6",
        "9.0765432, 7.3986543",
        "MTR-123456789",
        "SN_0123456789",
        "550e8400-e29b-41d4-a716-446655440000",
        "Paid 5000 on 16/05/2026",
        "12345678901234567890",
        "1,234,567,890",
        "123456789,50",
        "[",
        "plan [B] for 2 {x",
        "3 x 12 W",
        12345678,
        "0.1 0.2 0.3",
        True,
    ],
)
def test_what_does_not_look_personal_stays(value: Any) -> None:
    """Dates, decimals, short and mixed ids are readable for analysts."""
    assert protected({"SITE": value}) == {"SITE": value}


def test_a_new_key_makes_no_conflict_of_unknown_columns() -> None:
    """What was replaced is not content: neither hash nor comparison sees it."""
    cells = row(custom={"Home Address": "Hill 5", "Ref": "+254712345678", "SITE": "A"})
    one, two = dict(cells), dict(cells)
    for key, copy in ((MASTER, one), (b"another master secret!", two)):
        copy["custom"] = dict(copy["custom"])
        Pseudonymizer(key).protect(ORG, copy)
    assert one["custom"] != two["custom"]
    assert verdict(one).content_hash == verdict(two).content_hash == verdict(cells).content_hash
    other = row(custom={"Home Address": "Hill 6", "Ref": "+254700000000", "SITE": "B"})
    assert differences(stored(one), stored(protected(other))) == ["custom.SITE"]


def test_other_unknown_columns_stay_unless_they_hide_something() -> None:
    """Texts and numbers stay readable; what nobody looks inside is replaced whole."""
    cells = {"SITE": "A", "FEEDER": 7, "TARIFF": "T1"}
    assert protected(dict(cells)) == cells
    for hidden in ({"who": "Jane"}, {"Jane": 5}, ["Jane"], '{"Jane":5}', "['Jane']"):
        assert PSEUDONYM(protected({"SITE": hidden})["SITE"])
        assert PSEUDONYM(protected({"custom": {"SITE": hidden}})["custom"]["SITE"])


@pytest.mark.parametrize("hidden", [{"phone": "+2348012345678"}, ["+2348012345678"], {}, [[]]])
def test_what_nobody_looks_into_is_replaced_in_every_field(hidden: Any) -> None:
    """An object or a list in place of a text is refused as before, without what is in it; so is `custom`."""
    for name in (*sorted(NAMES), "custom", "Meter_Id", "Customer Phone"):
        if name == "custom" and isinstance(hidden, dict):
            continue
        plain = row(**{name: hidden})
        left = protected(plain)
        assert "234" not in str(left)
        assert faults(left) == faults(plain) or name == "Meter_Id"
        assert protected(dict(left)) == left


def test_originals_of_replaced_objects_are_kept_and_stay_away() -> None:
    """They are sealed for whoever corrects the row, who writes a text in their place."""
    cells = row(METER_ID={"phone": "+2348012345678"}, custom="Jane Doe")
    pseudonymizer = Pseudonymizer(MASTER)
    originals = pseudonymizer.protect(ORG, cells)
    assert originals.items() >= {"METER_ID": '{"phone":"+2348012345678"}', "custom": '"Jane Doe"'}.items()
    kept = pseudonymizer.restore(ORG, cells, originals)
    assert {"METER_ID", "custom"} <= kept.keys()
    assert "Jane" not in str(cells)


@pytest.mark.parametrize("name", ["CUSTOMER_NAME", "CUSTOMER_PHONE", "AGENT_ID", "NOTES"])
@pytest.mark.parametrize("error", ["#N/A", " #REF! ", "#NAME?"])
def test_a_formula_that_failed_is_nobodys_name(name: str, error: str) -> None:
    """All customers whose names are lost would be one person."""
    assert faults(row(**{name: error})) == {name: Code.FORMULA_ERROR}
    assert faults(protected(row(**{name: error}))) == {name: Code.FORMULA_ERROR}
    assert faults(row(**{name: "#1 shop"})) == {}


def test_white_space_does_not_make_another_person() -> None:
    """The pseudonym is that of the trimmed text."""
    assert protected(row(CUSTOMER_NAME=" John Doe\t")) == protected(row())


_VALUES = (
    st.sampled_from(
        ["2.34567E+11", "5.0", "a\0b", "a\nb", "x" * 5000, "+234", "N/A", "a\x1f", "a\u0085b", "\ud800"]
    )
    | st.text(max_size=20)
    | st.floats(allow_nan=False)
    | st.integers(-(10**12), 10**12)
    | st.booleans()
    | st.lists(st.text(max_size=3), max_size=2)
    | st.none()
)


@given(st.sampled_from(PERSONAL), _VALUES)
def test_same_verdict_before_and_after(name: str, value: Any) -> None:
    """The dry run of the plain row and the pipeline's of the protected row agree on every value."""
    assert faults(row(**{name: value})) == faults(protected(row(**{name: value})))


@given(st.sampled_from(PERSONAL), st.text(min_size=4, max_size=30))
def test_nothing_of_the_value_remains(name: str, value: str) -> None:
    """Whatever the value, what is left is a pseudonym, a fault token or a missing value."""
    left = protected({name: value})[name]
    assert PSEUDONYM(left) or left.startswith("!fault:") or is_missing(left)


def test_pseudonym_of_digits_is_no_decimal_number() -> None:
    """A pseudonym that happens to look like 12e34 passes as a phone."""
    assert faults(row(CUSTOMER_PHONE="1" * 30 + "e" + "2" * 33)) == {}


def test_pseudonyms_do_not_change_the_content_of_a_row() -> None:
    """Apart from NOTES, protecting a row leaves its content hash as it was."""
    assert verdict(row()).content_hash == verdict(protected(row())).content_hash


def test_seal_opens_only_for_its_organisation() -> None:
    """A sealed text comes back for its organisation and key, and for nothing else."""
    sealer = Sealer(MASTER)
    sealed = sealer.seal(ORG, b"Jane")
    assert sealed.startswith("v1.")
    assert b"Jane" not in sealed.encode()
    assert sealer.seal(ORG, b"Jane") != sealed
    assert Sealer(MASTER).open(ORG, sealed) == b"Jane"
    for opener, organization_id in ((sealer, OTHER), (Sealer(b"x" * 32), ORG)):
        with pytest.raises(SealBroken):
            opener.open(organization_id, sealed)
    other = "B" if sealed[20] == "A" else "A"
    for broken in ("", "v1.", "v1.AAAA", sealed[:-4], sealed[:20] + other + sealed[21:], "é"):
        with pytest.raises(SealBroken):
            sealer.open(ORG, broken)


def test_short_secrets_are_refused() -> None:
    """A secret that could be guessed is refused at once."""
    with pytest.raises(ValueError, match="16 bytes"):
        Pseudonymizer(b"short")
    with pytest.raises(ValueError, match="16 bytes"):
        Sealer(b"short")


CELLS = (
    st.none()
    | st.text(max_size=20)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.lists(st.text(), max_size=2)
)
ROWS = st.dictionaries(st.sampled_from([*PERSONAL, "ID", "Customer Name", "phone", "odd"]), CELLS, max_size=6)


@example(cells={"CUSTOMER_PHONE": 0.5}, custom=None)
@given(cells=ROWS, custom=st.none() | st.dictionaries(st.sampled_from(["mail", "x"]), CELLS, max_size=2))
def test_what_is_put_back_becomes_the_same_row_again(cells: dict[str, Any], custom: Any) -> None:
    """Opened, looked at and sent again unchanged, a row has the same cells and the same seal."""
    pseudonymizer = Pseudonymizer(MASTER)
    once = {**cells, "custom": dict(custom)} if custom is not None else dict(cells)
    sealed = pseudonymizer.protect(ORG, once)
    again = {**once, "custom": dict(once["custom"])} if custom is not None else dict(once)
    kept = pseudonymizer.restore(ORG, again, sealed)
    assert {**kept, **pseudonymizer.protect(ORG, again)} == sealed
    assert again == once


def test_what_was_no_text_stays_replaced() -> None:
    """Put back as a text it would pass; an original that does not belong to its pseudonym stays away."""
    pseudonymizer = Pseudonymizer(MASTER)
    cells = row(CUSTOMER_NAME={"first": "Jane"}, CUSTOMER_PHONE=2.3e12)
    sealed = pseudonymizer.protect(ORG, cells)
    before = dict(cells)
    assert pseudonymizer.restore(ORG, cells, sealed) == {"CUSTOMER_NAME": '{"first":"Jane"}'}
    assert cells["CUSTOMER_NAME"] == before["CUSTOMER_NAME"]
    assert cells["CUSTOMER_PHONE"] == "2300000000000.0"
    other = dict(before)
    forged = {"CUSTOMER_NAME": "x", "NOTES": "n", "METER_ID": "m"}
    assert pseudonymizer.restore(ORG, other, forged) == forged
    assert other == before


_PIECES = st.sampled_from(
    [
        "2026-05-16",
        "14:16:01",
        "0803",
        "1234567",
        "1.5",
        "70",
        " ",
        "-",
        "/",
        "+",
        "(",
        "|",
        "\x1f",
        "a",
        "tel",
        "٠١٢٣",
    ]
)


@pytest.mark.parametrize(
    "value", ["0771234567abc", "0771234567mama Amina", "254712345678.0", 254712345678.0, "254712345678.00"]
)
def test_numbers_that_were_damaged_or_written_against_are_numbers(value: Any) -> None:
    """Letters right behind them, or the fraction that a spreadsheet makes of them."""
    assert looks_personal(value)


@pytest.mark.parametrize("value", ["1234567.0", 1234567890.5, "0771234567ABC", 17.25])
def test_fractions_and_ids_are_none(value: Any) -> None:
    """Amounts, short numbers, digits joined to capitals."""
    assert not looks_personal(value)


@pytest.mark.parametrize(
    "name", ["LATITUDE_AS_SENT", "LONGITUDE_AS_SENT", "LAT", "GEO_LAT", "Latitude2", "GPS"]
)
def test_exact_places_do_not_reach_analysts(name: str) -> None:
    """Coordinates are blurred for them; what a reader keeps beside them is exact."""
    assert PSEUDONYM(protected({"custom": {name: "1,3045678"}})["custom"][name])


@given(
    st.lists(
        st.text("0123456789 +-./()\n\x1f|a@.é", max_size=16) | st.lists(_PIECES).map("".join), max_size=6
    )
)
def test_a_look_at_many_texts_finds_what_a_look_at_each_finds(texts: list[str]) -> None:
    """The quick look rules texts out and never in."""
    assert any_looks_personal(texts) == any(map(looks_personal, texts))


@pytest.mark.parametrize(
    "name",
    ["CLIENT_ID", "Customer type", "CUSTOMER_SINCE", "CLIENT_CATEGORIE", "USER_COUNT", "PAR_30", "SITE",
     "TARIFF", "PRODUCT_DESCRIPTION", "VILLAGE", "GENDER", "LOAN_STATUS", "SERIAL", "ORDER_DATE", "NA", "BY"],
)  # fmt: skip
def test_names_of_other_things_stay(name: str) -> None:
    """What tells of no person is readable for analysts."""
    assert not sounds_personal(name)
    assert protected({"custom": {name: "x"}}) == {"custom": {name: "x"}}


_UNKNOWN = (
    st.sampled_from(
        ["x" * 4096, "x" * 4097, "a\0b", "a\nb", "\ud800", "!fault:too_long", "!fault:x", " 0803 1234567 "]
    )
    | st.recursive(
        st.text(max_size=9) | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.booleans(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    )
)  # fmt: skip


@example(name="REMARKS", value=["x" * 5000])
@example(name="SITE", value={"note": "x" * 5000})
@given(st.sampled_from(["SITE", "REMARKS", "customer phone"]), _UNKNOWN)
def test_an_unknown_value_has_the_same_verdict_before_and_after(name: str, value: Any) -> None:
    """What cannot be kept refuses its row: nothing stands in its place in an accepted one."""
    plain = row(custom={name: value})
    assert faults(plain) == faults(protected(plain))
    assert faults({**row(), name: value}) == faults(protected({**row(), name: value}))
    if not faults(plain):
        assert "!fault:" not in "".join(stored(protected(plain))["custom"].values()) or str(value).startswith(
            "!fault:"
        )


def test_the_text_of_an_amount_as_it_was_sent_is_no_number_to_call() -> None:
    """A reader keeps it beside the amount that it wrote anew."""
    custom = {"PAYMENT_AMOUNT_AS_SENT": "12 345 678,50", "METER_ID_AS_SENT": "12 345 678"}
    left = protected({"custom": custom})["custom"]
    assert left["PAYMENT_AMOUNT_AS_SENT"] == custom["PAYMENT_AMOUNT_AS_SENT"]
    assert PSEUDONYM(left["METER_ID_AS_SENT"])


def test_another_name_of_a_field_is_no_unknown_column() -> None:
    """A serial number under an alias looks like a telephone number, and is matched all the same."""
    cells = row(external_id="47000123456", Source="123456789012")
    cells["TRANSACTION CHARGES"] = "100000000"
    found = stored(protected(cells))
    assert (found["external_id"], found["source_field"]) == ("47000123456", "123456789012")
    assert found["transaction_charges"] == 100_000_000
    beside = stored(protected(row(EXTERNAL_ID="S1", external_id="+2348012345678")))
    assert beside["external_id"] == "S1"
    assert PSEUDONYM(beside["custom"]["external_id"])


@pytest.mark.parametrize("name", [*sorted(PERSONAL), "METER_ID", "STATUS", "custom"])
def test_names_of_fields_under_custom_hide_nothing(name: str) -> None:
    """There they are names like any other: what is personal is replaced, and comes back."""
    pseudonymizer = Pseudonymizer(MASTER)
    cells = row(custom={name: "+2348099999998"})
    before = {**cells, "custom": dict(cells["custom"])}
    originals = pseudonymizer.protect(ORG, cells)
    assert PSEUDONYM(cells["custom"][name])
    assert pseudonymizer.restore(ORG, cells, originals) == {}
    assert cells == before


@pytest.mark.parametrize(
    "given", [{"custom": {"a": "1"}, "a": "2"}, {"custom": {"a": "1", "a (2)": "3"}, "a": "2"}]
)
def test_unknown_columns_that_meet_are_both_kept(given: dict[str, Any]) -> None:
    """Nothing that was sent is dropped."""
    kept = stored({**row(), **given})["custom"]
    assert {"1", "2"} <= set(kept.values())


def test_an_alias_stands_for_a_field_without_a_value() -> None:
    """A placeholder is no value."""
    cells = row(TRANSACTION_CHARGES="N/A")
    cells["TRANSACTION CHARGES"] = "7"
    assert stored(cells)["transaction_charges"] == 7
