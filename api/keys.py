"""The signing keys: Ed25519, one file each, named by `kid`; the newest signs, all of them verify."""

import base64
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

ALGORITHM: Final = "EdDSA"
_FILE = re.compile(r"(?P<kid>\d{8}T\d{6}\d{6}-[0-9a-f]{8})\.pem")
_FORM = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair. `algorithm` belongs to the key; what a token's header claims is never asked."""

    kid: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    algorithm: str = ALGORITHM

    def jwk(self) -> dict[str, Any]:
        """The public half as a JWK (RFC 8037)."""
        raw = self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": self.algorithm, "kid": self.kid, "x": x}


class KeyRing:
    """The closed set of keys in a directory, shared by all API processes of an installation.

    Args:
        directory: holds `<kid>.pem`, each with mode 0600; made, with a first key, when empty.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._loaded_at = 0.0
        self._keys: dict[str, SigningKey] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._load()
        if not self._keys:
            self.rotate()

    def signing(self) -> SigningKey:
        """The newest key."""
        return self._keys[max(self._keys)]

    def find(self, kid: str) -> SigningKey | None:
        """The key of this id. The directory is read again every 30 s, for an unknown id once a second."""
        age = time.monotonic() - self._loaded_at
        if age > 30 or (age > 1 and kid not in self._keys):
            self._load()
        return self._keys.get(kid)

    def rotate(self) -> str:
        """Make a new key, which signs from now on; older ones go on verifying. Returns its kid."""
        kid = f"{datetime.now(UTC).strftime(_FORM)}-{secrets.token_hex(4)}"
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        part = self._directory / f"{kid}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
        part.rename(self._directory / f"{kid}.pem")
        self._load()
        return kid

    def retire(self, older_than: timedelta) -> list[str]:
        """Delete keys older than this, never the newest. Returns the kids.

        Tokens they signed stop working, so this must be longer than the longest token lifetime.
        """
        limit = (datetime.now(UTC) - older_than).strftime(_FORM)
        gone = [kid for kid in sorted(self._keys)[:-1] if kid < limit]
        for kid in gone:
            (self._directory / f"{kid}.pem").unlink(missing_ok=True)
        self._load()
        return gone

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517), newest first."""
        self.find("")
        return {"keys": [self._keys[kid].jwk() for kid in sorted(self._keys, reverse=True)]}

    def _load(self) -> None:
        with self._lock:
            self._keys = dict(
                self._read(path) for path in self._directory.iterdir() if _FILE.fullmatch(path.name)
            )
            self._loaded_at = time.monotonic()

    @staticmethod
    def _read(path: Path) -> tuple[str, SigningKey]:
        private = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError(f"{path.name} is not an Ed25519 key")
        return path.stem, SigningKey(path.stem, private, private.public_key())
