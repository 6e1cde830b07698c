"""The one validation of payments: good rows to columns, bad rows to faults that say field and reason."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payment_rows import faults, row, stored, verdict

from schemas.fields import BY_NAME, CUSTOM, EXAMPLES, FIELDS, MAX_CELL, MAX_ID, NAMES, PROFILES
from schemas.outcomes import Code
from schemas.payment_model import RECORD
from schemas.payments import PaymentContext, PaymentValidator
from schemas.quantities import TRANSACTION_TYPES

UPLOAD = PaymentContext("upload", default_currency="NGN")


def test_good_row_becomes_typed_columns() -> None:
    """The seed's sample row is stored with its instant in UTC, exact amount and ISO currency."""
    found = stored(row(NOTES="first\nsecond", TRANSACTION_CHARGES="1000"))
    assert found["id"] == "UC45678"
    assert found["timestamp"] == 1_621_174_561_000
    assert found["payment_amount"] == Decimal(5000)
    assert (found["payment_currency"], found["currency_given"]) == ("NGN", "Naira")
    assert found["transaction_charges"] == Decimal(1000)
    assert found["external_id"] == ""
    assert found["latitude"] is None
    assert found["notes"] == "first\nsecond"
    assert found["custom"] == {}
    assert "STATUS" not in found["supplied"]
    assert found["supplied"][:2] == ["ID", "TIMESTAMP"]


def test_every_column_has_one_value_per_good_row() -> None:
    """Columns, hashes and indexes of a mixed batch stay in step."""
    batch = verdict(row(), row(PAYMENT_AMOUNT="x"), row(ID="2"))
    assert batch.valid == [0, 2]
    assert list(batch.errors) == [1]
    assert {len(column) for column in batch.columns.values()} == {2}
    assert len(batch.content_hash) == 2
    assert batch.columns["id"] == ["UC45678", "2"]
    assert set(batch.columns) == {field.column for field in FIELDS} | {"currency_given", "custom", "supplied"}


def test_row_tells_all_its_faults() -> None:
    """A row with several faults gives several errors, missing fields among them."""
    found = faults(row(PAYMENT_AMOUNT="abc", TIMESTAMP="yesterday", METER_ID=None, CUSTOMER_ID="N/A"))
    assert found == {
        "PAYMENT_AMOUNT": Code.BAD_DECIMAL,
        "TIMESTAMP": Code.BAD_TIMESTAMP,
        "METER_ID": Code.MISSING,
        "CUSTOMER_ID": Code.MISSING,
    }


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("name", sorted(NAMES))
def test_profile_says_which_fields_are_required(profile: str, name: str) -> None:
    """Leaving a field out is a fault exactly where the profile requires it."""
    found = faults(row(**{name: None}), PaymentContext(profile, default_currency="NGN"))
    assert found == ({name: Code.MISSING} if name in PROFILES[profile] else {})


def test_programme_may_require_more() -> None:
    """A field that the dataset's programme requires besides is missed."""
    context = PaymentContext("s3", extra_required=frozenset({"REFERENCE_ID"}))
    assert faults(row(), context) == {"REFERENCE_ID": Code.MISSING}


def test_contexts_of_several_datasets_in_one_batch() -> None:
    """Each row is judged under its own context."""
    no_phone = row(CUSTOMER_PHONE=None)
    contexts = [PaymentContext("s3"), PaymentContext("sheet"), PaymentContext("s3")]
    batch = PaymentValidator().validate([no_phone, no_phone, row()], contexts)
    assert batch.valid == [1, 2]


def test_unknown_profile_and_uneven_lists_are_programming_errors() -> None:
    """A context without profile, or too few contexts, raise instead of passing rows."""
    with pytest.raises(KeyError):
        PaymentValidator().validate([row()], [PaymentContext("no such profile")])
    with pytest.raises(ValueError, match="contexts"):
        PaymentValidator().validate([row()], [])


def test_empty_batch() -> None:
    """No rows give no rows."""
    batch = PaymentValidator().validate([], [])
    assert batch.valid == []
    assert batch.errors == {}


@pytest.mark.parametrize("placeholder", ["", " ", "N/A", "n/a", "null", "NULL", "nul", "-", " N/A\t"])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_placeholders_are_missing_values(field: Any, placeholder: str) -> None:
    """A placeholder counts as no value in every kind of field."""
    required = field.name in PROFILES["s3"]
    assert faults(row(**{field.name: placeholder})) == ({field.name: Code.MISSING} if required else {})
    if not required:
        assert field.name not in stored(row(**{field.name: placeholder}))["supplied"]


@pytest.mark.parametrize("value", [True, 1.5, [1], {"a": 1}])
def test_ids_are_texts_or_integers(value: Any) -> None:
    """A float, a boolean or a structure is no id: what the meter says cannot be known from it."""
    assert faults(row(METER_ID=value)) == {"METER_ID": Code.WRONG_TYPE}


def test_integer_id_is_its_digits_and_zeros_stay() -> None:
    """A JSON integer becomes text; leading zeros of a text are kept; white space around it is not."""
    assert stored(row(METER_ID=45987))["meter_id"] == "45987"
    assert stored(row(METER_ID="000123"))["meter_id"] == "000123"
    assert stored(row(METER_ID="\u00a0 A-1 \t"))["meter_id"] == "A-1"


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("ID", "x" * MAX_ID, None),
        ("ID", "x" * (MAX_ID + 1), Code.TOO_LONG),
        *(
            ("METER_ID", f"45{letter}987", Code.CONTROL_CHARACTER)
            for letter in "\u200b\u202e\ufeff\u00ad\U000e0041"
        ),
        *(("ID", letter, Code.CONTROL_CHARACTER) for letter in "\u200e\u3164\u2800"),
        ("ID", "رقم-٤٥ é", None),
        ("CUSTOMER_NAME", "a\u200cb", None),
        ("STATUS", "x" * MAX_CELL, None),
        ("STATUS", "x" * (MAX_CELL + 1), Code.TOO_LONG),
        ("NOTES", "x" * (MAX_CELL + 1), Code.TOO_LONG),
        ("METER_ID", "a\0b", Code.CONTROL_CHARACTER),
        ("METER_ID", "a\nb", Code.CONTROL_CHARACTER),
        ("STATUS", "a\x85b", Code.CONTROL_CHARACTER),
        ("STATUS", "a\x1f", Code.CONTROL_CHARACTER),
        ("NOTES", "a\tb\r\nc", None),
        ("LOCATION", "a\nb", None),
        ("CUSTOMER_NAME", "a\nb", None),
        ("NOTES", "a\0b", Code.CONTROL_CHARACTER),
        ("STATUS", "a\ud800b", Code.CONTROL_CHARACTER),
        ("NOTES", "a\ud800b", Code.CONTROL_CHARACTER),
    ],
)
def test_lengths_and_control_characters(field: str, text: str, code: Code | None) -> None:
    """Too long texts and control characters are refused; notes may span lines."""
    assert faults(row(**{field: text})) == ({field: code} if code else {})


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("INSTALLMENT_PAYMENT", "INSTALLMENT_PAYMENT"),
        ("full payment", "FULL_PAYMENT"),
        ("Non-Contract Payment", "NON_CONTRACT_PAYMENT"),
        (" reversal ", "REVERSAL"),
    ],
)
def test_types_in_any_case_with_spaces(given: str, code: str) -> None:
    """A type is known in any case and with spaces or hyphens for underscores."""
    assert stored(row(TRANSACTION_TYPE=given))["transaction_type"] == code


@pytest.mark.parametrize("given", ["PAYMENT", "FULLPAYMENT", "x" * 5000, "FULL_PAYMENT;"])
def test_unknown_type(given: str) -> None:
    """Another type is refused, not guessed."""
    assert faults(row(TRANSACTION_TYPE=given)) == {"TRANSACTION_TYPE": Code.UNKNOWN_TYPE}


@pytest.mark.parametrize(
    "phone",
    ["2.34567E+11", "2.34567e11", "234567890123.0", "234567890123.00", "2E11", 2.5e11, 234567890123.0],
)
def test_phone_that_a_spreadsheet_turned_into_a_number(phone: Any) -> None:
    """Such a phone number is an error, not a guess, as text and as JSON number."""
    assert faults(row(CUSTOMER_PHONE=phone)) == {"CUSTOMER_PHONE": Code.BAD_PHONE}


@pytest.mark.parametrize(
    "spoiled", ["1.23457E+11", "1,23457e+11", "1E+12", " 2.5E+100 ", "-1.5E+11", "#N/A", "#REF!", "#NAME?"]
)
def test_an_id_that_a_spreadsheet_rounded_or_lost_is_refused(spoiled: str) -> None:
    """Two payments, or two meters, would become one; the same of every id, and nothing is made up."""
    cells = row(ID=spoiled, METER_ID=spoiled, REFERENCE_ID=spoiled)
    assert faults(cells) == dict.fromkeys(("ID", "METER_ID", "REFERENCE_ID"), Code.BAD_ID)


@pytest.mark.parametrize(
    "serial", ["12E3", "5E10", "7E+1", "1E-05", "12.5E+11", "A1.2E+11", "#1", "N/A#", "1+2", "E+12"]
)
def test_an_ordinary_serial_number_is_no_rounded_one(serial: str) -> None:
    """Letters and signs are part of many ids; only what a spreadsheet writes for a long number is refused."""
    assert stored(row(METER_ID=serial))["meter_id"] == serial


@pytest.mark.parametrize("phone", ["+2344567890", "0803 555 1234", "0803.555.1234", "(0)803", "2344567890"])
def test_phone_as_people_write_it(phone: str) -> None:
    """Phone numbers have no form; digits with separators pass."""
    assert stored(row(CUSTOMER_PHONE=phone))["customer_phone"] == phone


@pytest.mark.parametrize(
    ("latitude", "longitude", "stored_pair"),
    [
        ("9.07", "7.39", (9.07, 7.39)),
        (9.07, 7, (9.07, 7.0)),
        ("-0.0", "180", (0.0, 180.0)),
        ("9.123456789012345", None, (9.123456789012345, None)),
        ("1.3,30.14", "1.3,30.14", (1.3, 30.14)),
        ("1.3, 30.14", "1.3,30.14", (1.3, 30.14)),
    ],
)
def test_coordinates(latitude: Any, longitude: Any, stored_pair: Any) -> None:
    """Decimal degrees, or the seed's pair standing in both fields."""
    found = stored(row(LATITUDE=latitude, LONGITUDE=longitude))
    assert (found["latitude"], found["longitude"]) == stored_pair


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        ("91", "1"),
        ("1", "181"),
        ("x", "1"),
        ("1,3", "30,14"),
        ("6,5", "6,5"),
        ("6, 5", "6, 5"),
        ("1.3,30.14", None),
        (True, "1"),
        ("1e400", "1"),
    ],
)
def test_bad_coordinates(latitude: Any, longitude: Any) -> None:
    """Out of range, decimal commas and half a pair are refused."""
    assert set(faults(row(LATITUDE=latitude, LONGITUDE=longitude)).values()) == {Code.BAD_COORDINATES}


def test_white_space_around_a_cell_is_no_part_of_it() -> None:
    """Of every kind of field and of blank: a spreadsheet pads with the one that does not break."""
    padded = {name: f"\u00a0 {text}\t\u2003\u00a0" for name, text in EXAMPLES.items()}
    assert stored(padded) == {**stored(EXAMPLES), "currency_given": EXAMPLES["PAYMENT_CURRENCY"]}
    assert verdict(padded).content_hash == verdict(EXAMPLES).content_hash


@pytest.mark.parametrize(("given", "count"), [("0", 0), (3, 3), ("12", 12), ("4294967295", 4294967295)])
def test_count(given: Any, count: int) -> None:
    """A whole number of zero or more."""
    assert stored(row(FAILED_BATTERY_CAPACITY_COUNT=given))["failed_battery_capacity_count"] == count


@pytest.mark.parametrize("given", ["-1", "1.5", "x", "4294967296", True, 1.0, "٣"])
def test_bad_count(given: Any) -> None:
    """Negative, broken and other numbers are refused."""
    assert faults(row(FAILED_BATTERY_CAPACITY_COUNT=given)) == {
        "FAILED_BATTERY_CAPACITY_COUNT": Code.BAD_INTEGER
    }


def test_unknown_columns_are_kept() -> None:
    """Unknown keys and the `custom` object end in `custom`, as texts."""
    found = stored(row(SITE="A", custom={"COLOUR": "red", "EMPTY": "", "N": 1.5}, FLAG=True, LIST=[1, "a"]))
    assert found["custom"] == {"SITE": "A", "COLOUR": "red", "N": "1.5", "FLAG": "true", "LIST": '[1,"a"]'}
    assert "custom" in found["supplied"]


def test_header_alias_of_a_direct_publisher() -> None:
    """`CUSTOMER NAME` means CUSTOMER_NAME; beside the canonical name it stays an unknown column."""
    assert stored({**row(CUSTOMER_NAME=None), "CUSTOMER NAME": "Jane"})["customer_name"] == "Jane"
    assert stored({**row(), "CUSTOMER NAME": "Jane"})["customer_name"] == "John Doe"


@pytest.mark.parametrize(
    ("custom", "code"),
    [
        ("text", Code.WRONG_TYPE),
        ([1], Code.WRONG_TYPE),
        ({"a": "x" * 5000}, Code.TOO_LONG),
        ({"a": "\0"}, Code.CONTROL_CHARACTER),
        ({str(n): "x" for n in range(300)}, Code.TOO_LONG),
    ],
)
def test_bad_custom(custom: Any, code: Code) -> None:
    """`custom` has limits too."""
    assert faults(row(custom=custom)) == {"custom": code}


def test_deeply_nested_unknown_value() -> None:
    """A value nested deeper than JSON can be written is refused, and the row beside it passes."""
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    batch = verdict(row(X=deep), row())
    assert batch.valid == [1]


def test_default_currency_where_the_profile_allows_it() -> None:
    """An upload without currency gets the dataset's; with S3 it is missing."""
    no_currency = row(PAYMENT_CURRENCY=None)
    found = stored(no_currency, UPLOAD)
    assert (found["payment_currency"], found["currency_given"]) == ("NGN", "")
    assert faults(no_currency, PaymentContext("s3", default_currency="NGN")) == {
        "PAYMENT_CURRENCY": Code.MISSING
    }


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_no_currency_and_no_default_is_a_fault_in_every_channel(profile: str) -> None:
    """An amount of no currency is never stored, whatever the profile asks for."""
    assert faults(row(PAYMENT_CURRENCY=None), PaymentContext(profile)) == {"PAYMENT_CURRENCY": Code.MISSING}


def test_faulty_currency_is_not_replaced_by_the_default() -> None:
    """A currency that cannot be understood is a fault even where a default exists."""
    assert faults(row(PAYMENT_CURRENCY="Galleon"), UPLOAD) == {"PAYMENT_CURRENCY": Code.UNKNOWN_CURRENCY}


def test_details_never_contain_the_value() -> None:
    """What is said about a fault is a fixed sentence."""
    secret = "Jane-Secret-4711\0"
    cells = dict.fromkeys((field.name for field in FIELDS), secret)
    for error in verdict(cells).errors[0]:
        assert "Secret" not in f"{error.field}{error.code}{error.detail}"


def test_faults_say_what_is_allowed_and_what_was_found() -> None:
    """The types, the limit beside the length, the currencies that a name can mean: one look is enough."""
    cells = row(
        TRANSACTION_TYPE="GIFT", METER_ID=" " + "x" * 300, STATUS="y" * 5000, PAYMENT_CURRENCY="franc",
        FAILED_BATTERY_CAPACITY_COUNT="-1", custom={"a": "x" * 5000},
    )  # fmt: skip
    details = {error.field: error.detail for error in verdict(cells).errors[0]}
    assert all(name in details["TRANSACTION_TYPE"] for name in TRANSACTION_TYPES)
    assert details["METER_ID"] == "the text is longer than allowed: at most 256 characters; found 300"
    assert details["STATUS"].endswith("at most 4096 characters; found 5000")
    assert "code; it can be " in details["PAYMENT_CURRENCY"]
    assert "XOF" in details["PAYMENT_CURRENCY"]
    assert "0 to 4294967295" in details["FAILED_BATTERY_CAPACITY_COUNT"]
    assert "4096" in details[CUSTOM]


@given(st.sampled_from([field.name for field in FIELDS]), st.text("QZ7", min_size=3), st.integers(0, 5000))
def test_no_detail_holds_a_value(name: str, secret: str, more: int) -> None:
    """Whatever a cell has: of a personal one not even the length is told."""
    text = f"{secret}Quillfeather" + "z" * more
    found = verdict({**row(), name: text}).errors.get(0, [])
    assert all(secret not in error.detail and "Quill" not in error.detail for error in found)
    if BY_NAME[name].personal:
        assert all("found" not in error.detail for error in found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEYS = st.sampled_from([*sorted(NAMES), "custom", "CUSTOMER NAME"]) | st.text(max_size=8)


@given(st.lists(st.dictionaries(_KEYS, _JSON, max_size=8), max_size=5))
def test_any_json_object_gets_a_verdict(rows: list[dict[str, Any]]) -> None:
    """Whatever a publisher sends, the validator answers and every row has one verdict."""
    batch = verdict(*rows)
    assert sorted([*batch.valid, *batch.errors]) == list(range(len(rows)))


@given(st.data())
def test_neighbours_do_not_change_a_verdict(data: st.DataObject) -> None:
    """A row has the same verdict alone and among others, good or bad."""
    cell = st.sampled_from(
        ["", "5", "x", "N/A", "2021-05-16T14:16:01Z", "Naira", "REVERSAL", "1.3,30.14", None]
    )
    rows = data.draw(
        st.lists(st.dictionaries(st.sampled_from(sorted(NAMES)), cell, min_size=5), min_size=1, max_size=4)
    )
    rows = [row(**changes) for changes in rows]
    together = verdict(*rows)
    hashes = dict(zip(together.valid, together.content_hash, strict=True))
    for index, cells in enumerate(rows):
        alone = verdict(cells)
        assert alone.errors.get(0, []) == together.errors.get(index, [])
        assert alone.content_hash == ([hashes[index]] if index in hashes else [])


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), _JSON, min_size=1, max_size=1))
def test_record_model_and_columns_agree(changes: dict[str, Any]) -> None:
    """The model whose JSON Schema is published refuses exactly the cells that the columns refuse."""
    ((name, cell),) = changes.items()
    cells = row(**{name: cell})
    accepted = not (set(faults(cells)) & {name}) or faults(cells)[name] is Code.MISSING
    try:
        RECORD.validate_python(cells)
        assert accepted or faults(cells)[name] in (Code.AMBIGUOUS_CURRENCY, Code.BAD_COORDINATES)
    except ValueError:
        assert not accepted
