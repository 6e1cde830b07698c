"""Issues and revokes tokens of devices and organisations: recorded in SQL first, then told to Redis."""

from datetime import timedelta
from typing import Final, NamedTuple

from api import ids
from api.audit import service as audit
from api.audit.service import Actor
from api.db import Database, now_ms
from api.errors import Archived, NotFound
from api.jwts import DEVICES, ORGANIZATIONS, TokenSigner
from api.models import Device, Organization
from api.outbox import wait_until_announced
from api.registry.repository import get
from api.tokens import repository
from api.tokens.repository import TABLES, SubjectKind, TokenRow
from api.tokens.schemas import TokenList, TokenListed, TokenOut


class _Subject(NamedTuple):
    """Who gets tokens of a kind, and for which audience: one kind is never taken for the other."""

    model: type[Device] | type[Organization]
    audience: str


_SUBJECTS: Final[dict[SubjectKind, _Subject]] = {
    "device": _Subject(Device, DEVICES),
    "organization": _Subject(Organization, ORGANIZATIONS),
}


def issue(
    db: Database, signer: TokenSigner, actor: Actor, kind: SubjectKind, subject_id: str, lifetime: timedelta
) -> tuple[TokenOut, TokenRow]:
    """A new token. Older ones stay in force, so that tokens rotate with overlap.

    Returns when the workers can know the subject, or a moment later: what is sent with the token is not
    refused because it came too soon. Blocks.

    Raises:
        NotFound: no such subject.
        Archived: it is archived.
    """
    subject = _SUBJECTS[kind]
    with db.write() as session:
        owner = get(session, subject.model, subject_id, lock=True)
        if owner.archived:
            raise Archived
        now = now_ms().replace(microsecond=0)
        row = TokenRow(kind, ids.new_id(ids.TOKEN), subject_id, now + lifetime, False)
        record = TABLES[kind](jti=row.jti, subject_id=subject_id, issued_at=now, expires_at=row.expires_at)
        session.add(record)
        audit.record(session, actor, [repository.deed("token.issue", owner, row.jti)])
        known_by = [subject_id, owner.organization_id] if isinstance(owner, Device) else [subject_id]
    wait_until_announced(db, known_by)
    text = signer.sign(subject.audience, subject_id, row.jti, now, row.expires_at)
    return TokenOut(token=text, jti=row.jti, expires_at=row.expires_at), row


def tokens_of(db: Database, kind: SubjectKind, subject_id: str) -> TokenList:
    """All tokens that a subject ever got.

    Raises:
        NotFound: no such subject.
    """
    with db.read() as session:
        get(session, _SUBJECTS[kind].model, subject_id)
        found = repository.of_subject(session, kind, subject_id)
        return TokenList(items=[TokenListed.model_validate(token) for token in found])


def revoke(db: Database, actor: Actor, kind: SubjectKind, subject_id: str, jti: str) -> list[TokenRow]:
    """Revoke a token of a subject; again is no change.

    Raises:
        NotFound: the subject has no such token.
    """
    if not ids.is_id(jti):
        raise NotFound
    with db.write() as session:
        subject = get(session, _SUBJECTS[kind].model, subject_id)
        rows = repository.revoke(session, actor, subject, jti, now_ms())
    if not rows:
        raise NotFound
    return rows
