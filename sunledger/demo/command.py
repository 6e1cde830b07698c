"""The command `sunledger demo`: a throw-away installation, the sample, the result."""

import json
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from sunledger.demo.run import OUTCOMES, Demo, Result
from sunledger.embedded.aot_training import get_ready
from sunledger.embedded.files import read_json
from sunledger.embedded.process import Child
from sunledger.embedded.stack import Endpoints, S3Endpoint
from sunledger.embedded.supervisor import status

START_LIMIT_S = 180.0


class DemoFailed(Exception):
    """The demo's installation did not start; the message has the reason."""


def demo(*, once: bool, as_json: bool) -> int:
    """Run the sample through an installation of its own, which ends with this command."""
    signal.signal(signal.SIGTERM, _end)  # the folder with its secrets goes, whoever ends the demo
    console = Console(stderr=as_json)
    get_ready()
    with tempfile.TemporaryDirectory(prefix="sunledger-demo-") as name:
        folder = Path(name)
        console.print("starting Kafka, ClickHouse, Valkey, an S3 server, the API, a worker and the producers")
        child = Child.start(
            "up", [sys.executable, "-m", "sunledger", "up", "--data", name], folder / "logs", cwd=folder
        )
        try:
            endpoints = _await_ready(folder, child)
            result = Demo(endpoints, console.print).run()
            if as_json:
                print(json.dumps(result.as_dict()))  # noqa: T201 - the command's answer
            else:
                _show(console, result)
            if not once and not as_json:
                _stay(console, child, folder, endpoints)
        finally:
            child.stop(60)
    return 0


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave through every `finally`, with the exit code that a shell gives for the signal."""
    sys.exit(128 + number)


def _await_ready(folder: Path, child: Child) -> Endpoints:
    """The endpoints, once everything answers.

    Raises:
        DemoFailed: the installation ended or took too long.
    """
    waiting = threading.Event()
    for _ in range(int(START_LIMIT_S / 0.2)):
        parts = status(folder)
        found = read_json(folder / "endpoints.json")
        if found and parts and parts[0].name == "supervisor" and parts[0].state == "ready":
            return Endpoints(**{**found, "s3": S3Endpoint(**found["s3"])})
        if child.poll() is not None:
            raise DemoFailed("\n".join(child.tail(20)))
        waiting.wait(0.2)
    raise DemoFailed("\n".join(f"{p.name}: {p.state} {p.reason or ''}" for p in status(folder)))


def _show(console: Console, result: Result) -> None:
    table = Table("", "received", *OUTCOMES)
    for name, counts in (("payments", result.payments), ("reads", result.reads)):
        table.add_row(name, *(str(counts[column]) for column in ("received", *OUTCOMES)))
    console.print(table)
    console.print(
        f"{result.verified_connections} of {result.connections} connections are verified; "
        f"the sample took {result.seconds} s"
    )


def _stay(console: Console, child: Child, folder: Path, endpoints: Endpoints) -> None:
    """Keep the installation for whoever sits at a terminal; without one the demo is over."""
    program = Path(sys.argv[0])
    if not sys.stdin.isatty():
        console.print("No terminal, so everything is stopped. An installation that stays:", soft_wrap=True)
        console.print(f"  {program} up --data DIR --detach", soft_wrap=True)
        return
    for line in (
        f"API          {endpoints.api}/docs",
        f"             log in as {endpoints.admin['email']}; this and every other password stands in",
        f"             {folder / 'endpoints.json'}",
        f"ClickHouse   {endpoints.clickhouse}/?database=sunledger",
        f"Kafka        {endpoints.kafka}",
        f"S3           {endpoints.s3.url}",
        f"Ask          {program} query --data {folder} 'SELECT * FROM verification LIMIT 5'",
        "Everything runs until Ctrl-C; nothing of it is kept.",
    ):
        console.print(line, soft_wrap=True, highlight=False)
    try:
        child.wait()
    except KeyboardInterrupt:
        console.print("stopping")
