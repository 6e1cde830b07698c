"""The spool and its worker put together from the parts of the API."""

import threading
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

    def stop(self) -> None:
        """End it and wait until it has ended. Blocks."""
        if self._worker and self._thread:
            self._worker.stop()
            self._thread.join(_END_S)
