"""Encrypts dataset credentials at rest with AES-256-GCM, bound to the dataset they belong to."""

import base64
import json
import os
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = "v1."


class CannotOpen(Exception):
    """The sealed text was made with another key, for another dataset, or was changed."""


class CredentialBox:
    """Seals and opens small secrets.

    Args:
        key: 32 random bytes from the settings.
        before: keys that it replaces; they open, and seal nothing any more.
    """

    def __init__(self, key: bytes, *before: bytes) -> None:
        if any(len(given) != 32 for given in (key, *before)):
            raise ValueError("the key for credentials must have 32 bytes")
        self._aead = AESGCM(key)
        self._all = [self._aead, *map(AESGCM, before)]

    def seal(self, owner_id: str, secret: dict[str, str]) -> str:
        """Encrypt for one owner; the text is safe to store."""
        nonce = os.urandom(12)
        data = self._aead.encrypt(nonce, json.dumps(secret).encode(), owner_id.encode())
        return _VERSION + base64.urlsafe_b64encode(nonce + data).decode()

    def open(self, owner_id: str, sealed: str) -> dict[str, Any]:
        """Decrypt what `seal` made for the same owner.

        Raises:
            CannotOpen: wrong key, wrong owner, or damaged text.
        """
        for aead in self._all:
            secret = _opened(aead, owner_id, sealed)
            if secret is not None:
                return secret
        raise CannotOpen(owner_id)

    def is_newest(self, owner_id: str, sealed: str) -> bool:
        """Whether the newest key opens it."""
        return _opened(self._aead, owner_id, sealed) is not None


def _opened(aead: AESGCM, owner_id: str, sealed: str) -> dict[str, Any] | None:
    """The secret; None if this key does not open it."""
    try:
        raw = base64.urlsafe_b64decode(sealed.removeprefix(_VERSION))
        secret: dict[str, Any] = json.loads(aead.decrypt(raw[:12], raw[12:], owner_id.encode()))
    except (InvalidTag, ValueError):
        return None
    return secret
