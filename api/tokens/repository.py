"""The record of device tokens in SQL."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.tables import DeviceToken


class TokenRow(NamedTuple):
    """What Redis has to know of a token."""

    jti: str
    device_id: str
    expires_at: datetime
    revoked: bool


def _row(token: DeviceToken) -> TokenRow:
    return TokenRow(token.jti, token.device_id, token.expires_at, token.revoked_at is not None)


def find(session: Session, jti: str, now: datetime) -> TokenRow | None:
    """An unexpired token, revoked or not."""
    token = session.get(DeviceToken, jti)
    return _row(token) if token and token.expires_at > now else None


def unexpired(session: Session, now: datetime, size: int = 5000) -> Iterator[list[TokenRow]]:
    """All unexpired tokens, in chunks, so that millions fit."""
    after = ""
    while True:
        query = (
            select(DeviceToken)
            .where(DeviceToken.jti > after, DeviceToken.expires_at > now)
            .order_by(DeviceToken.jti)
            .limit(size)
        )
        chunk = [_row(token) for token in session.scalars(query)]
        if not chunk:
            return
        yield chunk
        after = chunk[-1].jti
        session.expunge_all()


def pending(session: Session, size: int = 1000) -> Sequence[TokenRow]:
    """Tokens whose latest change Redis has not been told."""
    query = select(DeviceToken).where(DeviceToken.pending).order_by(DeviceToken.jti).limit(size)
    return [_row(token) for token in session.scalars(query)]


def told(session: Session, row: TokenRow) -> None:
    """Redis knows this state; a change made meanwhile stays pending."""
    same = DeviceToken.revoked_at.is_not(None) if row.revoked else DeviceToken.revoked_at.is_(None)
    session.execute(update(DeviceToken).where(DeviceToken.jti == row.jti, same).values(pending=False))


def revoke(session: Session, device_id: str, jti: str | None, now: datetime) -> list[TokenRow]:
    """Revoke one token of a device, or all (`jti` None). Returns the rows that Redis must be told."""
    query = select(DeviceToken).where(DeviceToken.device_id == device_id).with_for_update()
    tokens = session.scalars(query.where(DeviceToken.jti == jti) if jti else query).all()
    for token in tokens:
        if token.revoked_at is None:
            token.revoked_at = now
        token.pending = True
    session.flush()
    return [_row(token) for token in tokens]
