"""The pollers of one process, over SQL; run by tests that kill and stop such processes."""

import json
import signal
import sys
from typing import Any

from api.datasets.polls import SqlPollStore
from api.datasets.source import SqlDatasetSource
from api.db import Database
from api.sealing import CredentialBox
from producers.addresses import Hosts
from producers.poller import Poller
from producers.pollers import Pollers
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from producers.rows import RowRecords
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS

KEY = b"0123456789abcdef0123456789abcdef"


def pollers(given: dict[str, Any], publisher: Publisher, db: Database) -> Pollers:
    """Two pollers that look often, with leases of a second and a half."""
    rows = RowRecords(PAYMENTS.full_name(given["topic_prefix"]), Pseudonymizer(KEY), Sealer(KEY))
    return Pollers(
        [
            Poller(
                SqlDatasetSource(db, CredentialBox(KEY)),
                SqlPollStore(db),
                publisher,
                rows,
                lambda: 0,
                hosts=Hosts(["127.0.0.1"]),
                poll_s=0.05,
                schedule_s=0.2,
                lease_s=1.5,
            )
            for _ in range(2)
        ]
    )


def main() -> None:
    """Serve until SIGTERM."""
    given = json.loads(sys.argv[1])
    db = Database(given["sql_url"])
    publisher = Publisher(given["kafka"], delivery_timeout_s=FILE_DELIVERY_TIMEOUT_S)
    served = pollers(given, publisher, db)
    signal.signal(signal.SIGTERM, lambda *_: served.stop())
    served.run()
    publisher.close()
    db.close()


if __name__ == "__main__":
    main()
