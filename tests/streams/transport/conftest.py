"""Topics of a test's own."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaException

from sunledger.embedded.stack import Endpoints
from tests.streams.transport.rig import Topic


@pytest.fixture
def make_topic(endpoints: Endpoints) -> Iterator[Callable[..., Topic]]:
    """Makes topics; they are deleted with the test."""
    made: list[Topic] = []

    def make(partitions: int = 1, **config: str) -> Topic:
        made.append(Topic(endpoints.kafka, partitions, **config))
        return made[-1]

    yield make
    for topic in made:
        with contextlib.suppress(KafkaException):
            topic.delete()


@pytest.fixture
def topic(make_topic: Callable[..., Topic]) -> Topic:
    """A topic of one partition."""
    return make_topic()
