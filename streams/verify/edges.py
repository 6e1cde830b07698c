"""The ends of a partition: the group's commit and the end of the log, compared with where the ranges end."""

from collections.abc import Mapping

from clickhouse_connect.driver.client import Client

from sinks import verify, verify_rows
from sinks.verify import Slice
from streams.verify.broker import TopicState
from streams.verify.findings import Finding, Kind, Partition

ROW_TABLES = ("ledger_rows", "quarantine_rows")


def commits_ahead(topic: str, epoch: int, state: TopicState, covered: Mapping[int, int]) -> list[Finding]:
    """Commits beyond the ranges. `state` was read before `covered`: a range is stored before its commit.

    A group that has read nothing yet may have committed where it begins, which is the start of the log.
    """
    return [
        Finding(Kind.COMMIT_AHEAD, Partition(topic, epoch, number), begin, commit, commit - begin)
        for number, commit in state.committed.items()
        if commit > (begin := covered.get(number, state.starts.get(number, 0)))
    ]


def beyond_log(topic: str, epoch: int, reached: Mapping[int, int], ends: Mapping[int, int]) -> list[Finding]:
    """Whatever reaches beyond the log. `ends` was read after `reached`: the log was there first.

    Args:
        reached: partition → next offset of ranges or rows.
        ends: partition → end of its log; a partition that there is not has none.
    """
    return [
        Finding(Kind.BEYOND_LOG, Partition(topic, epoch, number), end, there, there - end)
        for number, there in sorted(reached.items())
        if there > (end := ends.get(number, 0))
    ]


def rows_reach(client: Client, topic: str, versions: str) -> dict[tuple[int, int], int]:
    """(epoch, partition) → offset after the last row of any table. Reads all positions."""
    found: dict[tuple[int, int], int] = {}
    for table in (*ROW_TABLES, versions):
        for place, last in verify_rows.farthest(client, topic, table).items():
            found[place] = max(found.get(place, 0), last + 1)
    return found


def still_there(client: Client, finding: Finding, versions: str) -> int:
    """Offset after the last range or row in the offsets of a finding; 0 when nothing is there any more."""
    part = finding.partition
    where = Slice(part.topic, part.epoch, part.number, finding.first, finding.next_offset)
    ends = [r.next_offset for r in verify.ranges(client, where, thorough=True)]
    rows = [verify_rows.rows_of(client, where, table) for table in (*ROW_TABLES, versions)]
    return max([0, *ends, *(found.last + 1 for found in rows if found is not None)])
