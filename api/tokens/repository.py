"""The record of tokens in SQL, one table for each kind of subject."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.models import Device, Organization
from api.registry.deeds import owner_of
from api.tables import DeviceToken, OrganizationToken, TokenRecord

SubjectKind = Literal["device", "organization"]
TABLES: Final[dict[SubjectKind, type[TokenRecord]]] = {
    "device": DeviceToken,
    "organization": OrganizationToken,
}


class TokenRow(NamedTuple):
    """What Redis has to know of a token."""

    kind: SubjectKind
    jti: str
    subject_id: str
    expires_at: datetime
    revoked: bool


def _row(kind: SubjectKind, token: TokenRecord) -> TokenRow:
    return TokenRow(kind, token.jti, token.subject_id, token.expires_at, token.revoked_at is not None)


def find(session: Session, jti: str, now: datetime) -> TokenRow | None:
    """An unexpired token of any kind, revoked or not; ids of tokens are unique over all kinds."""
    for kind, table in TABLES.items():
        token = session.get(table, jti)
        if token is not None:
            return _row(kind, token) if token.expires_at > now else None
    return None


def unexpired(session: Session, now: datetime, size: int = 5000) -> Iterator[list[TokenRow]]:
    """All unexpired tokens, in chunks, so that millions fit."""
    for kind, table in TABLES.items():
        after = ""
        query = select(table).where(table.expires_at > now).order_by(table.jti).limit(size)
        while chunk := [_row(kind, token) for token in session.scalars(query.where(table.jti > after))]:
            yield chunk
            after = chunk[-1].jti
            session.expunge_all()


def pending(session: Session, size: int = 1000) -> Sequence[TokenRow]:
    """Tokens whose latest change Redis has not been told."""
    return [
        _row(kind, token)
        for kind, table in TABLES.items()
        for token in session.scalars(select(table).where(table.pending).order_by(table.jti).limit(size))
    ]


def told(session: Session, row: TokenRow) -> None:
    """Redis knows this state; a change made meanwhile stays pending."""
    table = TABLES[row.kind]
    same = table.revoked_at.is_not(None) if row.revoked else table.revoked_at.is_(None)
    session.execute(update(table).where(table.jti == row.jti, same).values(pending=False))


def of_subject(session: Session, kind: SubjectKind, subject_id: str) -> Sequence[TokenRecord]:
    """All tokens that a subject ever got, oldest first."""
    table = TABLES[kind]
    query = select(table).where(table.subject_id == subject_id)
    return session.scalars(query.order_by(table.issued_at, table.jti)).all()


def revoke(
    session: Session, actor: Actor, subject: Device | Organization, jti: str | None, now: datetime
) -> list[TokenRow]:
    """Revoke one token of a subject, or all (`jti` None). Returns the rows that Redis must be told."""
    kind = kind_of(subject)
    table = TABLES[kind]
    query = select(table).where(table.subject_id == subject.id).with_for_update()
    tokens = session.scalars(query.where(table.jti == jti) if jti else query).all()
    fresh = [token for token in tokens if token.revoked_at is None]
    for token in fresh:
        token.revoked_at = now
    for token in tokens:
        token.pending = True
    audit.record(session, actor, [deed("token.revoke", subject, token.jti) for token in fresh])
    session.flush()
    return [_row(kind, token) for token in tokens]


def kind_of(subject: Device | Organization) -> SubjectKind:
    """What tokens of it are good for."""
    return "device" if isinstance(subject, Device) else "organization"


def deed(action: str, subject: Device | Organization, jti: str) -> Deed:
    """The audit's entry about a token; its text is nowhere."""
    return Deed(action, "token", jti, owner_of(subject), {kind_of(subject): subject.id})
