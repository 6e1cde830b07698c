"""What listens, where, and what may be named from outside: ports, folders, object names."""

import asyncio
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_helpers import Api, assert_problem
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from producers.contracts import FileRecord, FileState
from producers.s3 import S3Object
from producers.s3_moves import ERROR, PROCESSED, destination
from streams.app import make_app
from streams.config import WorkerConfig
from streams.gates import Gates
from sunledger import cli
from sunledger.embedded import supervisor
from sunledger.settings import ApiSettings, ProducersSettings, WorkerSettings

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("kind", [WorkerSettings, ProducersSettings, ApiSettings])
def test_ports_are_on_the_loopback_address_unless_told(kind: type) -> None:
    """Metrics, health and the API are for this machine until an operator opens them."""
    hosts = [field for name, field in kind.model_fields.items() if name.endswith("_host")]  # type: ignore[attr-defined]
    assert hosts
    assert all(field.default == "127.0.0.1" for field in hosts)
    assert kind.model_fields.get("ops_port") is None or kind.model_fields["ops_port"].default == 0  # type: ignore[attr-defined]


def test_fausts_own_web_server_is_off(tmp_path: Path) -> None:
    """It would listen on every address; that a worker listens nowhere else is in tests/streams."""
    config = WorkerConfig("127.0.0.1:9", "", "g", "w", "http://x", "d", b"0" * 32, b"1" * 32)
    app = make_app(config, Gates({}, lambda: asyncio.sleep(0), lambda _: None), frozenset(), tmp_path)
    assert app.conf.web_enabled is False


TEXT = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    [
        "../../x.csv",
        "..",
        "/etc/passwd",
        "a/../b.csv",
        "..\\..\\x.csv",
        "%2e%2e%2fx.csv",
        "\x00.csv",
        "a\nb.csv",
    ]
)


@given(name=TEXT, version=TEXT, folder=st.sampled_from([PROCESSED, ERROR]))
def test_a_moved_file_stays_below_its_folder(name: str, version: str, folder: str) -> None:
    """Whatever an object and its version are called, it is moved below our folder, under our name."""
    found = S3Object(f"site/{name}", '"e"', 1, NOW, version or None)
    file = FileRecord("fil_1", "run_1", "ds_1", "s3://b/k@1", FileState.CLAIMED, NOW)
    made = destination("site/", file, found, folder)
    assert made.startswith(f"site/{folder}20260102T000000Z_")
    inside = made.removeprefix(f"site/{folder}20260102T000000Z_")
    assert not inside.startswith(("../", "/"))
    assert inside.endswith(name)
    # the version comes from the store and is never a path
    assert "/" not in inside.removesuffix(name)


@pytest.mark.parametrize("prefix", ["../other/", "a/../../b", "..", "./x", "a\\..\\b", "a/..", "a/./b"])
async def test_a_prefix_is_no_path(whole_api: Api, prefix: str) -> None:
    """A store over a folder, such as the embedded one, would leave the bucket by `..`."""
    project = await whole_api.project()
    dataset = await whole_api.dataset(project)
    s3 = {"bucket": "b", "access_key": "a", "secret_key": "b", "prefix": prefix}
    answer = await whole_api.http.patch(f"/v1/datasets/{dataset['id']}", json={"s3": s3})
    told = assert_problem(answer, 422, "invalid")
    assert told["errors"][0]["field"] == "body.s3.prefix"
    good = {**s3, "prefix": "a..b/..c/d.."}
    assert (await whole_api.http.patch(f"/v1/datasets/{dataset['id']}", json={"s3": good})).status_code == 200


def test_a_data_folder_is_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--data` makes one folder, exactly there, that nobody else on the machine may look into."""
    seen: list[Path] = []

    def up(data: Path, *_: object) -> int:
        seen.append(data)
        return 0

    monkeypatch.setattr(supervisor, "up", up)
    old = os.umask(0o022)
    try:
        folder = tmp_path / "a" / ".." / "data"
        (tmp_path / "a").mkdir()
        assert CliRunner().invoke(cli.app, ["up", "--data", str(folder)]).exit_code == 0
    finally:
        os.umask(old)
    assert seen == [folder]
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a", "data"]
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
