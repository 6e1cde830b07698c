"""Signs and verifies tokens. The key decides the algorithm; the header only names the key."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import jwt

from api.errors import BadToken
from api.keys import KeyRing

USERS: Final = "sunledger:users"
DEVICES: Final = "sunledger:devices"
ORGANIZATIONS: Final = "sunledger:organizations"
MAX_TOKEN: Final = 4096
CLOCK_SKEW_S: Final = 5
_REQUIRED: Final = ["exp", "iat", "iss", "aud", "sub", "jti"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says: who (`sub`) and which token (`jti`)."""

    subject: str
    jti: str


class TokenSigner:
    """Issues and checks tokens of one issuer.

    Args:
        ring: the closed set of keys.
        issuer: the `iss` of every token, and the only one accepted.
    """

    def __init__(self, ring: KeyRing, issuer: str) -> None:
        self._ring = ring
        self._issuer = issuer

    def sign(self, audience: str, subject: str, jti: str, issued: datetime, expires: datetime) -> str:
        """A signed token; times are aware and cut to seconds."""
        key = self._ring.signing()
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": subject,
            "jti": jti,
            "iat": int(issued.timestamp()),
            "exp": int(expires.timestamp()),
        }
        return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid})

    def verify(self, audience: str, token: str) -> Claims:
        """The claims of a token that is ours, unexpired and meant for this audience.

        Raises:
            BadToken: anything else; it is not said what.
        """
        try:
            if len(token) > MAX_TOKEN:
                raise BadToken
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._ring.find(kid) if isinstance(kid, str) else None
            if key is None:
                raise BadToken
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                audience=audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW_S,
                options={"require": _REQUIRED, "strict_aud": True},
            )
        except (jwt.InvalidTokenError, UnicodeError, ValueError, RecursionError):
            raise BadToken from None
        if not isinstance(claims["sub"], str) or not isinstance(claims["jti"], str):
            raise BadToken
        return Claims(claims["sub"], claims["jti"])
