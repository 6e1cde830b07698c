"""The spool and its worker put together from the parts of the API."""

import threading
import time
from typing import Final

from api.db import Database
from api.parts import ApiParts
from api.sealing import CredentialBox
from api.uploads.spool import Spool
from api.uploads.worker import UploadWorker
from producers.rows import RowRecords
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS

_END_S: Final = 20.0
"""How long the worker may take to end; what it was at is published again at the next start."""

QUIET_S: Final = 600.0
"""How long the worker may give no sign of life: the first look through a large file takes minutes."""


class UploadThreadEnded(Exception):
    """Nobody publishes what is uploaded to this process; it has to be started again."""


class UploadThreadHangs(Exception):
    """The worker has given no sign of life for longer than `QUIET_S`."""


def make_spool(parts: ApiParts) -> Spool:
    """The directory of this process."""
    return Spool(parts.settings.uploads_directory, parts.settings.uploads_reserve_bytes)


class UploadThread:
    """The worker in its thread; none where there is no broker to publish to."""

    def __init__(self, parts: ApiParts, db: Database, box: CredentialBox, spool: Spool) -> None:
        self._worker: UploadWorker | None = None
        self._thread: threading.Thread | None = None
        if parts.files is not None:
            settings = parts.settings
            rows = RowRecords(
                PAYMENTS.full_name(settings.topic_prefix),
                Pseudonymizer(settings.pseudonym_secret, settings.pseudonym_profile),
                Sealer(settings.seal_secret),
            )
            self._worker = UploadWorker(db, box, spool, parts.files.publisher, rows, parts.files.unjudged)
            self._thread = threading.Thread(target=self._worker.run, name="uploads", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        if self._thread:
            self._thread.start()

    @property
    def serves(self) -> bool:
        """Whether there is a worker."""
        return self._worker is not None

    async def check(self) -> None:
        """Return while uploads are being published, or there is nothing that would publish them.

        Raises:
            UploadThreadEnded, UploadThreadHangs: what was answered with 202 waits.
        """
        if not self._worker or not self._thread:
            return
        if not self._thread.is_alive():
            raise UploadThreadEnded
        if time.monotonic() - self._worker.moved_at > QUIET_S:
            raise UploadThreadHangs

    def stop(self) -> None:
        """End it and wait until it has ended. Blocks."""
        if self._worker and self._thread:
            self._worker.stop()
            self._thread.join(_END_S)
