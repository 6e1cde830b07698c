"""The registry's datasets as the S3 poller sees them (`producers.contracts.DatasetSource`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.db import Database
from api.models import Dataset, Organization
from api.outbox import announced
from api.sealing import CannotOpen, CredentialBox
from producers.contracts import S3Dataset, S3Location, StoreUnavailable

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

    def active(self) -> Sequence[S3Dataset]:
        """Active S3 datasets that are not archived, nor their organisation.

        One that the streams cannot know yet is left for the next look: its rows would be refused first.

        One whose credentials cannot be opened is left out and logged: it must not hold up the others.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        query = (
            select(Dataset)
            .join(Organization, Organization.id == Dataset.organization_id)
            .where(Dataset.source == "s3", Dataset.state == "active")
            .where(~Dataset.archived, ~Organization.archived)
            .where(announced(Dataset.id))
            .order_by(Dataset.number)
        )
        with store_errors(), self._db.read() as session:
            found = session.scalars(query).all()
        return [opened for dataset in found if (opened := self._open(dataset))]

    def is_active(self, dataset_id: str) -> bool:
        """Whether the dataset is active now.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        query = select(Dataset.state, Dataset.archived).where(Dataset.id == dataset_id)
        with store_errors(), self._db.read() as session:
            found = session.execute(query).one_or_none()
        return found is not None and found.state == "active" and not found.archived

    def _open(self, dataset: Dataset) -> S3Dataset | None:
        try:
            secret = self._box.open(dataset.id, dataset.sealed_credentials)
        except CannotOpen:
            log.error("credentials_cannot_be_opened", dataset_id=dataset.id)
            return None
        return S3Dataset(
            id=dataset.id,
            organization_id=dataset.organization_id,
            profile=dataset.source,
            id_namespace=dataset.id_namespace,
            schedule=dataset.schedule,
            location=S3Location(**dataset.location, **secret),
        )
