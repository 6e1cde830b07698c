"""The spool by itself: what is written is read again, and nothing that was changed is."""

import contextlib
import os
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uploads import KIND, body

from api.errors import BadRequest, Invalid
from api.uploads import sealed_file
from api.uploads.errors import NoRoom, SpoolLost
from api.uploads.form import Form
from api.uploads.sealed_file import CHUNK_BYTES, SealedReader, SealedWriter, new_key
from api.uploads.spool import Spool

KEY = new_key()
UPLOAD = f"upl_{'0' * 26}"
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES)


def write(path: Path, data: bytes, piece: int = 100_000) -> str:
    """Write a sealed file; the hash of its plain bytes."""
    with path.open("wb") as file:
        writer = SealedWriter(file, KEY)
        for at in range(0, len(data), piece):
            writer.write(data[at : at + piece])
        assert writer.size == len(data)
        return writer.finish()


def read(path: Path, key: bytes = KEY, piece: int = 77_777) -> bytes:
    """All plain bytes of a sealed file."""
    with path.open("rb") as file:
        reader = SealedReader(file, key)
        found = b"".join(iter(lambda: reader.read(piece), b""))
        assert reader.at == len(found)
        return found


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(tmp_path: Path, size: int) -> None:
    """Whatever the pieces and the borders of chunks; and no plain text is on the disk."""
    data = os.urandom(16) * (size // 16) + b"x" * (size % 16)
    write(tmp_path / "f", data)
    assert read(tmp_path / "f") == data
    assert data[:16] not in (tmp_path / "f").read_bytes() or size < 16


def test_what_was_changed_is_not_read(tmp_path: Path) -> None:
    """Another key, a changed byte, chunks left out, exchanged or cut off, even at a border of chunks."""
    path, sealed = tmp_path / "f", CHUNK_BYTES + 16
    write(path, os.urandom(3 * CHUNK_BYTES + 5))
    whole = path.read_bytes()
    one, two = whole[:sealed], whole[sealed : 2 * sealed]
    changed = [
        whole[:-1],
        whole[: 3 * sealed],
        whole[:sealed],
        one + whole[2 * sealed :],
        two + one + whole[2 * sealed :],
        bytes([whole[0] ^ 1]) + whole[1:],
        whole + b"x",
        b"",
    ]
    for data in changed:
        path.write_bytes(data)
        with pytest.raises(SpoolLost):
            read(path)
    path.write_bytes(whole)
    with pytest.raises(SpoolLost):
        read(path, new_key())


def test_a_directory_keeps_its_name(tmp_path: Path) -> None:
    """It is made private, and known again; a new one in its place is another."""
    first = Spool(tmp_path / "a" / "spool", 0)
    assert Spool(tmp_path / "a" / "spool", 0).id == first.id
    assert Spool(tmp_path / "b", 0).id != first.id
    assert first.uploads() == []
    assert (tmp_path / "a" / "spool").stat().st_mode & 0o777 == 0o700


def test_a_file_is_held_by_one(tmp_path: Path) -> None:
    """By whoever receives it, then by whoever publishes it; what is not there is lost."""
    spool = Spool(tmp_path, 0)
    incoming = spool.receive(UPLOAD, KEY)
    with spool.held(UPLOAD) as mine:
        assert not mine
    incoming.write(b"abc")
    incoming.keep()
    incoming.close()
    with spool.held(UPLOAD) as mine, spool.held(UPLOAD) as others:
        assert (mine, others) == (True, False)
    with closing(spool.open(UPLOAD, KEY)) as file:
        assert file.read(10) == b"abc"
    spool.remove(UPLOAD)
    with pytest.raises(SpoolLost), spool.held(UPLOAD):
        pass
    with pytest.raises(ValueError, match="not the id"):
        spool.remove("../x")


def test_a_disk_that_fills_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The free space is looked at again while a file grows."""
    spool = Spool(tmp_path, 0)
    incoming = spool.receive(UPLOAD, KEY)
    monkeypatch.setattr("api.uploads.spool._LOOK_BYTES", 10)
    incoming.write(b"x" * 20)
    monkeypatch.setattr(spool, "_reserve", 1 << 62)
    with pytest.raises(NoRoom):
        incoming.write(b"x")
    incoming.discard()


class _Kept:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


@given(
    data=st.binary(max_size=300),
    values=st.lists(st.text(max_size=20), max_size=3),
    cuts=st.lists(st.integers(0, 900), max_size=6),
)
def test_a_form_is_the_same_however_it_is_cut(data: bytes, values: list[str], cuts: list[int]) -> None:
    """Fields and file come out as they went in, wherever the network cuts the body."""
    kept = _Kept()
    form = Form(KIND, lambda name: kept)
    given_body = body(*[("project_ids", value, None) for value in values], ("file", data, "f.csv"))
    borders = sorted({0, *(cut for cut in cuts if cut < len(given_body)), len(given_body)})
    for begin, end in pairwise(borders):
        form.feed(given_body[begin:end])
    form.check_ended()
    assert kept.data == data
    assert form.fields.get("project_ids", []) == values


@given(st.binary(max_size=400), st.sampled_from([KIND, "multipart/form-data; boundary=x"]))
def test_no_body_makes_anything_but_its_own_errors(data: bytes, kind: str) -> None:
    """Garbage, or a form with garbage in it, is refused in our words."""
    for given_body in (data, body(("a", data, None)), body()[:-4] + data):
        form = Form(kind, lambda name: _Kept())
        with contextlib.suppress(Invalid, BadRequest):
            form.feed(given_body)
            form.check_ended()


def test_nonces_never_repeat() -> None:
    """A chunk's number and its mark are in the nonce: no two chunks of a file share one."""
    seen = {sealed_file._nonce(number, last) for number in range(1000) for last in (False, True)}
    assert len(seen) == 2000
    assert all(len(nonce) == 12 for nonce in seen)
