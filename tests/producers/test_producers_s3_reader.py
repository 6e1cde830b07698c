"""The bytes of an object are all there and the right ones, or they are not taken for a file."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from s3_world import LOCAL, NAME, World, sample
from urllib3.exceptions import ProtocolError

from producers.contracts import FileState, RunState
from producers.errors import SourceChanged, SourceUnavailable
from producers.s3 import Bucket
from producers.s3_reader import ObjectReader

DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


class Body:
    """A connection that gives so many bytes, then ends or breaks."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self._data, self._error = data, error

    def read(self, size: int) -> bytes:
        part, self._data = self._data[:size], self._data[size:]
        if not part and self._error:
            raise self._error
        return part

    def close(self) -> None:
        """Nothing is held."""


def whole(reader: ObjectReader, at_once: int = 1000) -> bytes:
    """Everything that a reader gives."""
    parts = []
    while part := reader.read(at_once):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("error", [None, ProtocolError(), ConnectionResetError()])
@pytest.mark.parametrize("gives", [1, 999, 1000, 3000])
def test_a_connection_that_ends_early_goes_on(gives: int, error: Exception | None) -> None:
    """An early end is no end of the file, whether the connection says so or not."""
    opened: list[int] = []

    def open_at(offset: int) -> Body:
        opened.append(offset)
        last = len(opened) == 4
        return Body(DATA[offset:] if last else DATA[offset : offset + gives], None if last else error)

    assert whole(ObjectReader(open_at, len(DATA), MD5)) == DATA
    assert opened == [0, gives, 2 * gives, 3 * gives]


def test_a_half_object_is_never_a_file() -> None:
    """A store that keeps ending early is away; what it gave is not the whole."""
    reader = ObjectReader(lambda offset: Body(DATA[offset:5000]), len(DATA))
    assert len(reader.read(5000)) == 5000
    with pytest.raises(SourceUnavailable, match="5000 of 10240 bytes"):
        reader.read(5000)


def test_bytes_that_are_not_those_of_the_etag() -> None:
    """With one wrong byte the last ones are not given out."""
    wrong = DATA[:-1] + b"?"
    reader = ObjectReader(lambda offset: Body(wrong[offset:]), len(DATA), MD5)
    assert len(reader.read(10_000)) == 10_000
    with pytest.raises(SourceUnavailable, match="MD5 is not its ETag"):
        reader.read(10_000)
    assert whole(ObjectReader(lambda offset: Body(wrong[offset:]), len(DATA), None)) == wrong


def test_more_bytes_than_listed_are_not_read() -> None:
    """What was appended while it was read belongs to another version."""
    assert whole(ObjectReader(lambda offset: Body(DATA[offset:]), 100)) == DATA[:100]


def test_the_etag_is_an_md5_only_where_it_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after an upload in parts, nor when the store encrypts with a key of KMS or of the customer."""
    world.put(sample(3))
    bucket = Bucket(world.location, LOCAL)
    found = bucket.head(world.prefix + NAME)
    assert found is not None
    assert found.md5 == hashlib.md5(sample(3), usedforsecurity=False).hexdigest()
    answer = bucket._s3.head_object(Bucket=world.bucket, Key=found.key)
    for change in (
        {"ETag": f'"{MD5}-2"'},
        {"ServerSideEncryption": "aws:kms"},
        {"ServerSideEncryption": "aws:kms:dsse"},
        {"SSECustomerAlgorithm": "AES256"},
        {"ETag": '"an-etag-of-another-store"'},
    ):
        monkeypatch.setattr(bucket._s3, "head_object", lambda change=change, **_: answer | change)
        other = bucket.head(found.key)
        assert other is not None
        assert other.md5 is None, change
    bucket.close()


def test_an_answer_for_another_part_or_object(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that ignores the range, or answers with another object, is not read from."""
    world.put(sample(3))
    bucket = Bucket(world.location, LOCAL)
    found = bucket.head(world.prefix + NAME)
    assert found is not None
    get = bucket._s3.get_object
    with monkeypatch.context() as patch:
        patch.setattr(bucket._s3, "get_object", lambda **given: get(**{**given, "Range": "bytes=0-"}))
        with pytest.raises(SourceChanged, match=f"{found.size} bytes are left, expected {found.size - 10}"):
            bucket._get(found, 10)
    with pytest.raises(SourceChanged, match="bytes are left"):
        bucket._get(replace(found, size=found.size + 1), 0)
    bucket.close()


def test_damaged_bytes_fail_the_run_and_leave_the_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not done: it stays where it is and is read again by the next run, whose bytes are right."""
    world.put(sample(5))
    get = Bucket._get

    class Damaged:
        def __init__(self, body: Any) -> None:
            self._body = body

        def read(self, size: int) -> bytes:
            return bytes(self._body.read(size)).replace(b"UC5", b"UC6")

        def close(self) -> None:
            self._body.close()

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "_get", lambda *given: Damaged(get(*given)))
        state, detail = world.run(first_pause_s=0.001)
    assert state is RunState.FAILED
    assert "MD5 is not its ETag" in str(detail)
    assert [file.state for file in world.store.files] == [FileState.CLAIMED]
    assert NAME in list(world.keys())
    assert not any(record.value["ID"] == "UC6" for record in world.seen()), "held back with the last bytes"
    assert world.run()[0] is RunState.DONE
    assert {record.where[1] for record in world.seen()} == set(range(2, 7))
    assert world.keys() == world.keys("Processed/")
