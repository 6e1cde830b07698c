"""Query results as Arrow tables: columns, no Python object per value."""

from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client


def arrow_table(client: Client, sql: str, parameters: dict[str, Any]) -> pa.Table:
    """The result of a query."""
    data = client.raw_query(
        sql,
        parameters=parameters,
        settings={
            "output_format_arrow_string_as_string": 1,
            "output_format_arrow_low_cardinality_as_dictionary": 0,
        },
        fmt="ArrowStream",
    )
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
