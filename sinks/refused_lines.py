"""The lines of one file that are refused now, in order: where their records lie.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

_LINES: Final = """
SELECT line, sent.1, sent.2, speaker.1, speaker.2
FROM
(
    SELECT
        line,
        if(countIf(replay_of IS NOT NULL) > 0,
            argMinIf((topic, position), (stored_at, position), replay_of IS NOT NULL),
            argMin((topic, position), position)) AS speaker
    FROM ledger
    WHERE organization_id = {organization:String} AND dataset_id = {dataset:String}
        AND source_ref = {ref:String} AND line > {after:UInt32}
        AND (topic, position) NOT IN (
            SELECT topic, assumeNotNull(replay_of) FROM ledger_rows
            WHERE organization_id = {organization:String} AND replay_of IS NOT NULL)
        AND (replay_of IS NULL OR (topic, assumeNotNull(replay_of)) NOT IN (
            SELECT topic, assumeNotNull(replay_of) FROM ledger_rows
            WHERE organization_id = {organization:String} AND replay_of IS NOT NULL
            AND (topic, position) IN (
                SELECT topic, assumeNotNull(replay_of) FROM ledger_rows
                WHERE organization_id = {organization:String} AND replay_of IS NOT NULL)))
    GROUP BY line
    HAVING countIf(outcome != 'quarantined') = 0
) AS refused
INNER JOIN
(
    SELECT line, argMin((topic, position), position) AS sent
    FROM ledger_rows
    WHERE organization_id = {organization:String} AND dataset_id = {dataset:String}
        AND source_ref = {ref:String} AND line > {after:UInt32} AND replay_of IS NULL
    GROUP BY line
) AS original USING line
ORDER BY line
LIMIT {limit:UInt32}
"""
"""Lines whose current outcome, as of `sinks.receipts`, is quarantined: the same rows that are counted there.
A line that was delivered twice is one row; of the records that speak the first stored replay is shown."""


class RefusedLine(NamedTuple):
    """One line: where the record lies that it was sent as, and the one that speaks for it now.

    They are the same unless it was replayed, corrected or not, and refused again.
    """

    line: int
    sent_topic: str
    sent_position: int
    topic: str
    position: int

    @property
    def sent(self) -> tuple[str, int]:
        """Topic and position of the row as it was sent."""
        return self.sent_topic, self.sent_position

    @property
    def now(self) -> tuple[str, int]:
        """Topic and position of what speaks for it."""
        return self.topic, self.position


def refused_lines(
    client: Client, organization_id: str, dataset_id: str, source_ref: str, after: int, limit: int
) -> list[RefusedLine]:
    """The refused lines behind line `after` of one file, at most `limit` of them."""
    found = client.query(
        _LINES,
        parameters={
            "organization": organization_id,
            "dataset": dataset_id,
            "ref": source_ref,
            "after": after,
            "limit": limit,
        },
    )
    return [RefusedLine(*row) for row in found.result_rows]
