"""Epochs of topics: the number that stands for a Kafka topic id in positions."""

from clickhouse_connect.driver.client import Client


def epoch_for(client: Client, topic: str, topic_id: str) -> int:
    """Epoch of a topic id: its place in the order in which the topic's ids were first seen, from 0.

    Two workers that register the same id at once both read the same answer afterwards, because the
    order, not the number a worker proposed, is the epoch.

    Raises:
        OverflowError: the topic was re-created more than 255 times.
    """
    known = topic_ids(client, topic)
    if topic_id not in known:
        client.command(
            "INSERT INTO topic_epochs (topic, topic_id, epoch)"
            " SELECT {topic:String}, {topic_id:String}, {epoch:UInt8}",
            parameters={"topic": topic, "topic_id": topic_id, "epoch": min(len(known), 255)},
        )
        known = topic_ids(client, topic)
    epoch = known.index(topic_id)
    if epoch > 255:
        raise OverflowError(f"topic {topic} was re-created more than 255 times")
    return epoch


def known_epoch(client: Client, topic: str, topic_id: str) -> int | None:
    """Epoch of a topic id that some worker has registered; None for one that none has seen."""
    known = topic_ids(client, topic)
    return known.index(topic_id) if topic_id in known else None


def topic_ids(client: Client, topic: str) -> list[str]:
    """Ids of a topic in the order in which they were first seen: the place in it is the epoch."""
    rows = client.query(
        "SELECT topic_id FROM topic_epochs WHERE topic = {topic:String}"
        " GROUP BY topic_id ORDER BY min(first_seen), topic_id",
        parameters={"topic": topic},
    ).result_rows
    return [row[0] for row in rows]
