"""The broker of the compose file: users, passwords and rights, with real clients of ours."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from api.brakes import BrakeKeeper
from api.db import Database
from api.ops.broker import BrokerCheck
from api.reconcile import KafkaTopicVersions
from producers.errors import BrokerRefuses, BrokerUnavailable
from producers.kafka_access import KafkaAccess, client_options
from producers.kafka_rights import RIGHTS, Rights, grant
from producers.pace import Unjudged
from producers.publisher import Publisher, Record
from producers.topics import create_topics
from schemas.topics import ALERTS, PAYMENTS, QUARANTINE, READS, REGISTRY, TOPICS, TopicSpec
from sunledger.settings import SettingsFaults, WorkerSettings, load
from tests.conftest import ClickHouse
from tests.security.sasl_broker import SaslBroker, password
from tests.support.workers import SECRET, Sender, WorkerProcess, payment, wait_until

GROUP = "sunledger"


@pytest.fixture
def prefix(sasl_broker: SaslBroker) -> str:
    """A fresh topic prefix; topics and rights as `sunledger migrate` makes them."""
    made = f"t{secrets.token_hex(4)}."
    admin = sasl_broker.access("migrate")
    create_topics(admin, made)
    grant(admin, made, GROUP)
    return made


def _writes(kafka: KafkaAccess, topic: str) -> bool:
    """Whether a record is taken."""
    publisher = Publisher(kafka, delivery_timeout_s=20.0)
    group = publisher.group()
    try:
        group.add_waiting(Record(topic, b"k", b"{}", [], 0), 20.0)
        group.wait(25.0)
    except BrokerUnavailable as refused:
        if "AUTHORIZATION" not in str(refused):
            raise
        return False
    finally:
        publisher.close(0)
    return True


def _allowed(kafka: KafkaAccess, prefix: str) -> dict[TopicSpec, set[AclOperation]]:
    """What the broker says that this user may do with each topic."""
    admin = AdminClient(client_options(kafka, {"log_level": 0}))
    names = {spec.full_name(prefix): spec for spec in TOPICS}
    found: dict[TopicSpec, set[AclOperation]] = {}
    for name, spec in names.items():
        asked = TopicCollection([name])
        futures = admin.describe_topics(asked, include_authorized_operations=True, request_timeout=30)
        try:
            found[spec] = set(futures[name].result(30).authorized_operations)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_AUTHORIZATION_FAILED":
                raise
            found[spec] = set()
    return found


@pytest.mark.parametrize("user", sorted(RIGHTS))
def test_a_user_may_do_what_it_must_and_nothing_else(sasl_broker: SaslBroker, prefix: str, user: str) -> None:
    """The broker allows on every topic exactly what the table of rights says, and no administration."""
    kafka, rights = sasl_broker.access(user), RIGHTS[user]
    allowed = _allowed(kafka, prefix)
    for right, specs in (
        (AclOperation.WRITE, rights.writes),
        (AclOperation.READ, rights.reads),
        (AclOperation.DESCRIBE_CONFIGS, rights.looks),
    ):
        assert {spec for spec, found in allowed.items() if right in found} == set(specs), right
    known = {AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE_CONFIGS, AclOperation.DESCRIBE}
    assert set().union(*allowed.values()) <= known
    with pytest.raises(BrokerRefuses, match="may not see or create"):
        create_topics(kafka, f"{prefix}other.", timeout_s=60)
    with pytest.raises(BrokerRefuses, match="rights were not granted"):
        grant(kafka, prefix, GROUP)


def test_a_record_without_the_right_is_refused(sasl_broker: SaslBroker, prefix: str) -> None:
    """What the table of rights says holds for a real publisher: quarantine is not the API's to write."""
    for user, spec, taken in (
        ("api", READS, True),
        ("api", QUARANTINE, False),
        ("integrator", PAYMENTS, True),
        ("integrator", READS, False),
    ):
        assert _writes(sasl_broker.access(user), spec.full_name(prefix)) is taken


def test_only_processes_that_judge_or_explain_rows_read_them() -> None:
    """Rows as senders wrote them may hold names: the worker judges them, the API tells what is on its way."""
    for spec in (PAYMENTS, READS):
        assert {user for user, rights in RIGHTS.items() if spec in rights.reads} <= {"worker", "api"}
    assert set(RIGHTS) == {"api", "producers", "worker", "verifier", "integrator"}
    assert RIGHTS["integrator"] == Rights(writes=(PAYMENTS,), looks=(PAYMENTS,))


def _refused(kafka: KafkaAccess) -> None:
    with pytest.raises(BrokerRefuses, match="does not take the credentials of the user") as told:
        create_topics(kafka, "x.", timeout_s=60)
    assert kafka.password not in str(told.value)
    assert f"'{kafka.username}'" in str(told.value)


@pytest.mark.parametrize("user", ["worker", "nobody"])
def test_a_wrong_password_is_a_clear_error(sasl_broker: SaslBroker, user: str) -> None:
    """It is said at once who was refused where, without the password; waiting would not help."""
    kafka = sasl_broker.access(user, "wrong-canary-password")
    _refused(kafka)
    publisher = Publisher(kafka)
    try:
        with pytest.raises(BrokerUnavailable):
            publisher.partitions("x")
        wait_until(lambda: _says_refused(publisher), what="the refusal")
    finally:
        publisher.close(0)
    check = BrokerCheck(kafka)

    def refused() -> bool:
        try:
            check()
        except BrokerRefuses:
            return True
        except KafkaException:
            return False
        raise AssertionError("let in")

    wait_until(refused, what="readiness that says why")


def _says_refused(publisher: Publisher) -> bool:
    try:
        publisher.partitions("x")
    except BrokerUnavailable as error:
        return "does not take our credentials" in str(error)
    return False


def test_nobody_gets_in_without_a_password(sasl_broker: SaslBroker) -> None:
    """A client that shows no user, as all did before, gets no answer on the listeners for clients."""
    for port in (sasl_broker.ports["CLIENTS"], sasl_broker.ports["HOST"]):
        own = {"log_level": 0, "socket.timeout.ms": 2000}
        producer = Producer(client_options(f"127.0.0.1:{port}", own))
        with pytest.raises(KafkaException):
            producer.list_topics(timeout=4)
        producer.close()


def test_the_other_clients_of_the_producers_get_through(
    sasl_broker: SaslBroker, prefix: str, tmp_path: Path
) -> None:
    """The reconciler, the pace of files and the brakes work with the rights of `producers`."""
    kafka = sasl_broker.access("producers")
    topic = REGISTRY["devices"].full_name(prefix)
    assert _writes(kafka, topic)
    assert list(KafkaTopicVersions(client_options(kafka, {}), prefix).held("devices")) == ["k"]
    unjudged = Unjudged(kafka, f"{prefix}{GROUP}", PAYMENTS.full_name(prefix))
    assert wait_until(lambda: _told(unjudged), what="the offsets of the workers' group") == "0"
    db = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    keeper = BrakeKeeper(db, kafka, prefix)
    keeper._consumer.subscribe([ALERTS.full_name(prefix)])
    try:
        assert _writes(sasl_broker.access("worker"), ALERTS.full_name(prefix))

        def said() -> Any:
            return keeper._consumer.poll(1.0)

        message = wait_until(said, what="an alert")
        assert message.error() is None
        keeper._consumer.commit(message, asynchronous=False)
    finally:
        keeper._consumer.close()
        db.close()


def test_the_api_paces_uploads(sasl_broker: SaslBroker, prefix: str) -> None:
    """With the rights of `api` it is seen how far the workers are."""
    topic = PAYMENTS.full_name(prefix)
    unjudged = Unjudged(sasl_broker.access("api"), f"{prefix}{GROUP}", topic)
    assert wait_until(lambda: _told(unjudged), what="the offsets of the workers' group") == "0"


def _told(unjudged: Unjudged) -> str:
    """How many rows are unjudged; empty while the broker loads its groups."""
    try:
        return str(unjudged())
    except KafkaException as error:
        if not error.args[0].retriable():
            raise
        return ""


@pytest.fixture
def sender(sasl_broker: SaslBroker, prefix: str) -> Iterator[Sender]:
    """Publishes registry messages and rows as `producers`."""
    made = Sender(sasl_broker.access("producers"), prefix)  # type: ignore[arg-type]
    yield made
    made.close()


def test_a_worker_judges_rows_as_its_own_user(
    sasl_broker: SaslBroker, prefix: str, sender: Sender, clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """Faust's client and ours show the password: rows are read, judged, sent on, refused and told of."""
    worker = WorkerProcess(
        tmp_path,
        sasl_broker.servers,
        prefix,
        clickhouse.url,
        clickhouse.database,
        **sasl_broker.environment("worker"),
    )
    try:
        worker.wait_ready(120)
        organization = sender.organization()
        bad = [payment(n, PAYMENT_AMOUNT="much") for n in range(40, 44)]
        sender.payments([*(payment(n) for n in range(40)), *bad], organization)
        wait_until(lambda: clickhouse.value("SELECT count() FROM ledger") == 44, 120, "44 outcomes")
        assert clickhouse.value("SELECT countIf(outcome = 'accepted') FROM ledger") == 40
        wait_until(lambda: _end(sasl_broker, QUARANTINE, prefix) == 4, what="four notices")
        assert worker.stop() == 0
    finally:
        worker.kill()
        worker.child.wait(30)
    assert password("worker") not in worker.log.read_text(encoding="utf-8")


def _end(broker: SaslBroker, spec: TopicSpec, prefix: str) -> int:
    consumer = Consumer(client_options(broker.access("migrate"), {"group.id": "looks"}))
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(spec.full_name(prefix), 0), timeout=10)[1])
    finally:
        consumer.close()


def test_a_worker_with_a_wrong_password_ends_and_says_why(
    sasl_broker: SaslBroker, prefix: str, clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """Exit code 2, as for a wrong setting; one sentence names user and broker, the password is nowhere."""
    given = {**sasl_broker.environment("worker"), "kafka_password": "wrong-canary-password"}
    worker = WorkerProcess(
        tmp_path, sasl_broker.servers, prefix, clickhouse.url, clickhouse.database, **given
    )
    try:
        wait_until(lambda: worker.child.poll() is not None, what="its end")
    finally:
        worker.kill()
        worker.child.wait(30)
    log = worker.log.read_text(encoding="utf-8")
    assert worker.child.poll() == 2, log
    assert "does not take the credentials of the user 'worker'" in log
    assert "canary" not in log


REQUIRED = {
    "kafka": "127.0.0.1:9",
    "clickhouse_url": "http://u:canary@127.0.0.1:9",
    "pseudonym_secret": SECRET,
    "seal_secret": SECRET,
}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "are required"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_username": "w"}, "are required"),
        ({"kafka_password": "canary"}, "are not used"),
        ({"kafka_security_protocol": "SSL", "kafka_username": "w"}, "are not used"),
        ({"kafka_ca_file": "/nothing"}, "is not used"),
        ({"kafka_security_protocol": "SSL", "kafka_ca_file": "/nothing"}, "is not a file"),
        ({"kafka_security_protocol": "sasl"}, "KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_credentials_that_would_not_be_shown_are_a_fault(given: dict[str, str], told: str) -> None:
    """A password beside a protocol without one is a mistake that is told at the start, without it."""
    with pytest.raises(SettingsFaults, match=told) as faults:
        load(WorkerSettings, **REQUIRED, **given)
    assert "canary" not in str(faults.value)


def test_settings_become_options_of_both_clients(tmp_path: Path) -> None:
    """librdkafka gets the protocol, the user and the authorities; nothing prints the password."""
    authorities = tmp_path / "ca.pem"
    authorities.write_text("none", encoding="utf-8")
    given = {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_username": "w",
        "kafka_password": "canary",
        "kafka_ca_file": str(authorities),
    }
    settings = load(WorkerSettings, **REQUIRED, **given)
    kafka = settings.kafka_access()
    assert client_options(kafka, {"client.id": "c"}) == {
        "bootstrap.servers": "127.0.0.1:9",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "w",
        "sasl.password": "canary",
        "ssl.ca.location": str(authorities),
        "client.id": "c",
    }
    assert "canary" not in repr(kafka) + repr(settings)
    assert client_options("a:1", {}) == {"bootstrap.servers": "a:1"}
