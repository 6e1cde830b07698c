"""Signed positions: which record this one replays, or was forwarded from.

Workers and the API sign; whoever else may publish to a topic can neither pass a row off as another's nor
mark another's row as replayed.
"""

import hashlib
import hmac
from typing import Final

from schemas.identity import netstrings

ORIGIN_MAC_BYTES: Final = 16


class OriginSigner:
    """Signs positions in headers.

    Args:
        secret: the installation's seal secret; all its processes need the same.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"origin:v1", "sha256")

    def sign(self, name: str, organization_id: str, at: int) -> bytes:
        """Value of the header `name` of an organisation's record: the position in decimal and its code."""
        return b"%d:%s" % (at, self._mac(name, organization_id, b"%d" % at))

    def open(self, name: str, organization_id: str, value: bytes) -> int:
        """The position.

        Raises:
            ValueError: it was not signed by us for this header and organisation.
        """
        digits, _, mac = value.partition(b":")
        if not digits.isdigit() or not hmac.compare_digest(self._mac(name, organization_id, digits), mac):
            raise ValueError(f"{name} is not signed by a worker or the api")
        return int(digits)

    def _mac(self, name: str, organization_id: str, at: bytes) -> bytes:
        digits = f"{name}:{netstrings(organization_id)}:".encode() + at
        return hmac.digest(self._key, digits, hashlib.sha256).hex()[: 2 * ORIGIN_MAC_BYTES].encode()
