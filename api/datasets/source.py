"""The registry's datasets as the poller sees them (`producers.contracts.DatasetSource`)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import structlog
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.db import Database
from api.models import Dataset, Organization
from api.outbox import announced
from api.sealing import CannotOpen, CredentialBox
from producers import contracts
from producers.contracts import PullLocation, S3Location, SheetLocation, StoreUnavailable
from schemas.fields import SOURCE_PROFILES

log = structlog.get_logger(__name__)


@contextmanager
def store_errors() -> Iterator[None]:
    """Tell the poller that the database is away in its own words."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise StoreUnavailable(type(error).__name__) from None


class SqlDatasetSource:
    """Reads active datasets and opens their credentials."""

    def __init__(self, db: Database, box: CredentialBox) -> None:
        self._db = db
        self._box = box

    def active(self) -> Sequence[contracts.Dataset]:
        """Active datasets with a source to look at, not archived, nor their organisation.

        One that the streams cannot know yet is left for the next look: its rows would be refused first.

        One whose credentials cannot be opened is left out and logged: it must not hold up the others.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        query = (
            select(Dataset)
            .join(Organization, Organization.id == Dataset.organization_id)
            .where(Dataset.source.in_(_LOCATIONS), Dataset.state == "active")
            .where(~Dataset.archived, ~Organization.archived)
            .where(announced(Dataset.id))
            .order_by(Dataset.number)
        )
        with store_errors(), self._db.read() as session:
            found = session.scalars(query).all()
        return [dataset for row in found if (dataset := self._open(row))]

    def is_active(self, dataset_id: str) -> bool:
        """Whether the dataset is active now.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        query = select(Dataset.state, Dataset.archived).where(Dataset.id == dataset_id)
        with store_errors(), self._db.read() as session:
            found = session.execute(query).one_or_none()
        return found is not None and found.state == "active" and not found.archived

    def _open(self, dataset: Dataset) -> contracts.Dataset | None:
        try:
            return opened(dataset, self._box)
        except CannotOpen:
            log.error("credentials_cannot_be_opened", dataset_id=dataset.id)
            return None


def opened(dataset: Dataset, box: CredentialBox) -> contracts.Dataset:
    """The dataset as producers see it, its credentials opened.

    Raises:
        CannotOpen: they were sealed with another key.
    """
    secret = box.open(dataset.id, dataset.sealed_credentials)
    make = _LOCATIONS.get(dataset.source)
    return contracts.Dataset(
        id=dataset.id,
        organization_id=dataset.organization_id,
        profile=SOURCE_PROFILES[dataset.source],
        id_namespace=dataset.id_namespace,
        schedule=dataset.schedule,
        location=make(dataset.location, secret) if make else None,
        version=dataset.version,
    )


def _sheet(location: dict[str, Any], _secret: dict[str, str]) -> SheetLocation:
    return SheetLocation(location["spreadsheet_id"], tuple(location["ranges"]))


def _pull(location: dict[str, Any], secret: dict[str, str]) -> PullLocation:
    return PullLocation(location["url"], date.fromisoformat(location["since"]), secret["key"])


_LOCATIONS: Final[dict[str, Callable[[dict[str, Any], dict[str, str]], contracts.Location]]] = {
    "s3": lambda location, secret: S3Location(**location, **secret),
    "sheet": _sheet,
    "pull": _pull,
}
