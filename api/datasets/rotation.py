"""A new key for credentials: what the key before sealed is sealed anew, so that it can be thrown away."""

import structlog
from sqlalchemy import select

from api.db import Database
from api.models import Dataset
from api.sealing import CannotOpen, CredentialBox

log = structlog.get_logger(__name__)


def seal_anew(db: Database, box: CredentialBox) -> int:
    """Seal all credentials with the box's newest key that are not; returns how many that were.

    A dataset whose credentials no key opens is logged and left as it is: its owner sends them again.

    Raises:
        SQLAlchemyError: the database does not answer; what was sealed by then stays.
    """
    with db.read() as session:
        known = session.execute(select(Dataset.id, Dataset.sealed_credentials)).all()
    old = [dataset_id for dataset_id, sealed in known if not box.is_newest(dataset_id, sealed)]
    return sum(_seal_one(db, box, dataset_id) for dataset_id in old)


def _seal_one(db: Database, box: CredentialBox, dataset_id: str) -> bool:
    """One dataset, unless its credentials were changed meanwhile or cannot be opened."""
    with db.write() as session:
        dataset = session.scalars(select(Dataset).where(Dataset.id == dataset_id).with_for_update()).one()
        if box.is_newest(dataset_id, dataset.sealed_credentials):
            return False
        try:
            secret = box.open(dataset_id, dataset.sealed_credentials)
        except CannotOpen:
            log.error("credentials_cannot_be_opened", dataset_id=dataset_id)
            return False
        dataset.sealed_credentials = box.seal(dataset_id, secret)
        return True
