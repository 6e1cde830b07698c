"""The records of a file: all acknowledged or none counted, whatever the broker does."""

import time
from collections.abc import Callable

import pytest
from test_producers_publisher import records_of

from producers.errors import BrokerUnavailable, RecordTooLarge
from producers.group import Record
from producers.publisher import Publisher
from sunledger.embedded.stack import Endpoints


@pytest.fixture
def topic(endpoints: Endpoints, kafka_prefix: str) -> str:
    """A fresh payments topic."""
    return f"{kafka_prefix}payments"


def nothing() -> None:
    """A check that lets the file go on."""


def test_every_record_arrives_with_its_headers(endpoints: Endpoints, topic: str) -> None:
    """What was handed over is in the topic once the wait returns, in its partition, with key and headers."""
    publisher = Publisher(endpoints.kafka)
    with publisher.bulk(nothing) as bulk:
        for number in range(2_000):
            bulk.add([Record(topic, b"k%d" % number, b"{}", [("line", b"%d" % number)], number % 4)], 10)
        assert bulk.wait(30) == 2_000
    found = records_of(endpoints.kafka, topic)
    lines = [int(dict(given)["line"]) for _, _, _, given in found]
    assert sorted(lines) == list(range(2_000))
    for line, (partition, key, value, _) in zip(lines, found, strict=True):
        assert (partition, key, value) == (line % 4, b"k%d" % line, b"{}")
    publisher.close()


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda topic: Record(topic, b"k", b"{}", [], 99), BrokerUnavailable),
        (lambda topic: Record(topic, b"k", b"x" * 1_200_000, [], 0), RecordTooLarge),
        (lambda topic: Record(topic + "-absent", b"k", b"{}", [], 0), BrokerUnavailable),
    ],
)
def test_one_record_that_fails_fails_the_file(
    endpoints: Endpoints, topic: str, bad: Callable[[str], Record], error: type[Exception]
) -> None:
    """A file of which one record is not acknowledged is not published, and says why."""
    publisher = Publisher(endpoints.kafka, delivery_timeout_s=5)

    def send() -> None:
        with publisher.bulk(nothing) as bulk:
            bulk.add([Record(topic, b"k", b"{}", [], 0)], 10)
            bulk.add([bad(topic)], 10)
            bulk.wait(30)

    with pytest.raises(error):
        send()
    publisher.close()


def test_a_broker_that_is_away_is_told(topic: str) -> None:
    """Without a broker the wait ends with its deadline, and nothing waits behind it."""
    publisher = Publisher("127.0.0.1:1", delivery_timeout_s=1)
    with publisher.bulk(nothing) as bulk:
        bulk.add([Record(topic, b"k", b"{}", [], 0)], 1)
        with pytest.raises(BrokerUnavailable):
            bulk.wait(30)
    publisher.close()


def test_whoever_waits_can_be_stopped(topic: str) -> None:
    """What the check raises ends the waiting at once."""

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    publisher = Publisher("127.0.0.1:1", delivery_timeout_s=60)
    started = time.monotonic()
    with publisher.bulk(stop) as bulk:
        bulk.add([Record(topic, b"k", b"{}", [], 0)], 1)
        with pytest.raises(Stop):
            bulk.wait(60)
    assert time.monotonic() - started < 30
    publisher.close()
