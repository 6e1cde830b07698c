"""Publishes payments straight to the topic: `python publish_payments.py < payments.jsonl`."""

import json
import os
import sys
from datetime import UTC, datetime

from confluent_kafka import Producer

ORGANIZATION = os.environ["ORGANIZATION"]  # its id, org_…
TOPIC = os.environ.get("TOPIC", "payments")
# names the rows in the ledger; set it to the same text when the file is published again
BATCH = os.environ.get("BATCH") or f"payments-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
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


for number, line in enumerate(sys.stdin, 1):
    payment = json.loads(line, parse_float=str)  # 0.1 stays "0.1"
    headers = {"organization_id": ORGANIZATION, "source_ref": BATCH, "line": str(number)}
    record = {"key": key(payment["ID"]), "headers": headers}
    while len(producer) > 50_000:  # that many wait for the broker
        producer.poll(0.5)
    producer.produce(
        TOPIC, json.dumps(payment), **record, on_delivery=lambda error, _: error and failed.append(error)
    )
    producer.poll(0)
left = producer.flush(60) + len(failed)
sys.exit(f"{left} payments are not acknowledged: publish the file again with BATCH={BATCH}" if left else 0)
