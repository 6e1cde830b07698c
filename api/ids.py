"""Object ids: a prefix that says what it is, then 26 lower-case characters that sort by time."""

import re
import secrets
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(r"[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)

ORGANIZATION: Final = "org"
PROJECT: Final = "prj"
DEVICE: Final = "dev"
CONNECTION: Final = "con"
DATASET: Final = "ds"
RUN: Final = "run"
TOKEN: Final = "tok"  # noqa: S105 - the prefix of ids, no secret
USER: Final = "usr"
RECEIPT: Final = "rcp"
DECISION: Final = "dec"


def new_id(prefix: str) -> str:
    """A new id: `prefix`, underscore, then 48 bits of Unix milliseconds and 80 random ones in base 32."""
    value = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return f"{prefix}_{''.join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))}"


def is_id(text: str) -> bool:
    """Whether a text has the form of an id; anything else need not bother the database."""
    return _ID.fullmatch(text) is not None
