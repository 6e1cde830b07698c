"""Personal fields: pseudonyms in their place, originals sealed for correction.

A producer replaces personal values before the topic; the worker runs the same step again for rows of
direct publishers, so it leaves alone what already is a pseudonym. The seed `meters-data-model` calls
this p14n and shows plain SHA-256, the profile `sha256` here; the default `hmac` cannot be undone by
trying all telephone numbers.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.cells import is_missing, json_text, plain_text
from schemas.custom import KNOWN_KEYS, aliases_in_force, custom_fault, custom_text
from schemas.fields import BY_NAME, CUSTOM, NAMES, PERSONAL, Field
from schemas.outcomes import Code
from schemas.personal_cells import TOKEN_PREFIX, is_protected, personal_fault, token
from schemas.unknown_columns import is_personal

PseudonymProfile = Literal["hmac", "sha256"]
MIN_SECRET_BYTES: Final = 16
"""Shortest master secret, in bytes."""
_NONCE_BYTES: Final = 12
_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = 0x36
_OUTER_PAD: Final = 0x5C
_Started = tuple["hashlib._Hash", "hashlib._Hash"]
_SEAL_PREFIX: Final = "v1."
_CODE_DIGITS: Final = 32
_PHONE: Final = BY_NAME["CUSTOMER_PHONE"]
HIDDEN: Final = (token(Code.WRONG_TYPE),)
"""Stands, as a list, for an object or a list where a text or a number is expected: it is as wrong as that."""


class SealBroken(ValueError):
    """A sealed text cannot be opened: another organisation's, another key's, or damaged."""


def _check(master: bytes) -> bytes:
    """The secret itself.

    Raises:
        ValueError: it is too short.
    """
    if len(master) < MIN_SECRET_BYTES:
        raise ValueError(f"a master secret has at least {MIN_SECRET_BYTES} bytes")
    return master


class _Keys:
    """One derived key per organisation: HMAC-SHA-256 of purpose and organisation under the master."""

    def __init__(self, master: bytes, purpose: str) -> None:
        self._master = _check(master)
        self._purpose = purpose
        self._derived: dict[str, bytes] = {}

    def of(self, organization_id: str) -> bytes:
        """32 bytes, the same for the same organisation."""
        key = self._derived.get(organization_id)
        if key is None:
            message = f"{self._purpose}:v1:{organization_id}".encode()
            key = self._derived[organization_id] = hmac.digest(self._master, message, "sha256")
        return key


class Pseudonymizer:
    """Replaces the personal fields of payments by pseudonyms of 64 lower-case hex characters."""

    def __init__(self, master: bytes, profile: PseudonymProfile = "hmac") -> None:
        """`master` is the installation's secret.

        Raises:
            ValueError: the secret is shorter than 16 bytes.
        """
        self._keys = _Keys(master, "pseudonym")
        self._profile = profile
        self._started: dict[str, _Started] = {}

    def pseudonym(self, organization_id: str, text: str) -> str:
        """The pseudonym of a text: HMAC-SHA-256 under the organisation's key, or plain SHA-256."""
        if self._profile == "sha256":
            return hashlib.sha256(text.encode()).hexdigest()
        inner, outer = self._started.get(organization_id) or self._start(organization_id)
        first, second = inner.copy(), outer.copy()
        first.update(text.encode())
        second.update(first.digest())
        return second.hexdigest()

    def _start(self, organization_id: str) -> "_Started":
        """The two hashes of HMAC (RFC 2104) with an organisation's key in: done once, copied per text."""
        key = self._keys.of(organization_id).ljust(_BLOCK_BYTES, b"\0")
        started = (
            hashlib.sha256(bytes(byte ^ _INNER_PAD for byte in key)),
            hashlib.sha256(bytes(byte ^ _OUTER_PAD for byte in key)),
        )
        self._started[organization_id] = started
        return started

    def protect(self, organization_id: str, row: dict[str, Any]) -> dict[str, str]:
        """Replace the personal values of a row in place; returns the originals that were replaced.

        A good value becomes its pseudonym, a faulty one a token that names the fault, for which validation
        refuses the row as it would for the value. Missing values, pseudonyms and tokens stay. Unknown columns
        that are personal (`schemas.unknown_columns`) are replaced too, at the top and under `custom`. So is
        what nobody looks into: an object or a list in any other field, and a `custom` that is no object.
        """
        replaced: dict[str, str] = {}
        for name in PERSONAL:
            value = row.get(name)
            if value is not None:
                self._replace(organization_id, row, name, BY_NAME[name], replaced, name)
        if not row.keys() <= KNOWN_KEYS:
            self._protect_unknown(organization_id, row, replaced)
        custom = row.get(CUSTOM)
        if isinstance(custom, dict) and custom:
            self._protect_custom(organization_id, custom, replaced)
        for name, value in row.items():
            if (isinstance(value, dict | list) or name == CUSTOM) and _hides(name, value):
                replaced[name] = json_text(value) or ""
                row[name] = [*HIDDEN]
        return replaced

    def restore(
        self, organization_id: str, row: dict[str, Any], originals: Mapping[str, str]
    ) -> dict[str, str]:
        """Undo `protect` in place, for whoever corrects a row; returns the originals that stay replaced.

        These are values that were no text: put back as the text they are sealed as, they would get
        another verdict. An original whose pseudonym is not the row's (another secret) stays away too.
        """
        kept = dict(originals)
        custom = row.get(CUSTOM)
        for cells, name_of in ((row, str), (custom if isinstance(custom, dict) else {}, _custom_name)):
            for key in cells:
                original = originals.get(name_of(key))
                if original is not None and self._stands_for(organization_id, cells[key], original):
                    cells[key] = original
                    kept.pop(name_of(key), None)
        return kept

    def _stands_for(self, organization_id: str, found: Any, original: str) -> bool:
        """Whether what stands in a row was made of this original, and will be made of it again."""
        if not is_protected(found) or found == token(Code.WRONG_TYPE):
            return False
        if found == token(Code.BAD_PHONE):
            # 0.5 was refused because it is a number; the text `0.5` would pass.
            return personal_fault(_PHONE, original) is Code.BAD_PHONE
        if str(found).startswith(TOKEN_PREFIX):
            return True
        return str(found) == self.pseudonym(organization_id, plain_text(original) or "")

    def _protect_unknown(self, organization_id: str, row: dict[str, Any], replaced: dict[str, str]) -> None:
        """Replace the values of unknown columns at the top that sound or look personal.

        Another name of a field is none of them, as long as it stands for the field.
        """
        aliases = aliases_in_force(row)
        for key, value in list(row.items()):
            if key in KNOWN_KEYS:
                continue
            if key not in aliases:
                if is_personal(key, value):
                    self._replace(organization_id, row, key, None, replaced, key)
            elif aliases[key] in PERSONAL:
                self._replace(organization_id, row, key, BY_NAME[aliases[key]], replaced, key)

    def _protect_custom(self, organization_id: str, custom: dict[str, Any], replaced: dict[str, str]) -> None:
        """The same under `custom`, where names of fields are names like any other."""
        for key, value in list(custom.items()):
            if is_personal(key, value):
                self._replace(organization_id, custom, key, None, replaced, _custom_name(key))

    def _replace(
        self,
        organization_id: str,
        row: dict[str, Any],
        key: str,
        field: Field | None,
        replaced: dict[str, str],
        name: str,
    ) -> None:
        """Replace one value of a field, or of an unknown column; its original is noted under `name`."""
        value = row[key]
        if not (is_missing(value) or is_protected(value)):
            replaced[name] = value if isinstance(value, str) else json_text(value) or ""
            row[key] = self._stand_in(organization_id, field, value)

    def stand_in(self, organization_id: str, key: str, text: str, *, custom: bool) -> str | None:
        """What `protect` puts in place of one text; None when the text stays.

        Args:
            key: name of the field, or of the unknown column.
            custom: whether it stands under `custom`.
        """
        if is_missing(text) or is_protected(text):
            return None
        if custom:
            return self._stand_in(organization_id, None, text) if is_personal(key, text) else None
        return self._stand_in(organization_id, BY_NAME[key], text) if key in PERSONAL else None

    def _stand_in(self, organization_id: str, field: Field | None, value: Any) -> str:
        """A pseudonym, or the token of the value's fault; of an unknown column that of its text."""
        text = custom_text(value) if field is None else plain_text(value)
        found = custom_fault(text) if field is None else personal_fault(field, value)
        return token(found) if found else self.pseudonym(organization_id, text or "")


def _hides(name: str, value: Any) -> bool:
    """Whether a value that is no text may hold a person, where nobody looks for one."""
    return not (value is None or value == [*HIDDEN] or (name == CUSTOM and isinstance(value, dict)))


def _custom_name(key: str) -> str:
    """Name of the original of a value under `custom`: a field of that name may have one of its own."""
    return f"{CUSTOM}.{key}" if key in NAMES else key


class Sealer:
    """Encrypts originals per organisation with AES-256-GCM, for whoever corrects a quarantined row.

    It signs what is told of such a row in the open: whoever else publishes to a topic could write a name
    there, where analysts read.
    """

    def __init__(self, master: bytes) -> None:
        """`master` is a second secret of the installation, not that of the pseudonyms.

        Raises:
            ValueError: the secret is shorter than 16 bytes.
        """
        self._keys = _Keys(master, "seal")
        self._signing_keys = _Keys(master, "sign")
        self._ciphers: dict[str, AESGCM] = {}

    def _cipher(self, organization_id: str) -> AESGCM:
        cipher = self._ciphers.get(organization_id)
        if cipher is None:
            cipher = self._ciphers[organization_id] = AESGCM(self._keys.of(organization_id))
        return cipher

    def seal(self, organization_id: str, data: bytes) -> str:
        """Sealed text: `v1.` and URL-safe base64 of nonce and ciphertext, bound to the organisation."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(organization_id).encrypt(nonce, data, organization_id.encode())
        return _SEAL_PREFIX + urlsafe_b64encode(nonce + sealed).decode()

    def open(self, organization_id: str, text: str) -> bytes:
        """The sealed bytes.

        Raises:
            SealBroken: the text is not a seal of this organisation under this key.
        """
        try:
            raw = urlsafe_b64decode(text.removeprefix(_SEAL_PREFIX))
            cipher = self._cipher(organization_id)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], organization_id.encode())
        except (InvalidTag, Base64Error, ValueError) as error:
            raise SealBroken("the sealed text cannot be opened") from error

    def sign(self, organization_id: str, text: str) -> bytes:
        """A text that is no secret, behind a code that only this installation makes: `code:text`."""
        return self._code(organization_id, text.encode()) + b":" + text.encode()

    def signed(self, organization_id: str, data: bytes) -> str | None:
        """The text that was signed for the organisation; None if it was not, or not by this installation."""
        code, _, text = data.partition(b":")
        return text.decode() if hmac.compare_digest(code, self._code(organization_id, text)) else None

    def _code(self, organization_id: str, text: bytes) -> bytes:
        key = self._signing_keys.of(organization_id)
        return hmac.digest(key, text, "sha256").hex()[:_CODE_DIGITS].encode()
