"""Caches of the Java programs: made once, used by every start, and never needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunledger.embedded import aot, aot_training, jars, java
from sunledger.embedded.aot_training import get_ready
from sunledger.embedded.kafka import Kafka
from sunledger.embedded.part import Command

TOOL = "kafka.tools.StorageTool"


def exit_code(folder: Path, *flags: str) -> int:
    """How a short program of the broker's jars ends."""
    return java.run(java.command("kafka", TOOL, ["random-uuid"], 64, flags), folder / "tool.log", 60)


def test_a_cache_is_made_once_and_used(tmp_path: Path) -> None:
    """The runtime, told to end when it cannot use the cache, goes on."""
    get_ready()
    made = {name: aot.cache_path(name).stat().st_mtime_ns for name in jars.lock()}
    get_ready()
    assert made == {name: aot.cache_path(name).stat().st_mtime_ns for name in jars.lock()}
    for name in made:
        assert f"-XX:AOTCache={aot.cache_path(name)}" in aot.flags(name)
    assert exit_code(tmp_path, "-XX:AOTMode=on") == 0


def test_a_damaged_cache_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only slower."""
    damaged = tmp_path / "kafka.aot"
    damaged.write_bytes(b"no cache" * 1000)
    monkeypatch.setattr(aot, "cache_path", lambda _program: damaged)
    assert exit_code(tmp_path, "-XX:AOTMode=on") != 0
    assert exit_code(tmp_path) == 0


class Dies(Kafka):
    """A broker that ends at once."""

    def command(self) -> Command:
        """A command that fails."""
        return Command(["false"])


def test_a_cache_that_cannot_be_made_is_told_and_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Why is on standard error; nothing half made is left, and the program starts without it."""
    monkeypatch.setattr(aot, "cache_path", lambda _program: tmp_path / "aot" / "kafka-0.aot")
    monkeypatch.setitem(
        aot_training._PARTS,
        "kafka",
        lambda folder, ports: Dies(folder, ports["kafka"], ports["kafka_controller"]),
    )
    get_ready(["kafka"])
    said = capsys.readouterr().err
    assert "preparing kafka for quick starts, once" in said
    assert "kafka will start slower: its classes could not be prepared: " in said
    assert list((tmp_path / "aot").iterdir()) == []
    assert aot.flags("kafka") == []
    assert exit_code(tmp_path) == 0
