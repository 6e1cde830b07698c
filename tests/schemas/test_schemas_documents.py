"""Registry messages and the JSON Schemas generated for every topic."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas import headers
from schemas.documents import payment_schema, schemas_by_topic
from schemas.faults import SENTENCES
from schemas.fields import FIELDS, PROFILES
from schemas.outcomes import Code
from schemas.registry import REGISTRY_MODELS, DatasetMessage, DeviceMessage
from schemas.sentences import told
from schemas.topics import REGISTRY_KINDS, TOPICS

COMMON = {"id": "ds_1", "number": 1, "version": 1, "changed_at": "2024-01-01T00:00:00.000Z"}


def dataset(**changes: Any) -> dict[str, Any]:
    """A dataset's message."""
    return {
        **COMMON,
        "organization_id": "org_1",
        "name": "01_2024_Site",
        "provider": "ODYSSEY",
        "source": "s3",
        "type": "electricity_payments",
        "target": "project",
        "conflict_rule": {"take_new_if_only": ["STATUS"]},
        **changes,
    }


def test_every_registry_topic_has_a_model() -> None:
    """No registry topic is without a model."""
    assert set(REGISTRY_MODELS) == set(REGISTRY_KINDS)


def test_registry_message_round_trip() -> None:
    """A message survives JSON; times are ISO in UTC with milliseconds; unknown fields are ignored."""
    message = DatasetMessage.model_validate({**dataset(), "from_the_future": 1})
    again = DatasetMessage.model_validate_json(message.model_dump_json())
    assert again == message
    assert orjson.loads(message.model_dump_json())["changed_at"] == "2024-01-01T00:00:00.000Z"
    assert message.profile == "s3"


@pytest.mark.parametrize(
    "changes", [{"version": 0}, {"changed_at": "2024-01-01T00:00:00"}, {"target": "x"}, {"id": ""}]
)
def test_wrong_registry_message(changes: dict[str, Any]) -> None:
    """A version below 1, a time without zone, an unknown target and an empty id are refused."""
    with pytest.raises(ValidationError):
        DatasetMessage.model_validate(dataset(**changes))


def test_device_without_onboarding() -> None:
    """Capacity, commissioning and onboarding may be unknown."""
    device = DeviceMessage.model_validate(
        {
            **COMMON,
            "organization_id": "org_1",
            "project_id": "prj_1",
            "external_id": "d1",
            "manufacturer": "HOP",
            "serial_number": "1",
        }
    )
    assert device.onboarded_at is None


def test_every_topic_has_a_schema() -> None:
    """The documents cover all topics, each an object's schema in plain JSON."""
    found = schemas_by_topic()
    assert set(found) == {spec.name for spec in TOPICS}
    for spec in TOPICS:
        schema = orjson.loads(orjson.dumps(found[spec.name]))
        assert schema["type"] == "object"
        assert set(schema.get("required", [])) <= set(schema["properties"])
        assert schema["$schema"].endswith("2020-12/schema")


def test_payment_schema_follows_the_table() -> None:
    """Every field is described, and a profile's required fields are required."""
    schema = payment_schema("upload")
    needed = [part for part in schema["allOf"] if "required" in part["else"]]
    named = {part["if"]["required"][0] for part in needed}  # under any of their names
    assert {*schema["required"], *named} == PROFILES["upload"]
    for field in FIELDS:
        assert schema["properties"][field.name]["description"].startswith(field.summary)


def test_unknown_columns_are_no_fault_of_the_schema() -> None:
    """A publisher may send columns that the table does not know; they are kept under `custom`."""
    assert payment_schema("api")["additionalProperties"] is True


def test_every_code_has_a_sentence() -> None:
    """Whoever reads a reason is told what it says; a code that this release does not know stays a code."""
    assert set(SENTENCES) == set(Code)
    assert told("bad_phone:CUSTOMER_PHONE") == ("bad_phone", "CUSTOMER_PHONE", SENTENCES[Code.BAD_PHONE])
    assert told("of_tomorrow") == ("of_tomorrow", "", "")


def test_header_names_are_all_listed() -> None:
    """The set of all headers holds each of them."""
    names = {value for name, value in vars(headers).items() if name.isupper() and isinstance(value, str)}
    assert names == headers.ALL
