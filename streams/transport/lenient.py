"""Record batches whose header names are not UTF-8: read leniently, once the strict reader gave up.

aiokafka decodes header names while it parses, inside its fetcher: one record of a client that writes
raw bytes there would end every worker that fetches it, the good rows beside it unread.
"""

from collections.abc import Iterator
from typing import Any, SupportsIndex

from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


class _LenientBytes(bytearray):
    """Bytes whose slices decode without ever failing: wrong bytes become `\\xNN`."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        found = super().__getitem__(place)
        return _LenientBytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self).decode(encoding, "backslashreplace")


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """aiokafka's own pure-Python reader over lenient bytes."""

    _buffer: bytearray

    def __iter__(self) -> "Iterator[Any]":
        self._maybe_uncompress()
        self._buffer = _LenientBytes(self._buffer)
        return self


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]
    """The batches of a fetch from an offset on, read leniently."""

    def __init__(self, raw: bytes, offset: int) -> None:
        self._from = offset
        super().__init__(raw)
        self._skip()

    def _skip(self) -> None:
        """Leave out batches that were read before; aiokafka skips records inside a batch itself."""
        while self._next_slice is not None and _LenientBatch(self._next_slice).next_offset <= self._from:
            self._cache_next()

    def next_batch(self) -> Any:
        """The next batch."""
        found = _LenientBatch(self._next_slice)
        self._cache_next()
        return found
