"""Keys of uploaded files at rest: each is sealed with the key for credentials and bound to its upload."""

from api.sealing import CannotOpen, CredentialBox
from api.uploads.errors import SpoolLost


def seal_key(box: CredentialBox, upload_id: str, key: bytes) -> str:
    """The key of an upload's file as SQL keeps it."""
    return box.seal(upload_id, {"key": key.hex()})


def open_key(box: CredentialBox, upload_id: str, sealed: str) -> bytes:
    """The key again.

    Raises:
        SpoolLost: it was sealed under another key for credentials, or is forgotten.
    """
    try:
        return bytes.fromhex(box.open(upload_id, sealed)["key"])
    except CannotOpen:
        raise SpoolLost("the key of the file cannot be opened") from None
