"""Refused rows put into ClickHouse as a worker would, and what the API's tests ask about them."""

import itertools
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2 as httpx
import orjson
from api_helpers import SECRET, Api

from schemas.identity import position
from schemas.personal import Pseudonymizer, Sealer

NAME, PHONE = "Zaphyra Quillfeather", "+2348099912345"
ORG = "org_a"
SEALER = Sealer(SECRET)
PSEUDONYMIZER = Pseudonymizer(SECRET)
WHEN = datetime(2026, 5, 16, 14, 16, 1, tzinfo=UTC)
_numbers = itertools.count(1)

PAYMENT = {
    "ID": "P1", "TIMESTAMP": "2026-05-16T14:16:01", "PAYMENT_AMOUNT": "x", "PAYMENT_CURRENCY": "NGN",
    "TRANSACTION_TYPE": "FULL_PAYMENT", "CUSTOMER_ID": "C1", "METER_ID": "M1", "CUSTOMER_NAME": NAME,
    "CUSTOMER_PHONE": PHONE,
}  # fmt: skip


def from_file(row: Mapping[str, Any], organization_id: str = ORG) -> tuple[bytes, dict[str, bytes]]:
    """Value and headers of a row as the S3 producer publishes it: pseudonyms, originals sealed."""
    cells = dict(row)
    originals = PSEUDONYMIZER.protect(organization_id, cells)
    sealed = SEALER.seal(organization_id, orjson.dumps(originals)).encode()
    return orjson.dumps(cells), {"sealed": sealed, "source": b"s3"} if originals else {}


class Quarantine:
    """The quarantine of one database: puts rows in, and builds the addresses under which they are found."""

    def __init__(self, clickhouse: Any, prefix: str) -> None:
        self._clickhouse = clickhouse
        self._prefix = prefix

    def put(
        self,
        value: bytes | Mapping[str, Any] = PAYMENT,
        headers: Mapping[str, bytes] | None = None,
        **changes: Any,
    ) -> str:
        """A refused payment (a read with `record_type`); the address of its endpoints."""
        offset = next(_numbers)
        kind = changes.get("record_type", "payment")
        owner = changes.get("organization_id", ORG)
        data = value if isinstance(value, bytes) else orjson.dumps(value)
        original = {
            "key": None,
            "value": b64encode(data).decode(),
            "headers": {name: b64encode(text).decode() for name, text in (headers or {}).items()},
        }
        row = {
            "topic": f"{self._prefix}{kind}s", "position": position(0, 1, offset), "organization_id": owner,
            "record_type": kind, "record_id": "", "identity": 0, "reasons": ["bad_decimal:PAYMENT_AMOUNT"],
            "details": "", "missing_kind": "", "missing_id": "", "dataset_id": "", "source": "s3",
            "source_ref": "f@1", "line": offset, "partition": 1, "offset": offset, "received_at": WHEN,
            "replay_of": None, "sealed": SEALER.seal(owner, orjson.dumps(original)), **changes,
        }  # fmt: skip
        self._insert("quarantine_rows", row)
        return f"/v1/quarantine/{row['topic']}/{row['position']}"

    def judge(self, path: str, outcome: str = "accepted", **changes: Any) -> int:
        """A ledger row that says what became of a replay of this row; its position."""
        topic, replayed = path.split("/")[-2:]
        at = position(0, 2, next(_numbers))
        row = {
            "topic": topic, "position": at, "organization_id": ORG, "record_type": "payment",
            "record_id": "P1", "identity": 1, "content_hash": 1, "outcome": outcome, "reasons": [],
            "dataset_id": "", "source": "s3", "source_ref": "f@1", "line": 1, "partition": 2, "offset": at,
            "received_at": WHEN, "replay_of": int(replayed), "matched_connection_id": "", **changes,
        }  # fmt: skip
        self._insert("ledger_rows", row)
        return at

    def act(
        self, path: str, action: str, age_s: float = 0, changed: bool = False, claim_id: str = ""
    ) -> None:
        """An action on a row, as old as this."""
        topic, at = path.split("/")[-2:]
        self._clickhouse.client.command(
            "INSERT INTO quarantine_actions (topic, position, action, changed, claim_id, done_by, stored_at)"
            " SELECT {topic:String}, {at:UInt64}, {action:String}, {changed:Bool}, {claim:String}, 'sweep',"
            " now64(6) - toIntervalMillisecond({age:UInt32})",
            parameters={
                "topic": topic, "at": int(at), "action": action, "changed": changed, "claim": claim_id,
                "age": int(age_s * 1000),
            },
        )  # fmt: skip

    def actions(self, path: str) -> list[str]:
        """Actions on a row, oldest first."""
        topic, at = path.split("/")[-2:]
        rows = self._clickhouse.rows(
            "SELECT action FROM quarantine_actions WHERE topic = {topic:String} AND position = {at:UInt64}"
            " ORDER BY stored_at",
            topic=topic,
            at=int(at),
        )
        return [str(row[0]) for row in rows]

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        self._clickhouse.client.insert(table, [list(row.values())], list(row))


async def post(api: Api, path: str, **body: Any) -> httpx.Response:
    """POST a JSON object."""
    answer: httpx.Response = await api.http.post(path, json=body)
    return answer


async def state(api: Api, path: str) -> str:
    """The state of a row."""
    found = await api.http.get(path)
    assert found.status_code == 200, found.text
    return str(found.json()["state"])


async def audited(api: Api, **query: str) -> list[dict[str, Any]]:
    """Entries of the audit."""
    answer = await api.http.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items
