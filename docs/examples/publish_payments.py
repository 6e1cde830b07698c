"""Publishes payments straight to the topic: `python publish_payments.py < payments.jsonl`."""

import json
import os
import sys

from confluent_kafka import Producer

ORGANIZATION = os.environ["ORGANIZATION"]  # its id, org_…
TOPIC = os.environ.get("TOPIC", "payments")
NAMESPACE = ""  # the id namespace of the dataset that the header dataset_id names, if one does
settings = {
    "bootstrap.servers": os.environ["KAFKA"],
    "enable.idempotence": True,  # a retry of the client makes no second record
    "partitioner": "murmur2_random",  # as in Java's clients; librdkafka's own default is another hash
}
producer, failed = Producer(settings), []


def key(payment_id: object) -> str:
    parts = ORGANIZATION, NAMESPACE, str(payment_id).strip()
    return "".join(f"{len(part.encode())}:{part}" for part in parts)


for line in sys.stdin:
    payment = json.loads(line, parse_float=str)  # 0.1 stays "0.1"
    record = {"key": key(payment["ID"]), "headers": {"organization_id": ORGANIZATION}}
    while len(producer) > 50_000:  # that many wait for the broker
        producer.poll(0.5)
    producer.produce(
        TOPIC, json.dumps(payment), **record, on_delivery=lambda error, _: error and failed.append(error)
    )
    producer.poll(0)
left = producer.flush(60) + len(failed)
sys.exit(f"{left} payments are not acknowledged: publish the file again" if left else 0)
