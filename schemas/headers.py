"""Record headers: the lineage that travels with a row.

A direct publisher needs only `organization_id`; our producers set the rest.
"""

from typing import Final

ORGANIZATION_ID: Final = "organization_id"
DATASET_ID: Final = "dataset_id"
DATASET_VERSION: Final = "dataset_version"
"""Version of the dataset that the producer read under (decimal text): a worker that knows less catches up."""
SOURCE: Final = "source"
"""Where the row came from: `s3`, `sheet`, `upload`, `pull`, `api`, `device`, `topic` (the default)."""
SOURCE_REF: Final = "source_ref"
"""The file and its version, the request or the window; with `line` it names a received row."""
LINE: Final = "line"
"""Physical line on which the row starts, counted from 1 (decimal text)."""
RECEIVED_AT: Final = "received_at"
"""When we received it: ISO 8601 in UTC with milliseconds."""
SEALED: Final = "sealed"
"""Encrypted originals of the pseudonymised fields, kept only if the row is quarantined."""
UNREADABLE: Final = "unreadable"
"""Reason code set by a reader for a row it could not parse; the value is empty, the text in `sealed`."""
UNREADABLE_DETAIL: Final = "unreadable_detail"
"""What is wrong with that row in words that hold nothing of it, signed by the reader (`Sealer.sign`)."""
ORIGIN: Final = "origin"
"""Position of the record this one was forwarded from, signed by a worker; it stays the row's key."""
REPLAY_OF: Final = "replay_of"
"""Position of the quarantined record this one replays, signed by a worker or the API."""

ALL: Final = frozenset(
    {
        ORGANIZATION_ID,
        DATASET_ID,
        DATASET_VERSION,
        SOURCE,
        SOURCE_REF,
        LINE,
        RECEIVED_AT,
        SEALED,
        UNREADABLE,
        UNREADABLE_DETAIL,
        ORIGIN,
        REPLAY_OF,
    }
)
