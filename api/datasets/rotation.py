"""A new key for credentials: what the key before sealed is sealed anew, so that it can be thrown away."""

from typing import Final, TypeVar

import structlog
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from api.db import Database
from api.models import Dataset
from api.sealing import CannotOpen, CredentialBox
from api.tables import Upload

log = structlog.get_logger(__name__)

Owner = TypeVar("Owner", Dataset, Upload)
_KIND: Final = {Dataset: "dataset_id", Upload: "upload_id"}


def seal_anew(db: Database, box: CredentialBox) -> int:
    """Seal with the box's newest key what is not: credentials of datasets and keys of uploaded files that
    are not published yet. Returns how many that were.

    What no key opens is logged and left as it is: its owner sends it again.

    Raises:
        SQLAlchemyError: the database does not answer; what was sealed by then stays.
    """
    credentials = _seal_all(db, box, Dataset, Dataset.sealed_credentials)
    return credentials + _seal_all(db, box, Upload, Upload.sealed_key)


def _seal_all(db: Database, box: CredentialBox, kind: type[Owner], column: InstrumentedAttribute[str]) -> int:
    # an upload at its end has forgotten its key
    query = select(kind.id, column).where(column != "")
    with db.read() as session:
        known = session.execute(query).all()
    old = [owner_id for owner_id, sealed in known if not box.is_newest(owner_id, sealed)]
    return sum(_seal_one(db, box, kind, column.key, owner_id) for owner_id in old)


def _seal_one(db: Database, box: CredentialBox, kind: type[Owner], name: str, owner_id: str) -> bool:
    """One owner's, unless it was changed meanwhile or cannot be opened."""
    with db.write() as session:
        owner = session.scalars(select(kind).where(kind.id == owner_id).with_for_update()).one()
        sealed: str = getattr(owner, name)
        if not sealed or box.is_newest(owner_id, sealed):
            return False
        try:
            secret = box.open(owner_id, sealed)
        except CannotOpen:
            log.error("credentials_cannot_be_opened", **{_KIND[kind]: owner_id})
            return False
        setattr(owner, name, box.seal(owner_id, secret))
        return True
