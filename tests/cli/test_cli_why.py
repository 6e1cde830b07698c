"""`sunledger why`: the story of a row, without an API."""

from typing import Any

from sunledger.why import story

PLACE = {"source": "s3", "source_ref": "s3://b/f.csv@1", "line": 3, "dataset_id": "ds_1"}


def refused(*reasons: str, replays: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What the API answers about a row whose fields were refused for these reasons."""
    explanation = {
        "checks": [
            {"check": "readable", "verdict": "passed", "reasons": []},
            {"check": "fields_valid", "verdict": "failed", "reasons": list(reasons)},
        ],
        "first_occurrence": None, "differences": [], "case": None, "match": None, "stored": None,
        "quarantine": {"state": "open", "missing_kind": "", "details": "", "replays": replays or []},
    }  # fmt: skip
    row = {
        "record_type": "payment", "record_id": "P1", "outcome": "quarantined", **PLACE, "topic": "payments",
        "partition": 0, "offset": 1, "received_at": "t0", "stored_at": "t1", "explanation": explanation,
    }  # fmt: skip
    return {"items": [row], "next": None, "on_the_way": {"status": "no", "rows": [], "detail": "nothing"}}


def test_a_reason_is_told_with_its_sentence() -> None:
    """A line for each; one of a newer release stays a code."""
    replay = {
        "stored_at": "t2", "partition": 1, "offset": 2, "outcome": "quarantined", "reasons": ["missing:ID"]
    }  # fmt: skip
    told = story("P1", refused("bad_decimal:PAYMENT_AMOUNT", "of_tomorrow:X", replays=[replay]))
    lines = [line.strip() for line in told.splitlines()]
    assert "fields_valid   failed" in lines
    assert (
        "bad_decimal:PAYMENT_AMOUNT: not a decimal number with a point and without thousands separators"
        in lines
    )
    assert "of_tomorrow:X" in lines
    assert any(line.endswith("quarantined, missing:ID: a required field has no value") for line in lines)
