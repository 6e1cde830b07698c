"""Objects of a bucket that could not be dealt with: they hold up no others and are told at the end.

Their keys are the sender's choice and may hold somebody's name: what is told and logged is an `alias`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from producers.errors import SourceChanged, SourceError, SourceForbidden
from schemas.fields import FILE_NAME

log = structlog.get_logger(__name__)

_TOLD: Final = 5
"""How many of them are named."""


def alias(prefix: str, key: str) -> str:
    """The file's name if it is the one we ask for, else `object` and the key's SHA-256, 12 digits of it."""
    if key == prefix + FILE_NAME:
        return FILE_NAME
    return f"object {hashlib.sha256(key.encode()).hexdigest()[:12]}"


class Troubles:
    """The objects of one run that the store refuses, or that change too fast."""

    def __init__(self, dataset_id: str, prefix: str) -> None:
        self._dataset_id = dataset_id
        self._prefix = prefix
        self._found: dict[str, str] = {}

    def __contains__(self, ref: str) -> bool:
        return ref in self._found

    @contextmanager
    def collected(self, key: str, ref: str | None = None) -> Iterator[None]:
        """What concerns one object does not end the run; `ref` names its version, if it is known."""
        try:
            yield
        except (SourceForbidden, SourceChanged) as error:
            name = alias(self._prefix, key)
            log.warning("object_not_dealt_with", dataset_id=self._dataset_id, object=name, reason=str(error))
            self._found[ref or key] = f"{name}: {error}"

    def tell(self) -> None:
        """Say what was collected.

        Raises:
            SourceError: something was.
        """
        if self._found:
            told = "; ".join(list(self._found.values())[:_TOLD])
            more = len(self._found) - _TOLD
            others = f"; and {more} more" if more > 0 else ""
            raise SourceError(f"objects that could not be dealt with: {len(self._found)} ({told}{others})")
