"""`sunledger query`: a statement to the installation's ClickHouse, the answer as text."""

from pathlib import Path

import clickhouse_connect.driver.exceptions as driver

from sinks import client as clickhouse
from sunledger.embedded.files import read_json


class QueryFailed(Exception):
    """The store is not there or refused the statement; the message says which."""


def run_query(data_dir: Path, sql: str) -> str:
    """The answer as a table for people, in the database `sunledger`.

    Raises:
        QueryFailed: no installation in the folder, no answer, or an error in the statement.
    """
    endpoints = read_json(data_dir / "endpoints.json")
    if endpoints is None:
        raise QueryFailed(
            f"no installation in {data_dir}: there is no endpoints.json; `sunledger up` makes one"
        )
    try:
        store = clickhouse.connect(endpoints["clickhouse"], database="sunledger")
        try:
            return str(store.raw_query(sql, fmt="PrettyCompactMonoBlock"), "utf-8")
        finally:
            store.close()
    except driver.DatabaseError as exc:
        raise QueryFailed(str(exc)) from None
    except driver.Error as exc:
        raise QueryFailed(
            f"the store does not answer ({type(exc).__name__}); `sunledger status` tells more"
        ) from None
