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
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("the key for credentials must have 32 bytes")
        self._aead = AESGCM(key)

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
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(_VERSION))
            secret: dict[str, Any] = json.loads(self._aead.decrypt(raw[:12], raw[12:], owner_id.encode()))
        except (InvalidTag, ValueError):
            raise CannotOpen(owner_id) from None
        return secret
