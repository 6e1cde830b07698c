"""Integrators' own publishing, as docs/publishing.md shows it: both examples run, their rows count."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.identity import partition_of, payment_key
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.support.workers import Sender, WorkerProcess, payment, wait_until

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "publishing.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "publish_payments.py"


def _lines(*rows: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def test_the_python_example_is_short() -> None:
    """Somebody who reads it sees all of it at once."""
    body = EXAMPLE.read_text(encoding="utf-8").partition("ORGANIZATION =")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 30


@pytest.mark.timeout(240)
def test_rows_of_both_examples_end_accepted(
    clickhouse: ClickHouse, endpoints: Endpoints, kafka_prefix: str, tmp_path: Path
) -> None:
    """Python's rows lie where they belong at once; kcat's lie anywhere and are sent on; sent again, known."""
    kcat = shutil.which("kcat")
    if kcat is None:
        pytest.skip("kcat is missing: .ci/kcat.sh installs it")
    sender = Sender(endpoints.kafka, kafka_prefix)
    organization_id = sender.organization()
    topic = f"{kafka_prefix}payments"
    env = {
        **os.environ,
        "KAFKA": endpoints.kafka,
        "TOPIC": topic,
        "ORGANIZATION": organization_id,
        "BATCH": "may-1",
    }
    of_python = _lines(*(payment(number, PAYMENT_AMOUNT=number / 10) for number in range(1, 6)))
    (command,) = re.findall(r"^kcat -P .*$", PAGE, re.MULTILINE)
    rows = [payment(number) for number in range(11, 31)]
    (tmp_path / "payments.jsonl").write_text(_lines(*rows), encoding="utf-8")
    worker = WorkerProcess(tmp_path, endpoints.kafka, kafka_prefix, clickhouse.url, clickhouse.database)
    try:
        for _ in range(2):
            subprocess.run(
                [sys.executable, EXAMPLE], input=of_python, env=env, text=True, check=True, timeout=120
            )
        subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, check=True, timeout=120)
        query = "SELECT outcome, count() FROM ledger WHERE source = 'topic' GROUP BY 1 ORDER BY 1"
        expected = [("accepted", 25), ("duplicate", 5)]
        wait_until(lambda: clickhouse.rows(query) == expected, 120, "an outcome for every row")
        named = "SELECT source_ref, arraySort(groupUniqArray(line)) FROM ledger GROUP BY 1 ORDER BY 1"
        assert clickhouse.rows(named) == [("may-1", [0, 1, 2, 3, 4, 5])]
        amount = "SELECT toString(payment_amount) FROM payments WHERE id = 'P3'"
        assert str(clickhouse.value(amount)).rstrip("0") == "0.3"
        places = clickhouse.rows(
            "SELECT record_id, bitAnd(bitShiftRight(position, 40), 65535) FROM ledger"
            " WHERE outcome = 'accepted' AND toUInt32(substring(record_id, 2)) < 10"
        )
        assert dict(places) == {
            f"P{number}": partition_of(payment_key(organization_id, "", f"P{number}"), 4)
            for number in range(1, 6)
        }
    finally:
        worker.kill()
        worker.child.wait(30)
        sender.close()


def test_the_python_example_says_what_was_not_acknowledged(tmp_path: Path) -> None:
    """Without a broker it ends with an error that says how many to send again."""
    code = EXAMPLE.read_text(encoding="utf-8").replace("flush(60)", "flush(1)")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    env = {**os.environ, "KAFKA": "127.0.0.1:9", "ORGANIZATION": "org_x"}
    ended = subprocess.run(
        [sys.executable, tmp_path / "example.py"],
        input=_lines(payment(1), payment(2)),
        env=env,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "2 payments are not acknowledged" in ended.stderr
