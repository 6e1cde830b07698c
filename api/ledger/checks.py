"""The checks that a received row goes through, in order, and how each ended: told from its outcome."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel

from schemas.outcomes import Code, Outcome, reason

Verdict = Literal["passed", "failed", "known", "differs", "not_reached"]


class Check(BaseModel):
    """One check. `known` and `differs` are answers, not faults: the ID, or the content, was there before."""

    check: str
    verdict: Verdict
    reasons: list[str] = []


READABLE: Final = "readable"
SENDER_KNOWN: Final = "sender_known"
FIELDS_VALID: Final = "fields_valid"
ID_NEW: Final = "id_new"
CONTENT_NEW: Final = "content_new"
STORED: Final = "stored"
CHECKS: Final = (READABLE, SENDER_KNOWN, FIELDS_VALID, ID_NEW, CONTENT_NEW, STORED)

_CHECK_OF: Final = {
    **dict.fromkeys(
        (
            Code.NOT_JSON.value,
            Code.NOT_OBJECT.value,
            Code.REPEATED_MEMBER.value,
            Code.TOO_LARGE.value,
            Code.UNREADABLE_ROW.value,
            Code.BAD_HEADER.value,
            Code.KILLED_WORKER.value,
        ),
        READABLE,
    ),
    **dict.fromkeys(
        (Code.UNKNOWN_ORGANIZATION.value, Code.UNKNOWN_DATASET.value, Code.UNKNOWN_DEVICE.value), SENDER_KNOWN
    ),
    reason(Code.MISSING, "organization_id"): SENDER_KNOWN,
    Code.STORE_REFUSED.value: STORED,
}

_ANSWERS: Final[dict[Outcome, tuple[Verdict, Verdict, Verdict]]] = {
    Outcome.ACCEPTED: ("passed", "passed", "passed"),
    Outcome.DUPLICATE: ("known", "known", "not_reached"),
    Outcome.CONFLICT: ("known", "differs", "passed"),
}
"""Verdicts of `id_new`, `content_new` and `stored`."""


def check_of(stored_reason: str) -> str:
    """The check that a reason (`code` or `code:FIELD`) belongs to; faults of fields are the rest."""
    code = stored_reason.partition(":")[0]
    return _CHECK_OF.get(stored_reason) or _CHECK_OF.get(code, FIELDS_VALID)


def checks(outcome: str, reasons: Sequence[str]) -> list[Check]:
    """The verdict of every check on a row with this outcome and these reasons."""
    if outcome != Outcome.QUARANTINED:
        verdicts: list[Verdict] = ["passed", "passed", "passed", *_ANSWERS[Outcome(outcome)]]
        return [Check(check=name, verdict=verdict) for name, verdict in zip(CHECKS, verdicts, strict=True)]
    failed = {name: [text for text in reasons if check_of(text) == name] for name in CHECKS}
    told: list[Check] = []
    reached = True
    for name in CHECKS:
        if failed[name]:
            told.append(Check(check=name, verdict="failed", reasons=failed[name]))
            reached = False
        else:
            told.append(Check(check=name, verdict="passed" if reached else "not_reached"))
    return told
