"""What a request may send as, and its receipt in `run_files`: claimed before its rows go out, done after."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api import ids
from api.datasets.runs import text_hash
from api.db import Database, now_ms
from api.errors import Archived, BadToken, Conflict, NotFound
from api.ids import is_id
from api.models import Dataset, Organization
from api.tables import RunFile
from producers.contracts import FileState
from schemas.fields import SOURCE_PROFILES
from schemas.payments import PaymentContext

SOURCE: Final = "api"
_TAKES: Final = frozenset({"api", "topic"})
_UNTIL_DONE: Final = "not every payment is acknowledged; the sender is told to send the request again"


class Sender(NamedTuple):
    """As whom rows are sent.

    Attributes:
        dataset_id: empty for rows without a dataset.
        context: how they are judged.
    """

    organization_id: str
    dataset_id: str
    id_namespace: str
    context: PaymentContext
    dataset_version: int = 0


class Receipt(NamedTuple):
    """A claimed receipt: the id that rows name as `source_ref`, and when the request was taken up."""

    id: str
    claimed_at: datetime


def claim(
    db: Database, organization_id: str, dataset_id: str | None, content_hash: str
) -> tuple[Sender, Receipt]:
    """Check who sends, and put the receipt on record in state `claimed`. Blocks.

    A request whose rows were not all acknowledged stays claimed: how many arrived is the ledger's to say.

    Args:
        content_hash: SHA-256 in hex of the body.

    Raises:
        BadToken: the organisation is gone or archived.
        NotFound: the organisation has no such dataset.
        Archived: the dataset is archived.
        Conflict: the dataset is paused, or takes its rows from elsewhere.
    """
    receipt = Receipt(ids.new_id(ids.RECEIPT), now_ms())
    with db.write() as session:
        sender = _sender(session, organization_id, dataset_id)
        session.add(
            RunFile(
                id=receipt.id,
                organization_id=organization_id,
                dataset_id=dataset_id,
                source=SOURCE,
                source_ref=receipt.id,
                ref_hash=text_hash(receipt.id),
                state=FileState.CLAIMED,
                claimed_at=receipt.claimed_at,
                detail=_UNTIL_DONE,
                content_hash=content_hash,
            )
        )
    return sender, receipt


def done(db: Database, receipt: Receipt, received: int) -> None:
    """Record that all rows of a request are in the topic. Blocks."""
    values = {"state": FileState.DONE, "received": received, "detail": None, "finished_at": now_ms()}
    with db.write() as session:
        session.execute(update(RunFile).where(RunFile.id == receipt.id).values(**values))


def _sender(session: Session, organization_id: str, dataset_id: str | None) -> Sender:
    archived = session.scalar(select(Organization.archived).where(Organization.id == organization_id))
    if archived is None or archived:
        raise BadToken
    if dataset_id is None:
        return Sender(organization_id, "", "", PaymentContext(SOURCE_PROFILES[SOURCE]))
    dataset = session.scalar(select(Dataset).where(Dataset.id == dataset_id)) if is_id(dataset_id) else None
    if dataset is None or dataset.organization_id != organization_id:
        raise NotFound("The token's organisation has no dataset with the id in `dataset_id`.")
    if dataset.archived:
        raise Archived
    if dataset.source not in _TAKES:
        raise Conflict(
            f"The dataset's source is `{dataset.source}`; payments are sent to one of `api` or `topic`."
        )
    if dataset.state != "active":
        why = f" ({dataset.state_detail})" if dataset.state_detail else ""
        raise Conflict(f"The dataset is paused{why}; nothing is taken in for it until it is active again.")
    context = PaymentContext(
        SOURCE_PROFILES[dataset.source], dataset.default_currency, frozenset(dataset.required_fields)
    )
    return Sender(organization_id, dataset.id, dataset.id_namespace, context, dataset.version)
