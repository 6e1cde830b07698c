"""How often workers have begun with the same batch, chunk or row, and how often they finished it."""

from clickhouse_connect.driver.client import Client


def attempts_from(
    client: Client, topic: str, epoch: int, partition: int, offset: int
) -> dict[tuple[str, int], int]:
    """(kind, offset) → number of notes, at and behind an offset; kinds as in the table's comment.

    May raise the driver's exceptions; `errors.classify` sorts them.
    """
    rows = client.query(
        "SELECT toString(kind), offset, count() FROM attempts WHERE topic = {topic:String}"
        " AND epoch = {epoch:UInt8} AND partition = {partition:UInt16} AND offset >= {offset:UInt64}"
        " GROUP BY kind, offset",
        parameters={"topic": topic, "epoch": epoch, "partition": partition, "offset": offset},
    ).result_rows
    return {(kind, at): int(count) for kind, at, count in rows}
