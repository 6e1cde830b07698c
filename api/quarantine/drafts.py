"""Records of replays, made before anything is claimed, and the guard against replays that go round."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from api.db import Database
from api.ids import is_id
from api.models import Dataset
from api.quarantine.errors import CannotAct, ReplayLimit
from api.quarantine.records import ReplayRecords
from api.store import Store
from producers.publisher import Record
from sinks.quarantine import Place, RefusedRow
from sinks.quarantine_actions import sent

MAX_UNCHANGED_REPLAYS: Final = 5
"""How often the same content may be replayed, counted along the chain of replays of one original."""

Skipped = dict[Place, CannotAct]


class Drafts:
    """Makes the records of some rows of one topic."""

    def __init__(self, db: Database, store: Store, records: ReplayRecords) -> None:
        self._db = db
        self._store = store
        self._records = records

    def make(
        self, rows: Sequence[RefusedRow], changes: Mapping[str, Any], skipped: Skipped
    ) -> tuple[dict[Place, Record], bool]:
        """The record of each row, and whether the changes change anything; rows without one are skipped.

        Raises:
            Invalid: the changes cannot be made.
        """
        known: dict[tuple[str, str], str] = {}
        records: dict[Place, Record] = {}
        is_changed = False
        for row in rows:
            place = row.topic, row.position
            try:
                records[place], changed = self._records.make(row, changes, self._namespace(row, known))
            except CannotAct as why:
                skipped[place] = why
            else:
                is_changed |= changed
        if not is_changed:
            for place in self._too_often(rows, records):
                skipped[place] = ReplayLimit()
                del records[place]
        return records, is_changed

    def _namespace(self, row: RefusedRow, known: dict[tuple[str, str], str]) -> str:
        """The id namespace of the row's dataset; empty for an unknown one."""
        key = row.organization_id, row.dataset_id
        if key not in known:
            query = select(Dataset.id_namespace).where(
                Dataset.id == row.dataset_id, Dataset.organization_id == row.organization_id
            )
            with self._db.read() as session:
                known[key] = (session.scalar(query) or "") if is_id(row.dataset_id) else ""
        return known[key]

    def _too_often(self, rows: Sequence[RefusedRow], records: Mapping[Place, Record]) -> list[Place]:
        """Rows before which `MAX_UNCHANGED_REPLAYS` replays had the same content."""
        topic = rows[0].topic if rows else ""
        at = {row.position: row.replay_of for row in rows if (row.topic, row.position) in records}
        for _ in range(MAX_UNCHANGED_REPLAYS):
            replays = {last: parent for last, parent in at.items() if parent is not None}
            if not replays:
                return []
            before = self._store.ask(sent, topic, list(replays.values()))
            at = {
                last: before[parent].replay_of
                for last, parent in replays.items()
                if parent in before and not before[parent].changed
            }
        return [(topic, position) for position in at]
