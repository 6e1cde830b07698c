"""Identities, homes, partitions and positions: how a row is named and where it belongs.

Keys are made of length-prefixed parts (netstrings), never joined text, so (`a-b`, `c`) and
(`a`, `b-c`) stay different.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.topics import HOMES

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF

OFFSET_BITS: Final = 40
PARTITION_BITS: Final = 16


def netstrings(*parts: str) -> str:
    """Join parts as `<length in UTF-8 bytes>:<part>`, unambiguous for any content."""
    return "".join([f"{len(part.encode())}:{part}" for part in parts])


def hash64(text: str) -> int:
    """64-bit hash of a text: the first 8 bytes of BLAKE2b, big-endian (collisions cannot be crafted)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def payment_key(organization_id: str, id_namespace: str, record_id: str) -> str:
    """Identity of a payment, and its record key: organisation, id namespace, ID."""
    return netstrings(organization_id, id_namespace, record_id)


def read_key(organization_id: str, device_external_id: str) -> str:
    """Record key of a read: all reads of a device share a home, which keeps their order."""
    return netstrings(organization_id, device_external_id)


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 (seed 0x9747b28c) as unsigned 32 bits; ClickHouse's `kafkaMurmurHash`."""
    h = _SEED ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def home_of(key: str) -> int:
    """Home of a record key: murmur2 of its bytes, sign bit cleared as Kafka does, modulo `HOMES`."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % HOMES


def partition_of(key: str, partitions: int) -> int:
    """Partition of a record key in a topic that has `partitions` partitions."""
    return home_of(key) % partitions


def homes_of(keys: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """`home_of` for many keys at once, as an array of the same length; columns instead of a loop."""
    n = len(keys)
    sizes = list(map(len, keys))
    words = (max(sizes, default=0) + 3) // 4
    padded = b"".join([key.ljust(words * 4, b"\0") for key in keys])
    blocks = np.frombuffer(padded, dtype="<u4").reshape(n, words).T
    lengths = np.array(sizes, dtype=np.uint32)
    m = np.uint32(_M)
    h = np.uint32(_SEED) ^ lengths
    with np.errstate(over="ignore"):
        mixed = blocks * m
        mixed ^= mixed >> np.uint32(24)
        mixed *= m
        full = min(sizes, default=0) // 4
        for i in range(full):
            h *= m
            h ^= mixed[i]
        for i in range(full, words):  # some keys end here
            left = lengths.astype(np.int64) - i * 4
            whole = (h * m) ^ mixed[i]
            tail = (h ^ blocks[i]) * m
            h = np.where(left >= 4, whole, np.where(left > 0, tail, h))
        h ^= h >> np.uint32(13)
        h *= m
        h ^= h >> np.uint32(15)
    homes: npt.NDArray[np.uint32] = (h & np.uint32(0x7FFFFFFF)) % np.uint32(HOMES)
    return homes


def position(epoch: int, partition: int, offset: int) -> int:
    """One UInt64 that orders records: epoch (8 bits), partition (16), offset (40).

    The epoch follows Kafka's topic id, so a re-created topic never looks like a replay.

    Raises:
        ValueError: a part does not fit its bits.
    """
    if not (0 <= epoch < 256 and 0 <= partition < 1 << PARTITION_BITS and 0 <= offset < 1 << OFFSET_BITS):
        raise ValueError(f"no position for epoch {epoch}, partition {partition}, offset {offset}")
    return (epoch << (PARTITION_BITS + OFFSET_BITS)) | (partition << OFFSET_BITS) | offset


def split_position(value: int) -> tuple[int, int, int]:
    """Epoch, partition and offset of a position."""
    offset = value & ((1 << OFFSET_BITS) - 1)
    return value >> (PARTITION_BITS + OFFSET_BITS), (value >> OFFSET_BITS) & 0xFFFF, offset
