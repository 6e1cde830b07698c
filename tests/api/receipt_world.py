"""Files and requests with a past: records in SQL, rows in the ledger, and how far the workers are."""

import asyncio
from datetime import datetime
from typing import Any

from api_helpers import Api
from judged import store
from sqlalchemy import update

from api.datasets.runs import SqlRunStore, text_hash
from api.db import now_ms
from api.ids import new_id
from api.tables import Run, RunFile
from producers.contracts import FileRecord, FileState
from schemas.identity import position
from sinks.client import connect
from sinks.epochs import epoch_for
from tests.conftest import ClickHouse


class Receipts:
    """One application's receipts. A dataset is made with the first file."""

    def __init__(self, api: Api, clickhouse: ClickHouse) -> None:
        self.api = api
        self.clickhouse = clickhouse
        self.prefix = api.running.parts.settings.topic_prefix
        self.dataset: dict[str, Any] = {}
        self._offset = 0

    async def begin(self, bucket: str = "b") -> None:
        """Make the dataset."""
        place = {"bucket": bucket, "access_key": "a", "secret_key": "s"}
        self.dataset = await self.api.dataset(await self.api.project(), s3=place)

    async def file(self, ref: str, *states: FileState, at: datetime | None = None, **told: Any) -> FileRecord:
        """A file of a run, taken through its states; the last one comes with what is known of it."""

        def make() -> FileRecord:
            runs = SqlRunStore(self.api.running.db)
            with self.api.running.db.write() as session:
                run = Run(id=new_id("run"), dataset_id=self.dataset["id"], trigger="demand", state="done")
                session.add(run)
            file = runs.claim(run.id, self.dataset["id"], "s3", ref)
            for number, state in enumerate(states, 1):
                file = runs.advance(file.id, state, **(told if number == len(states) else {}))
            if at is not None:
                self._move(file.id, at)
            return file

        return await asyncio.to_thread(make)

    async def request(self, received: int | None, at: datetime, **more: Any) -> str:
        """A request with payments, acknowledged if `received` says how many; its receipt."""

        def make() -> str:
            receipt = new_id("rcp")
            done = {"state": FileState.DONE, "received": received, "finished_at": at}
            open_ = {"state": FileState.CLAIMED, "detail": "not every payment is acknowledged"}
            with self.api.running.db.write() as session:
                session.add(
                    RunFile(
                        id=receipt, organization_id=self.dataset["organization_id"], source="api",
                        source_ref=receipt, ref_hash=text_hash(receipt), claimed_at=at,
                        **(open_ if received is None else done), **more,
                    )
                )  # fmt: skip
            return receipt

        return await asyncio.to_thread(make)

    def _move(self, file_id: str, at: datetime) -> None:
        """Let a file have been taken up, and dealt with, at a moment."""
        with self.api.running.db.write() as session:
            moved = update(RunFile).where(RunFile.id == file_id)
            session.execute(moved.values(claimed_at=at))
            session.execute(moved.where(RunFile.finished_at.is_not(None)).values(finished_at=at))

    def judged(
        self, ref: str, *outcomes: str, first_line: int = 2, topic: str = "payments", **more: Any
    ) -> None:
        """Rows with these outcomes, on lines that follow each other."""
        rows = []
        for line, outcome in enumerate(outcomes, first_line):
            self._offset += 1
            rows.append(
                {
                    "topic": self.prefix + topic, "position": position(0, 0, self._offset), "partition": 0,
                    "offset": self._offset, "organization_id": self.dataset["organization_id"],
                    "record_type": topic[:-1], "record_id": "P1", "identity": 1, "content_hash": 1,
                    "outcome": outcome, "reasons": ["bad_phone"] if outcome == "quarantined" else [],
                    "dataset_id": self.dataset["id"], "source": "s3", "source_ref": ref, "line": line,
                    "received_at": now_ms(), "replay_of": None, "matched_connection_id": "", **more,
                }
            )  # fmt: skip
        store(self.clickhouse, "ledger_rows", *rows)

    async def at_end(self, topic: str = "payments", lost: int = 0, forwarded: int = 0) -> None:
        """Let the workers have dealt with everything that the broker has of a topic."""

        def write() -> None:
            name = self.prefix + topic
            tails = self.api.running.parts.tails
            assert tails is not None
            state = tails.state(name)
            with connect(self.clickhouse.url, database=self.clickhouse.database) as client:
                epoch = epoch_for(client, name, state.topic_id)
            for part, (_, end) in state.spans.items():
                batch = {
                    "topic": name, "epoch": epoch, "partition": part, "first_offset": 0, "next_offset": end,
                    "rows": 0, "forwarded": forwarded, "lost": lost, "generation": 1, "worker": "w",
                }  # fmt: skip
                store(self.clickhouse, "ledger_ranges", batch)

        await asyncio.to_thread(write)

    async def get(self, receipt: str) -> dict[str, Any]:
        """A receipt, which adds up whatever it says."""
        answer = await self.api.http.get(f"/v1/receipts/{receipt}")
        assert answer.status_code == 200, answer.text
        return adding_up(answer.json())

    async def list(self, **query: Any) -> list[dict[str, Any]]:
        """All receipts of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            given = {**query, "cursor": cursor} if cursor else query
            answer = await self.api.http.get("/v1/receipts", params=given)
            assert answer.status_code == 200, answer.text
            found += [adding_up(item) for item in answer.json()["items"]]
            cursor = answer.json()["next"]
            if cursor is None:
                return found


def adding_up(receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt itself: its sums hold."""
    judged = sum(receipt[name] for name in ("accepted", "duplicate", "conflict", "quarantined"))
    assert receipt["received"] == judged + receipt["waiting"] + receipt["lost"], receipt
    assert sum(receipt["first_outcomes"].values()) == judged
    assert (receipt["adds_up"] == "complete") <= (receipt["waiting"] == receipt["lost"] == 0), receipt
    assert (receipt["lost"] > 0) == (receipt["adds_up"] == "lost")
    assert (receipt["duration_ms"] is None) or receipt["duration_ms"] >= 0
    return receipt
