"""Devices by id, remembered for a minute: what a token's subject may send as does not change often."""

import time
from collections import OrderedDict
from threading import Lock
from typing import Final, NamedTuple

from sqlalchemy import select

from api.db import Database
from api.ids import is_id
from api.models import Device

KEEP_S: Final = 60.0
_MAX: Final = 200_000


class KnownDevice(NamedTuple):
    """What the reads endpoint has to know of a device."""

    id: str
    organization_id: str
    external_id: str
    archived: bool


class Devices:
    """Look-ups of devices by id. The cache also bridges a short outage of SQL."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: OrderedDict[str, tuple[float, KnownDevice]] = OrderedDict()
        self._lock = Lock()

    def cached(self, device_id: str) -> KnownDevice | None:
        """The device, if it was looked up within the last minute. Never blocks on I/O."""
        at, device = self._known.get(device_id, (0.0, None))
        return device if device and time.monotonic() - at < KEEP_S else None

    def find(self, device_id: str) -> KnownDevice | None:
        """The device, asked from SQL (blocks); None if there is none."""
        if not is_id(device_id):
            return None
        columns = (Device.id, Device.organization_id, Device.external_id, Device.archived)
        with self._db.read() as session:
            row = session.execute(select(*columns).where(Device.id == device_id)).one_or_none()
        if row is None:
            return None
        device = KnownDevice(*row)
        with self._lock:
            self._known[device_id] = (time.monotonic(), device)
            self._known.move_to_end(device_id)
            if len(self._known) > _MAX:
                self._known.popitem(last=False)
        return device
