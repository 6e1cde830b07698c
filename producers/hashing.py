"""The hash of what was read, for receipts."""

import hashlib

from producers.text_lines import BinarySource


class HashingSource:
    """Reads from another source and hashes what passes."""

    def __init__(self, source: BinarySource) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        data = self._source.read(size)
        self._hash.update(data)
        return data

    @property
    def content_hash(self) -> str:
        """SHA-256 in hex of everything that was read so far."""
        return self._hash.hexdigest()
