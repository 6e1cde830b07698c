"""One place in a bucket belongs to one dataset: two would take each other's files."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.exc import IntegrityError

from api.db import violates
from api.errors import PlaceTaken

_PORTS: Final = {"http": 80, "https": 443}
_AWS: Final = (".amazonaws.com", ".amazonaws.com.cn")


@contextmanager
def one_for_each_place() -> Iterator[None]:
    """Tell a client that writes a dataset, or restores one, that its place is taken.

    Raises:
        PlaceTaken: by one that is not archived.
    """
    try:
        yield
    except IntegrityError as error:
        if violates(error, "place_hash"):
            raise PlaceTaken from None
        raise


def place_hash(location: Mapping[str, Any]) -> str:
    """SHA-256 in hex of store, bucket and prefix, however they were written. Regions share their buckets."""
    parts = [_store(location["endpoint_url"]), location["bucket"], location["prefix"].strip("/")]
    return sha256(json.dumps(parts).encode()).hexdigest()


def _store(url: str | None) -> str:
    """Host and port of a store; empty for AWS."""
    if url is None:
        return ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.endswith(_AWS):
        return ""
    return f"{host}:{parts.port or _PORTS[parts.scheme]}{parts.path.rstrip('/')}"
