"""The published contract: a true AsyncAPI document, and JSON Schemas that say what the validation says."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import headers
from schemas.asyncapi import asyncapi
from schemas.documents import payment_schema, schemas_by_topic
from schemas.fields import ALIASES, EXAMPLES, FIELDS, PROFILES
from schemas.payments import PaymentContext, PaymentValidator
from schemas.topics import TOPICS
from tests.schemas.payment_rows import row


def _object(required: str, optional: str = "", **parts: Any) -> dict[str, Any]:
    """An object of the specification: its fixed fields and no others but extensions (`x-…`)."""
    names = required.split(), optional.split()
    fields: dict[str, Any] = {name: parts.get(name, {}) for name in (*names[0], *names[1])}
    return {
        "type": "object",
        "required": names[0],
        "properties": fields,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def _map(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": of}


_TEXT = {"type": "string", "minLength": 1}
_REFERENCE = {
    "type": "object",
    "required": ["$ref"],
    "properties": {"$ref": _TEXT},
    "additionalProperties": False,
}
_MESSAGE = _object(
    "payload",
    "headers correlationId contentType name title summary description tags externalDocs bindings examples"
    " traits",
    headers={"anyOf": [_REFERENCE, {"$ref": "https://json-schema.org/draft/2020-12/schema"}]},
    payload={"anyOf": [_REFERENCE, {"$ref": "https://json-schema.org/draft/2020-12/schema"}]},
    contentType=_TEXT,
)
_KAFKA = _object(
    "",
    "topic partitions replicas topicConfiguration bindingVersion",
    topic=_TEXT,
    partitions={"type": "integer", "minimum": 1},
    bindingVersion=_TEXT,
)
_CHANNEL = _object(
    "",
    "address messages title summary description servers parameters tags externalDocs bindings",
    address={"type": ["string", "null"]},
    messages=_map({"anyOf": [_REFERENCE, _MESSAGE]}),
    bindings=_object("", "kafka", kafka=_KAFKA),
)
_OPERATION = _object(
    "action channel",
    "title summary description security tags externalDocs bindings traits messages reply",
    action={"enum": ["send", "receive"]},
    channel=_REFERENCE,
    messages={"type": "array", "items": _REFERENCE},
)
SHAPE = Draft202012Validator(
    _object(
        "asyncapi info",
        "id servers defaultContentType channels operations components",
        asyncapi={"const": "3.0.0"},
        info=_object(
            "title version",
            "description termsOfService contact license tags externalDocs",
            title=_TEXT,
            version=_TEXT,
            license=_object("name", "url", name=_TEXT),
        ),
        defaultContentType=_TEXT,
        channels=_map(_CHANNEL),
        operations=_map(_OPERATION),
        components=_object(
            "",
            "schemas servers channels operations messages securitySchemes serverVariables parameters"
            " correlationIds replies replyAddresses externalDocs tags operationTraits messageTraits"
            " serverBindings channelBindings operationBindings messageBindings",
            schemas=_map({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
            messages=_map(_MESSAGE),
        ),
    )
)
"""The fixed fields of the objects of AsyncAPI 3.0.0 that the document uses (its specification, "Schema")."""
DOCUMENT = asyncapi("t.", "0.1.0")
SCHEMAS = {profile: Draft202012Validator(payment_schema(profile)) for profile in PROFILES}


def accepted(cells: dict[str, Any], profile: str = "s3") -> bool:
    """The validation's verdict."""
    return not PaymentValidator().validate([cells], [PaymentContext(profile, "NGN")]).errors


def test_the_document_has_the_shape_of_asyncapi() -> None:
    """Every object has the fields that AsyncAPI 3.0.0 gives it, and no others."""
    assert [error.message for error in SHAPE.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["channels"]["payments"].update(adress="x"),
        lambda d: d["operations"]["receive.payments"].update(action="publish"),
        lambda d: d["channels"]["payments"]["bindings"]["kafka"].update(partitions="four"),
        lambda d: d["components"]["schemas"]["payments"].update(type="row"),
        lambda d: d.pop("info"),
    ],
)
def test_the_shape_finds_what_is_wrong(spoil: Callable[[Any], Any]) -> None:
    """A misspelt field, a wrong value or a missing part is noticed."""
    document = copy.deepcopy(DOCUMENT)
    spoil(document)
    assert list(SHAPE.iter_errors(document))


def test_every_reference_leads_somewhere() -> None:
    """A reader of the document follows them all."""
    found = re.findall(r'"\$ref": "#/([^"]*)"', json.dumps(DOCUMENT))
    assert len(found) > 4 * len(TOPICS)
    for place in found:
        part: Any = DOCUMENT
        for step in place.split("/"):
            part = part[step]


def test_channels_are_the_topics() -> None:
    """All of them, with the installation's prefix, their partitions and retention, and one operation each."""
    assert set(DOCUMENT["channels"]) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        channel = DOCUMENT["channels"][topic.name]
        kafka = channel["bindings"]["kafka"]
        assert channel["address"] == kafka["topic"] == f"t.{topic.name}"
        assert kafka["partitions"] == topic.partitions
        assert str(kafka["topicConfiguration"]["retention.ms"]) == topic.config()["retention.ms"]
        assert kafka["topicConfiguration"]["cleanup.policy"] == [topic.config()["cleanup.policy"]]
    sends = {name for name, found in DOCUMENT["operations"].items() if found["action"] == "send"}
    assert set(DOCUMENT["operations"]) - sends == {"receive.payments", "receive.reads"}
    assert len(DOCUMENT["operations"]) == len(TOPICS)


def test_headers_are_those_that_are_read() -> None:
    """Each header of the code is described, and only the organisation is required."""
    described = DOCUMENT["components"]["messages"]["payments"]["headers"]
    assert set(described["properties"]) == headers.ALL
    assert described["required"] == [headers.ORGANIZATION_ID]


@pytest.mark.parametrize("name", sorted(schemas_by_topic()))
def test_schemas_are_json_schema(name: str) -> None:
    """Of the dialect that they name."""
    Draft202012Validator.check_schema(schemas_by_topic()[name])


GOOD: list[dict[str, Any]] = [
    {},
    {"PAYMENT_AMOUNT": 5000, "ID": 12, "CUSTOMER_PHONE": 2344567890},
    {"PAYMENT_AMOUNT": -0.5, "TRANSACTION_TYPE": "reversal"},
    *({"PAYMENT_AMOUNT": text} for text in ("+5", "5.", ".5", "5e3", " 12.50 ", "-0")),
    *({"TIMESTAMP": text} for text in (
        "2021-05-16T14:16:01.123Z", "2021-05-16 14:16:01+00:00", "2024-02-29T23:59:59+14:00",
        "1899-12-31T23:00:00-02:00", "2299-12-31T23:59:59", " 2021-05-16T14:16:01\t",
        "2021-05-16T14:16:01-0330", "\u00a02021-05-16T14:16:01\u00a0",
    )),
    *({"TRANSACTION_TYPE": text} for text in ("full payment", "Non-Contract_Payment", " ENERGY CREDIT ")),
    *({"PAYMENT_CURRENCY": text} for text in ("ngn", "Kenya shilling", "₦")),
    {"LATITUDE": "1.3,30.14", "LONGITUDE": "1.3,30.14"},
    {"LATITUDE": -90, "LONGITUDE": 180.0},
    {"TRANSACTION_CHARGES": "N/A", "REFERENCE_ID": None, "STATUS": "-", "NOTES": "two\nlines\t"},
    {"AGENT_ID": ""},
    {"FAILED_BATTERY_CAPACITY_COUNT": "0012"},
    {"FAILED_BATTERY_CAPACITY_COUNT": 3, "custom": {"a": 1, "b": [1]}, "my own column": {"x": None}},
    {"CUSTOMER_NAME": None, "CUSTOMER NAME": "John Doe", "TRANSACTION CHARGES": "1"},
    {"ID": "x" * 256 + "   ", "METER_ID": "00123", "REFERENCE_ID": "5E10", "CUSTOMER_ID": "#12"},
]  # fmt: skip


JANE = {"CUSTOMER NAME": "Jane"}
BESIDE: list[tuple[dict[str, Any], bool]] = [
    *(({"CUSTOMER_NAME": blank, **JANE}, True) for blank in (None, "", " - ", "N/A")),
    *(({"CUSTOMER_NAME": None, "CUSTOMER NAME": blank}, False) for blank in (None, "", "NULL", 1.5)),
    *(({"CUSTOMER NAME": other}, True) for other in (None, 1.5, True, {"x": 1}, "x")),
    *(({"TRANSACTION_CHARGES": blank, "TRANSACTION CHARGES": "x"}, False) for blank in (None, "-")),
    ({"TRANSACTION_CHARGES": "5", "TRANSACTION CHARGES": "x"}, True),
    ({"TRANSACTION_CHARGES": None, "TRANSACTION CHARGES": None}, True),
]


@pytest.mark.parametrize(("changes", "good"), BESIDE)
def test_names_beside_each_other(changes: dict[str, Any], good: bool) -> None:
    """Another name stands for a field that has no value; beside one it is a column like any other."""
    cells = {**row(), **changes}
    assert (accepted(cells), SCHEMAS["s3"].is_valid(cells)) == (good, good)


@pytest.mark.parametrize("changes", GOOD)
def test_what_the_validation_accepts_keeps_the_schema(changes: dict[str, Any]) -> None:
    """Every form that product and seeds name, once."""
    cells = row(**changes)
    assert accepted(cells)
    assert [error.message for error in SCHEMAS["s3"].iter_errors(cells)] == []


BAD: list[dict[str, Any]] = [
    *({name: None} for name in sorted(PROFILES["s3"])),
    *({name: blank} for name in ("ID", "METER_ID", "CUSTOMER_NAME", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY",
                                 "TIMESTAMP", "TRANSACTION_TYPE", "CUSTOMER_PHONE")
      for blank in ("", "-", " n/a ", "NULL", "nul")),
    *({"PAYMENT_AMOUNT": value} for value in (
        "1 000,50", "1,000.50", "1,234", "∞", "NaN", "twelve", "0x10", "\u0665", True, [5], {}, 1e30)),
    *({"TIMESTAMP": text} for text in (
        "2021-05-16", "2021-05-16T24:00:00", "16/05/2021 14:16", "0001-01-01T00:00:00", "9999-12-31T00:00:00",
        "2021-13-01T00:00:00", "2021-05-32T00:00:00", "2021-05-16T14:16", "2021-05-16T14:16:01+15:00",
        1621174561)),
    *({"TRANSACTION_TYPE": value} for value in (
        "PAYMENT", "FULLPAYMENT", 1, ["REVERSAL"], "d\u0131scount", "\uff26ULL_PAYMENT", "REVER\u017fAL",
        "\uff24\uff29\uff33\uff23\uff2f\uff35\uff2e\uff34")),
    *({"CUSTOMER_PHONE": value} for value in ("2.34567E+11", "234567890123.0", "1e5", True, "a\x00b")),
    *({"ID": value} for value in ("x" * 257, "a\nb", 1.5, True, ["P1"], {"id": "P1"})),
    *({"METER_ID": value} for value in ("1.23457E+11", " 1e+12 ", "#N/A")),
    *({name: orjson.loads("9" * 20)} for name in ("ID", "METER_ID", "STATUS")),
    *({"LATITUDE": value} for value in ("north", 90.5, -91, True, "1;2")),
    *({"FAILED_BATTERY_CAPACITY_COUNT": value} for value in (-1, "-1", "1.5", 2**32, "many")),
    {"PAYMENT_CURRENCY": 566},
    {"NOTES": "x" * 4097},
    {"STATUS": "two\nlines"},
    {"custom": "text"},
]  # fmt: skip


@pytest.mark.parametrize("changes", BAD)
def test_what_the_schema_can_say_it_refuses_too(changes: dict[str, Any]) -> None:
    """Missing and placeholder cells, wrong forms, types, lengths and ranges: neither takes the row."""
    cells = row(**changes)
    assert not accepted(cells)
    assert not SCHEMAS["s3"].is_valid(cells)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_requires_what_the_validation_requires(profile: str) -> None:
    """Without one field after the other, schema and validation say the same; a record must be an object."""
    assert SCHEMAS[profile].is_valid(EXAMPLES)
    assert accepted(EXAMPLES, profile)
    for field in FIELDS:
        cells = {name: value for name, value in EXAMPLES.items() if name != field.name}
        assert SCHEMAS[profile].is_valid(cells) == accepted(cells, profile), field.name
        assert SCHEMAS[profile].is_valid(cells) == (field.name not in PROFILES[profile])
    assert not any(SCHEMAS[profile].is_valid(value) for value in (None, 1, "x", [EXAMPLES]))


CELLS = st.one_of(
    st.text(max_size=10),
    st.from_regex(r"\s?[+-]?\d{0,4}[.,]?\d{0,3}([eE][+-]?\d)?\s?", fullmatch=True),
    st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?", fullmatch=True),
    st.integers(-(2**63), 2**64 - 1),  # a reader makes a float of any other
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.booleans(),
    st.sampled_from(
        [
            "N/A",
            "Naira",
            "full payment",
            "d\u0131scount",
            "1.3,30.14",
            "\u00a0x\u2003",
            "a\tb",
            "5 ",
            "\u0665",
        ]
    ),
)


_KEYS = st.sampled_from([*(field.name for field in FIELDS), *ALIASES])


@given(st.dictionaries(_KEYS, CELLS, min_size=1, max_size=3))
def test_the_schema_refuses_nothing_that_is_accepted(changes: dict[str, Any]) -> None:
    """Whatever a cell holds: an integrator who checks his rows with the schema loses none of them."""
    cells = {**EXAMPLES, **changes}
    if accepted(cells):
        assert [error.message for error in SCHEMAS["s3"].iter_errors(cells)] == []
