"""Runs statements in the ClickHouse engine with a configuration of users; a process of its own for each.

The embedded engine always works as the user `default`, so a test gives `default` the definition of the user
it asks about. Reads {"folder", "config", "statements"} as JSON, answers [[ok, text or error], …].
"""

import json
import sys

import chdb


def main() -> None:
    """Run every statement, whatever the others said."""
    given = json.load(sys.stdin)
    connection = chdb.connect(f"file:{given['folder']}?config-file={given['config']}")
    answers = []
    for statement in given["statements"]:
        try:
            answers.append([True, str(connection.query(statement, "TSV"))])
        except Exception as error:  # noqa: BLE001 - it is the answer
            answers.append([False, str(error)])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
