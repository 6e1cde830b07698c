"""Reads, first half: decode, resolve the device, validate, hash. Needs no memory of other reads."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.identity import hash64, home_of, netstrings, read_key
from schemas.outcomes import reason
from schemas.reads import ReadValidator, check_history
from streams.registry import Device
from streams.resolve import Resolver
from streams.rows import Row, RowReader
from streams.transport.batch import Batch

KNOWN_HOMES = 200_000
"""Devices whose home is remembered; the table is emptied when it is full."""


@dataclass(slots=True)
class PreparedReads:
    """A batch of reads, columns of the valid rows beside it.

    Attributes:
        valid: indexes into `rows` of the valid rows; all lists below have one entry for each.
        columns: column name → values, as `ReadBatch.columns`.
        devices: the registered device of each.
        identities: hash of (device id, type, start, end).
        homes: home of each: that of its device.
    """

    batch: Batch
    rows: list[Row]
    valid: list[int]
    columns: dict[str, list[Any]]
    content: list[int]
    devices: list[Device]
    identities: list[int]
    homes: npt.NDArray[np.uint32]


class PrepareReads:
    """Prepares batches of the reads topic."""

    def __init__(self, reader: RowReader, resolver: Resolver) -> None:
        self._reader = reader
        self._resolver = resolver
        self._validator = ReadValidator()
        self._homes: dict[tuple[str, str], int] = {}

    def __call__(self, batch: Batch) -> PreparedReads:
        """Prepare one batch. Blocks while an unknown name is looked up in the registry."""
        rows = self._reader.read(batch)
        known = self._resolver.devices(rows)
        good = [index for index, row in enumerate(rows) if not row.reasons]
        seen = [device for device in known if device is not None]
        verdict = self._validator.validate(
            [rows[index].value or {} for index in good], int(time.time() * 1000)
        )
        for at, faults in verdict.errors.items():
            rows[good[at]].reasons.extend(reason(fault.code, fault.field) for fault in faults)
        valid = [good[at] for at in verdict.valid]
        devices = [seen[at] for at in verdict.valid]
        prepared = PreparedReads(
            batch,
            rows,
            valid,
            verdict.columns,
            verdict.content_hash,
            devices,
            _identities(devices, verdict.columns),
            np.fromiter((self._home(device) for device in devices), np.uint32, len(devices)),
        )
        return _check_history(prepared) if "History" in verdict.columns["type"] else prepared

    def _home(self, device: Device) -> int:
        key = device.organization_id, device.external_id
        home = self._homes.get(key)
        if home is None:
            if len(self._homes) >= KNOWN_HOMES:
                self._homes.clear()
            home = self._homes[key] = home_of(read_key(*key))
        return home


def _identities(devices: list[Device], columns: dict[str, list[Any]]) -> list[int]:
    prefixes: dict[str, str] = {}
    identities = []
    for device, kind, start, end in zip(
        devices, columns["type"], columns["start"], columns["end"], strict=True
    ):
        prefix = prefixes.get(device.id)
        if prefix is None:
            prefix = prefixes[device.id] = netstrings(device.id)
        # type, start and end are of closed forms without a bar, so only the device needs its length
        identities.append(hash64(f"{prefix}{kind}|{start}|{end}"))
    return identities


def _check_history(prepared: PreparedReads) -> PreparedReads:
    """Refuse History reads that lie after onboarding or too far before it."""
    columns = prepared.columns
    faults = [
        check_history(kind, start, end, device.onboarded_ms)
        for kind, start, end, device in zip(
            columns["type"], columns["start"], columns["end"], prepared.devices, strict=True
        )
    ]
    for index, fault in zip(prepared.valid, faults, strict=True):
        if fault is not None:
            prepared.rows[index].reasons.append(reason(fault, "start"))
    kept = [at for at, fault in enumerate(faults) if fault is None]
    return PreparedReads(
        prepared.batch,
        prepared.rows,
        [prepared.valid[at] for at in kept],
        {name: [column[at] for at in kept] for name, column in columns.items()},
        [prepared.content[at] for at in kept],
        [prepared.devices[at] for at in kept],
        [prepared.identities[at] for at in kept],
        prepared.homes[kept],
    )
