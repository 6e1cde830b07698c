"""The supervisor: restarts, gives up, and the commands up, status and down over a real stack."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sunledger import cli
from sunledger.embedded import runner, supervisor
from sunledger.embedded.errors import EmbeddedError
from sunledger.embedded.layout import Layout
from sunledger.embedded.process import is_alive
from sunledger.embedded.stack import Endpoints
from sunledger.embedded.status import PartStatus
from sunledger.embedded.supervisor import ExtraPart, RestartPolicy, Supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]
FAST = RestartPolicy(deaths=5, window_s=60, first_delay_s=0.01, max_delay_s=0.05)


def until(condition: Callable[[], bool], limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


class Running:
    """A supervisor in a thread of this process, over parts that need no download."""

    def __init__(self, root: Path, parts: list[ExtraPart]) -> None:
        self.layout = Layout.at(root)
        self.supervisor = Supervisor(self.layout, {p.name: p for p in parts}, FAST)
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def part(self, name: str) -> PartStatus:
        document = (
            json.loads(self.layout.status.read_text()) if self.layout.status.exists() else {"parts": []}
        )
        found = [PartStatus(**entry) for entry in document["parts"] if entry["name"] == name]
        return found[0] if found else PartStatus(name, "unknown", 0)

    def end(self) -> int | None:
        self.supervisor.request_stop()
        self.thread.join()
        return self.code


@pytest.fixture
def running(stack_dir: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def make(*parts: ExtraPart) -> Running:
        started.append(Running(stack_dir, list(parts)))
        return started[-1]

    yield make
    for one in started:
        one.end()


def test_killed_part_is_started_again(running: Callable[..., Running]) -> None:
    """After kill -9 the part comes back with another pid, and status tells of the death."""
    one = running(ExtraPart("a", SLEEP, after=()))
    until(lambda: one.part("a").is_ready)
    first = one.part("a").pid
    assert first
    os.kill(first, signal.SIGKILL)
    until(lambda: one.part("a").is_ready and one.part("a").pid != first)
    assert one.part("a").restarts == 1
    assert one.part("a").last_exit == "killed by SIGKILL"
    second = one.part("a").pid
    assert one.end() == 0
    assert second
    assert not is_alive(second)
    assert one.part("a").state == "stopped"


def test_a_part_that_does_not_answer_is_told(
    running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs, so it is not started again; once it answers it is ready again."""
    monkeypatch.setattr(runner, "_PROBE_S", 0.05)
    answers = tmp_path / "answers"
    answers.touch()
    one = running(ExtraPart("a", SLEEP, after=(), ready_url=answers.as_uri()))
    until(lambda: one.part("a").is_ready)
    pid = one.part("a").pid
    answers.unlink()
    until(lambda: one.part("a").state == "unready")
    assert "does not answer" in str(one.part("a").reason)
    answers.touch()
    until(lambda: one.part("a").is_ready)
    assert (one.part("a").pid, one.part("a").restarts, one.part("a").reason) == (pid, 0, None)


SAYS_WHY = """
import http.server, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        why = pathlib.Path(sys.argv[2]).read_bytes()
        self.send_response(503 if why else 200)
        self.end_headers()
        self.wfile.write(why)

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_why_a_part_is_not_ready_is_told(
    running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In its own words, in one line, from its start on and whenever they change; none once it is ready."""
    monkeypatch.setattr(runner, "_PROBE_S", 0.05)
    why = tmp_path / "why"
    why.write_text('{"status": "not ready", "detail": "the first full\\n pass is under way"}')
    port = free_port()
    argv = [sys.executable, "-c", SAYS_WHY, str(port), str(why)]
    one = running(ExtraPart("a", argv, after=(), ready_url=f"http://127.0.0.1:{port}/readyz"))

    def told(state: str, reason: str | None) -> None:
        until(lambda: (one.part("a").state, one.part("a").reason) == (state, reason))

    told("starting", "the first full pass is under way")
    why.write_text("")
    told("ready", None)
    for said, reason in (
        ('{"detail": "gap payments/0: 3..5"}', "gap payments/0: 3..5"),
        ('{"detail": "' + "x" * 999 + '"}', "x" * 299 + "…"),
        ('{"detail": 1}', "answers 503"),
        ("<html>", "answers 503"),
    ):
        why.write_text(said)
        told("unready", reason)
    why.write_text("")
    told("ready", None)
    assert one.part("a").restarts == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_part_that_keeps_dying_ends_the_supervisor(running: Callable[..., Running]) -> None:
    """Five deaths in the window: exit code 1, the others are stopped, the reason has the log's last line."""
    bad = [sys.executable, "-c", "import sys; sys.exit('no such thing as luck')"]
    one = running(
        ExtraPart("good", SLEEP, after=()), ExtraPart("bad", bad, ready_url="http://127.0.0.1:1/", after=())
    )
    one.thread.join(60)
    assert one.code == 1
    assert one.part("bad").state == "failed"
    reason = one.part("supervisor").reason or ""
    assert "no such thing as luck" in reason
    assert "exit code 1" in reason
    assert one.part("good").state == "stopped"


def test_parts_wait_for_what_they_depend_on(running: Callable[..., Running], tmp_path: Path) -> None:
    """A part starts only when those before it answer."""
    mark = tmp_path / "order"
    late = [sys.executable, "-c", f"open({str(mark)!r}, 'a').write('late'); import time; time.sleep(1000)"]
    one = running(
        ExtraPart("late", late, after=("never",)),
        ExtraPart("never", SLEEP, ready_url="http://127.0.0.1:1/", after=()),
    )
    until(lambda: one.part("never").state == "starting" and one.part("never").pid is not None)
    assert one.part("late").state in ("waiting", "unknown")
    one.end()
    assert not mark.exists()


def test_circles_and_unknown_names_are_refused(stack_dir: Path) -> None:
    """A dependency that can never be met is an error at once."""
    layout = Layout.at(stack_dir)
    with pytest.raises(EmbeddedError, match="each other"):
        Supervisor(
            layout, {"a": ExtraPart("a", SLEEP, after=("b",)), "b": ExtraPart("b", SLEEP, after=("a",))}
        )
    with pytest.raises(EmbeddedError, match="unknown"):
        Supervisor(layout, {"a": ExtraPart("a", SLEEP, after=("nobody",))})


def web_part(endpoints: Endpoints) -> list[ExtraPart]:
    """A stand-in for the api: an HTTP server on its port."""
    port = endpoints.api.rsplit(":", 1)[1]
    argv = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"]
    return [ExtraPart("api", argv, {"SECRET": endpoints.s3.secret_key}, ready_url=endpoints.api)]


def test_up_status_down(stack_dir: Path) -> None:
    """`up --detach` returns when all answers; status names a dead part; down leaves nothing behind."""
    assert supervisor.status(stack_dir) == []
    try:
        assert supervisor.up(stack_dir, web_part, detach=True) == 0
        layout = Layout.at(stack_dir)
        assert stat.S_IMODE(layout.endpoints.stat().st_mode) == 0o600
        endpoints = json.loads(layout.endpoints.read_text())
        assert set(endpoints) == {"api", "kafka", "clickhouse", "redis", "s3", "admin", "ops"}
        assert endpoints["ops"] == {"api": endpoints["api"]}
        assert set(endpoints["s3"]) == {"url", "access_key", "secret_key"}
        with urllib.request.urlopen(endpoints["api"]) as response:
            assert response.status == 200
        parts = {part.name: part for part in supervisor.status(stack_dir)}
        assert set(parts) == {"supervisor", "kafka", "clickhouse", "redis", "s3", "api"}
        assert all(part.is_ready for part in parts.values())
        told = CliRunner().invoke(cli.app, ["status", "--data", str(stack_dir)])
        assert told.exit_code == 0
        (line,) = [line for line in told.output.splitlines() if line.startswith("api ")]
        assert endpoints["ops"]["api"] in line
        # A second one is not started: the first answers for it.
        assert supervisor.up(stack_dir, web_part, detach=True) == 0
        assert supervisor.up(stack_dir, web_part) == 1

        os.kill(parts["redis"].pid or 0, signal.SIGKILL)
        until(
            lambda: any(
                p.name == "redis" and p.restarts == 1 and p.is_ready for p in supervisor.status(stack_dir)
            )
        )
        told = CliRunner().invoke(cli.app, ["status", "--data", str(stack_dir)])
        (line,) = [line for line in told.output.splitlines() if line.startswith("redis ")]
        assert "1 restarts, last: killed by SIGKILL" in line
        pids = [part.pid for part in supervisor.status(stack_dir) if part.pid]
        assert len(pids) == len(parts)
    finally:
        assert supervisor.down(stack_dir) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert all(part.state == "stopped" for part in supervisor.status(stack_dir))
    assert supervisor.down(stack_dir) == 0


def test_supervisor_killed(stack_dir: Path) -> None:
    """kill -9 of the supervisor takes the parts along; status says so; the next up uses the same ports."""
    assert supervisor.up(stack_dir, detach=True) == 0
    before = Layout.at(stack_dir).endpoints.read_text()
    parts = {part.name: part for part in supervisor.status(stack_dir)}
    os.kill(parts["supervisor"].pid or 0, signal.SIGKILL)
    try:
        until(lambda: not any(is_alive(part.pid) for part in parts.values() if part.pid))
        # the kernel gives the supervisor's lock back a moment after the process
        until(lambda: {part.state for part in supervisor.status(stack_dir)} == {"gone"})
        gone = {part.name: part for part in supervisor.status(stack_dir)}
        assert set(gone) == set(parts)
        assert "killed" in (gone["supervisor"].reason or "")
        assert supervisor.up(stack_dir, detach=True) == 0
        assert Layout.at(stack_dir).endpoints.read_text() == before
    finally:
        assert supervisor.down(stack_dir) == 0


def test_detached_start_that_fails_says_why(
    stack_dir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that cannot start makes `up --detach` return 1 with that part's own words.

    While it takes long, the person who waits reads which part it is.
    """
    monkeypatch.setattr(supervisor, "_TELL_S", 0.5)
    bad = ExtraPart(
        "api",
        [sys.executable, "-c", "raise SystemExit('bad settings')"],
        ready_url="http://127.0.0.1:1/",
        after=(),
    )
    assert supervisor.up(stack_dir, [bad], detach=True) == 1
    error = capfd.readouterr().err
    assert "api" in error
    assert "bad settings" in error
    assert re.search(r"^after \d+ s: .*api is (starting|dead)", error, re.MULTILINE)
    assert supervisor.down(stack_dir) == 0
