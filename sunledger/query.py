"""`sunledger query`: a statement to the installation's ClickHouse, the answer as text."""

import re
from pathlib import Path
from typing import Final

import clickhouse_connect.driver.exceptions as driver

from sinks import client as clickhouse
from sunledger.embedded.files import is_held, read_json
from sunledger.embedded.layout import Layout

PRETTY: Final = "PrettyCompactMonoBlock"
_HAS_FORMAT: Final = re.compile(r"\bFORMAT\s+\w+\s*;?\s*$", re.IGNORECASE).search
_EXCEPTION: Final = re.compile(r"(Code: \d+\. DB::Exception: .{1,600})", re.DOTALL).search


def is_for_people(sql: str) -> bool:
    """Whether the answer is our table: a statement that names a format of its own is asked by a program."""
    return not _HAS_FORMAT(sql)


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
            f"no installation in {data_dir}: there is no endpoints.json;"
            f" `sunledger up --data {data_dir}` makes one, `--data DIR` names another"
        )
    if not is_held(Layout.at(data_dir).lock):
        raise QueryFailed(
            f"the installation in {data_dir} does not run; `sunledger up --data {data_dir}` starts it"
        )
    try:
        store = clickhouse.connect(endpoints["clickhouse"], database="sunledger")
        try:
            return str(store.raw_query(sql, fmt=PRETTY if is_for_people(sql) else None), "utf-8")
        finally:
            store.close()
    except driver.DatabaseError as exc:
        raise QueryFailed(_cause(str(exc))) from None
    except driver.Error as exc:
        raise QueryFailed(
            f"the store does not answer ({type(exc).__name__}); `sunledger status` tells more"
        ) from None


def _cause(text: str) -> str:
    """What the store says, without the driver's words around it and our own FORMAT clause in it."""
    found = _EXCEPTION(text)
    said = found[1] if found else "the store does not answer; `sunledger status` tells more"
    return said.replace(f"FORMAT {PRETTY}", "").strip()
