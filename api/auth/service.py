"""Logging in: passwords by argon2, a short-lived token, the first admin."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from pwdlib import PasswordHash
from sqlalchemy.exc import IntegrityError

from api import ids
from api.auth import repository
from api.auth.repository import normal_email
from api.db import Database, now_ms
from api.errors import BadCredentials, BadToken
from api.jwts import USERS, TokenSigner
from api.tables import User

_HASHER = PasswordHash.recommended()


@cache
def _nobody() -> str:
    """The hash that is checked for users that there are not; made when it is first needed, for its cost."""
    return _HASHER.hash("nobody has this password")


@dataclass(frozen=True, slots=True)
class Admin:
    """An admin who has shown a valid token."""

    user_id: str


def ensure_admin(db: Database, email: str, password: str) -> None:
    """Make the first admin, unless a user has this e-mail; several processes may try at once."""
    with db.read() as session:
        if not password or repository.by_email(session, email):
            return
    user = User(id=ids.new_id(ids.USER), email=normal_email(email), password_hash=_HASHER.hash(password))
    try:
        with db.write() as session:
            session.add(user)
    except IntegrityError:
        return  # another process was faster


def login(db: Database, signer: TokenSigner, lifetime: timedelta, email: str, password: str) -> str:
    """A user token for the right password.

    Raises:
        BadCredentials: unknown, inactive or wrong; all take the time of one hash.
    """
    with db.read() as session:
        user = repository.by_email(session, email) if "\0" not in email else None
    right = _HASHER.verify(password, user.password_hash if user else _nobody())
    if user is None or not right or not user.active:
        raise BadCredentials
    now = now_ms()
    return signer.sign(USERS, user.id, ids.new_id(ids.TOKEN), now, now + lifetime)


def current_admin(db: Database, signer: TokenSigner, token: str) -> Admin:
    """The admin a token belongs to.

    Raises:
        BadToken: no valid user token, or the user is gone.
    """
    claims = signer.verify(USERS, token)
    with db.read() as session:
        user = session.get(User, claims.subject)
    if user is None or not user.active or user.role != "admin":
        raise BadToken
    return Admin(user.id)
