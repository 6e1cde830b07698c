"""The registry as the worker knows it: newest versions only, names that move, matches."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from api.ledger.tails import KafkaTails, TailsAway
from producers import kafka_admin
from schemas.registry import RegistryMessageError
from schemas.topics import PAYMENTS
from streams.registry import Registry
from streams.registry_reader import RegistryBehind, RegistryReader
from sunledger.embedded.stack import Endpoints
from tests.streams.world import ORG, register
from tests.support.workers import Sender, wait_until


def device(number: int, external_id: str, version: int = 1, **more: Any) -> dict[str, Any]:
    """A device's message."""
    return {"id": f"dev_{number}", "external_id": external_id, "version": version, **more}


def test_lower_and_equal_versions_are_dropped() -> None:
    """A message that is not newer than what is known changes nothing."""
    registry = Registry()
    assert register(registry, "devices", device(1, "NEW", 2))
    assert not register(registry, "devices", device(1, "OLD", 1))
    assert not register(registry, "devices", device(1, "SAME", 2))
    assert registry.device(ORG, "NEW") is not None
    assert registry.device(ORG, "OLD") is None


def test_a_renamed_device_is_known_by_its_new_name_only() -> None:
    """Its old name is free, also for another device."""
    registry = Registry()
    register(registry, "devices", device(1, "A"))
    register(registry, "devices", device(1, "B", 2))
    register(registry, "devices", device(2, "A"))
    found = registry.device(ORG, "A"), registry.device(ORG, "B")
    assert [known.id for known in found if known] == ["dev_2", "dev_1"]
    assert registry.device("org_b", "A") is None


def test_an_archived_device_is_unknown_and_its_name_free() -> None:
    """A later change of the archived one does not take the name from its new bearer."""
    registry = Registry()
    register(registry, "devices", device(1, "A"))
    register(registry, "devices", device(1, "A", 2, archived=True))
    assert registry.device(ORG, "A") is None
    register(registry, "devices", device(2, "A"))
    register(registry, "devices", device(1, "A", 3, archived=True))
    found = registry.device(ORG, "A")
    assert found is not None
    assert found.id == "dev_2"


def test_a_bad_message_does_not_spoil_the_object() -> None:
    """The next good version of it is taken."""
    registry = Registry()
    register(registry, "devices", device(1, "A"))
    bad = device(1, "B", 2)
    bad["external_id"] = None
    with pytest.raises(RegistryMessageError, match="external_id: string_type"):
        register(registry, "devices", bad)
    assert registry.device(ORG, "A") is not None
    assert register(registry, "devices", device(1, "C", 3))
    assert registry.device(ORG, "C") is not None
    assert registry.device(ORG, "A") is None


def test_a_dataset_is_its_organisations_own() -> None:
    """Another organisation's dataset is unknown; without a rule the default one holds."""
    registry = Registry()
    register(registry, "datasets", {"id": "ds_1", "conflict_rule": {}})
    register(registry, "datasets", {"id": "ds_2"})
    found, default = registry.dataset(ORG, "ds_1"), registry.dataset(ORG, "ds_2")
    assert found is not None
    assert default is not None
    assert not any(found.conflict_rule.values())
    assert default.conflict_rule["take_new_if_only"] == ["STATUS", "NOTES"]
    assert registry.dataset("org_b", "ds_1") is None


def test_matches_follow_scope_and_validity() -> None:
    """The first name that finds a connection in force within the dataset's projects decides."""
    registry = Registry()
    for number, project, until in ((1, "prj_1", None), (2, "prj_2", "2026-01-01T00:00:00Z")):
        connection = {
            "id": f"con_{number}", "project_id": project,
            "external_id": " M1 ", "valid_from": None, "valid_to": until,
        }  # fmt: skip
        register(registry, "connections", connection)
    register(
        registry,
        "datasets",
        {"id": "ds", "project_ids": ["prj_2"], "target": "project"},
    )
    moment = 1_767_225_600_000  # 2026-01-01, when the second one has ended
    assert registry.match(ORG, None, ("M1",), moment) == ("con_1", "matched")
    assert registry.match(ORG, None, ("none", "M1"), moment - 1) == ("", "ambiguous")
    assert registry.match(ORG, registry.dataset(ORG, "ds"), ("M1",), moment - 1) == ("con_2", "matched")
    assert registry.match(ORG, registry.dataset(ORG, "ds"), ("M1",), moment) == ("", "unmatched")


class FirstIsFenced(AdminClient):
    """Clients of which the first one goes on with a leader epoch of before, as after a broker's restart."""

    made = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FirstIsFenced.made += 1
        self.fenced = FirstIsFenced.made == 1

    def list_offsets(self, *args: Any, **kwargs: Any) -> Any:
        """The broker's answer, or its refusal."""
        if self.fenced:
            raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
        return super().list_offsets(*args, **kwargs)


@pytest.fixture
def fenced(monkeypatch: pytest.MonkeyPatch) -> type[FirstIsFenced]:
    """Such clients wherever ends of topics are asked for."""
    monkeypatch.setattr(FirstIsFenced, "made", 0)
    monkeypatch.setattr(kafka_admin, "AdminClient", FirstIsFenced)
    return FirstIsFenced


def test_a_fenced_client_is_not_asked_again(
    fenced: type[FirstIsFenced], endpoints: Endpoints, kafka_prefix: str
) -> None:
    """The registry is read to its end by the next try; a worker would stand still for ever otherwise."""
    sender, registry = Sender(endpoints.kafka, kafka_prefix), Registry()
    organization = sender.organization()
    sender.close()
    reader = RegistryReader(endpoints.kafka, kafka_prefix, registry)
    reader.start()
    with pytest.raises(RegistryBehind, match="FENCED_LEADER_EPOCH"):
        reader.catch_up(5)
    reader.catch_up(60)
    reader.stop()
    assert registry.has_organization(organization)
    assert fenced.made == 2


def test_a_fenced_client_of_the_api_is_not_asked_again(
    fenced: type[FirstIsFenced], endpoints: Endpoints, kafka_prefix: str
) -> None:
    """What lies in a topic is told by the next question."""
    topic = PAYMENTS.full_name(kafka_prefix)
    wait_until(lambda: _answers(endpoints.kafka, topic), 30, "the new topic's partitions")
    topics = KafkaTails(endpoints.kafka)
    with pytest.raises(TailsAway):
        topics.state(topic)
    assert set(topics.state(topic).spans) == set(range(PAYMENTS.partitions))
    assert fenced.made == 2


def _answers(kafka: str, topic: str) -> bool:
    """Whether every partition tells its end: the broker names leaders a moment before they know it."""
    places = [TopicPartition(topic, number) for number in range(PAYMENTS.partitions)]
    admin = AdminClient({"bootstrap.servers": kafka})
    asked = admin.list_offsets(dict.fromkeys(places, OffsetSpec.latest()))
    return all(answer.exception(10) is None for answer in asked.values())
