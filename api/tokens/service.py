"""Issues and revokes device tokens: recorded in SQL first, then told to Redis."""

from datetime import timedelta

from api import ids
from api.db import Database, now_ms
from api.errors import Archived, NotFound
from api.jwts import DEVICES, TokenSigner
from api.models import Device
from api.registry.repository import get
from api.tables import DeviceToken
from api.tokens import repository
from api.tokens.repository import TokenRow
from api.tokens.schemas import DeviceTokenOut


def issue(
    db: Database, signer: TokenSigner, device_id: str, lifetime: timedelta
) -> tuple[DeviceTokenOut, TokenRow]:
    """A new token of a device. Older ones stay in force, so that tokens rotate with overlap.

    Raises:
        NotFound: no such device.
        Archived: the device is archived.
    """
    with db.write() as session:
        if get(session, Device, device_id, lock=True).archived:
            raise Archived
        now = now_ms().replace(microsecond=0)
        row = TokenRow(ids.new_id(ids.TOKEN), device_id, now + lifetime, False)
        session.add(DeviceToken(jti=row.jti, device_id=device_id, issued_at=now, expires_at=row.expires_at))
    text = signer.sign(DEVICES, device_id, row.jti, now, row.expires_at)
    return DeviceTokenOut(token=text, jti=row.jti, expires_at=row.expires_at), row


def revoke(db: Database, device_id: str, jti: str) -> list[TokenRow]:
    """Revoke a token of a device; again is no change.

    Raises:
        NotFound: the device has no such token.
    """
    if not (ids.is_id(device_id) and ids.is_id(jti)):
        raise NotFound
    with db.write() as session:
        rows = repository.revoke(session, device_id, jti, now_ms())
    if not rows:
        raise NotFound
    return rows
