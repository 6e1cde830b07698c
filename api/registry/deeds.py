"""What the audit says of changes to the registry: who made, changed, paused or archived what.

Names of fields, never their values: ids of customers and keys of buckets have no place there. A state and its
reason are told in full.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from api.audit.service import Deed
from api.models import Organization, Registered

_STATE: Final = frozenset({"state", "state_detail"})
_STATES: Final = {"paused": "pause", "active": "resume"}


def made(item: Registered) -> Deed:
    """A new object."""
    return _deed(item, "create", {})


def changed(item: Registered, names: Iterable[str], reason: str = "") -> list[Deed]:
    """What was done by changing these fields, which have their new values by now.

    Args:
        reason: what the person, or the brake, said about it; no personal data.
    """
    rest = set(names)
    why = {"reason": reason} if reason else {}
    deeds = []
    if "archived" in rest:
        deeds.append(_deed(item, "archive" if item.archived else "restore", why))
    if rest & _STATE:
        state = getattr(item, "state")  # noqa: B009 - of datasets alone, which alone have the fields
        deeds.append(_deed(item, _STATES[state], why))
    if rest := rest - _STATE - {"archived"}:
        deeds.append(_deed(item, "change", {"fields": sorted(rest), **why}))
    return deeds


def owner_of(item: Registered) -> str:
    """Id of the organisation that an object belongs to."""
    return item.id if isinstance(item, Organization) else str(getattr(item, "organization_id", ""))


def _deed(item: Registered, verb: str, details: Mapping[str, Any]) -> Deed:
    kind = item.__tablename__.removesuffix("s")
    return Deed(f"{kind}.{verb}", kind, item.id, owner_of(item), details)
