"""The deduplication index of payments: every judged (identity, content hash, position), by home.

ClickHouse is the memory; this is a copy of the homes that the worker owns, restored when a partition
is assigned and added to after each insert, never before. Held as sorted arrays of 64-bit numbers,
24 bytes a key, with a small dictionary in front for what came since.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
MERGE_AT: Final = 50_000
"""Keys kept in front of the arrays of a home before they are merged in."""


class Key(NamedTuple):
    """One judged content of an identity."""

    content: int
    position: int


class HomeIndex:
    """Keys of one home."""

    __slots__ = ("_contents", "_identities", "_positions", "_recent", "_recent_size")

    def __init__(self) -> None:
        self._identities: U64 = np.empty(0, np.uint64)
        self._contents: U64 = np.empty(0, np.uint64)
        self._positions: U64 = np.empty(0, np.uint64)
        self._recent: dict[int, list[Key]] = {}
        self._recent_size = 0

    def __len__(self) -> int:
        return len(self._identities) + self._recent_size

    def load(self, identities: U64, contents: U64, positions: U64) -> None:
        """Add restored keys, in any order; keys that are known already do no harm."""
        joined = [
            np.concatenate(pair)
            for pair in (
                (self._identities, identities),
                (self._contents, contents),
                (self._positions, positions),
            )
        ]
        order = np.lexsort((joined[2], joined[1], joined[0]))
        ids, contents, positions = (column[order] for column in joined)
        fresh = np.ones(len(ids), bool)
        fresh[1:] = (ids[1:] != ids[:-1]) | (contents[1:] != contents[:-1])
        self._identities, self._contents, self._positions = ids[fresh], contents[fresh], positions[fresh]

    def add(self, identity: int, key: Key) -> None:
        """Add one key after it has been stored."""
        keys = self._recent.setdefault(identity, [])
        if all(key.content != known.content for known in keys):
            keys.append(key)
            self._recent_size += 1
            if self._recent_size >= MERGE_AT:
                self._merge()

    def _merge(self) -> None:
        flat = [(identity, *key) for identity, keys in self._recent.items() for key in keys]
        columns = np.array(flat, dtype=np.uint64).reshape(-1, 3)
        self._recent, self._recent_size = {}, 0
        self.load(columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy())

    def known(self, identities: U64) -> npt.NDArray[np.bool_]:
        """For each identity whether any content of it was judged."""
        found = np.zeros(len(identities), bool)
        if len(self._identities):
            at = np.searchsorted(self._identities, identities)
            at[at == len(self._identities)] = 0
            found = self._identities[at] == identities
        if self._recent:
            recent = self._recent
            found |= np.fromiter((i in recent for i in identities.tolist()), bool, len(identities))
        return found

    def keys(self, identity: int) -> list[Key]:
        """Every judged content of an identity."""
        first = int(np.searchsorted(self._identities, np.uint64(identity), "left"))
        last = int(np.searchsorted(self._identities, np.uint64(identity), "right"))
        stored = [Key(int(self._contents[i]), int(self._positions[i])) for i in range(first, last)]
        return stored + self._recent.get(identity, [])


class PaymentIndex:
    """Keys of all homes that the worker owns, and of those it owned before.

    A home whose partition went elsewhere keeps its slice: when it comes back only what was stored
    since is read. Not safe between threads: the thread that decides owns it.
    """

    def __init__(self) -> None:
        self._homes: dict[int, HomeIndex] = {}
        self._read_at: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._homes.values()))

    def watermarks(self, homes: Iterable[int]) -> dict[int, int]:
        """Server time (milliseconds) at which kept homes were last known to be complete."""
        return {home: self._read_at[home] for home in homes if home in self._read_at}

    def restored(self, homes: Iterable[int], read_at_ms: int) -> None:
        """These homes are complete up to a moment of the server's clock."""
        for home in homes:
            self._read_at[home] = read_at_ms
            self._homes.setdefault(home, HomeIndex())

    def load(self, home: int, identities: U64, contents: U64, positions: U64) -> None:
        """Add restored keys of a home."""
        self._homes.setdefault(home, HomeIndex()).load(identities, contents, positions)

    def known(self, homes: npt.NDArray[np.uint32], identities: U64) -> npt.NDArray[np.bool_]:
        """For each (home, identity) whether any content of the identity was judged."""
        found = np.zeros(len(identities), bool)
        order = np.argsort(homes, kind="stable")
        starts = np.flatnonzero(np.diff(homes[order], prepend=-1))
        for group in np.split(order, starts[1:]) if len(order) else ():
            index = self._homes.get(int(homes[group[0]]))
            if index is not None:
                found[group] = index.known(identities[group])
        return found

    def keys(self, home: int, identity: int) -> list[Key]:
        """Every judged content of an identity."""
        index = self._homes.get(home)
        return index.keys(identity) if index is not None else []

    def add(self, homes: Sequence[int], identities: Sequence[int], keys: Sequence[Key]) -> None:
        """Add keys after they have been stored."""
        for home, identity, key in zip(homes, identities, keys, strict=True):
            self._homes.setdefault(home, HomeIndex()).add(identity, key)


class ReadIndex:
    """Greatest stored `end` per device and type: a read that ends later is certainly new.

    Identities of all reads would be 23 GB a day for ten million devices; so a read that does not end
    later is looked up in the store instead, one query per turn.
    """

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def load(self, ends: Mapping[tuple[str, str], int]) -> None:
        """Add restored ends (UTC milliseconds); the greater one stays."""
        for key, end in ends.items():
            if end > self._ends.get(key, -1):
                self._ends[key] = end

    def end(self, device_id: str, kind: str) -> int:
        """Greatest stored end in UTC milliseconds; below every time when nothing is stored."""
        return self._ends.get((device_id, kind), -(1 << 62))

    def ends(self) -> dict[tuple[str, str], int]:
        """The table itself, for the loop that judges; it must not be changed before the insert."""
        return self._ends
