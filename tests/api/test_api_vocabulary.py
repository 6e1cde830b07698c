"""One name for each meaning: the query parameters of everything that is asked for by GET."""

from collections import defaultdict
from typing import Any, Final

import pytest
from api_helpers import Api, assert_problem

from api.app import create_app
from api.parts import ApiParts

MOMENT, DAY, NUMBER, FLAG, TEXT = "moment", "day", "number", "flag", "text"

VOCABULARY: Final = {
    # whose
    "organization_id": (TEXT, "the organisation that owns it"),
    "project_id": (TEXT, "the project it belongs to"),
    "dataset_id": (TEXT, "the dataset it came by"),
    "device_id": (TEXT, "the device it belongs to"),
    "user_id": (TEXT, "who did it"),
    # what it is called
    "name": (TEXT, "its name, in full"),
    "external_id": (TEXT, "its name at its owner's"),
    "customer_external_id": (TEXT, "its customer's name at its owner's"),
    "serial_number": (TEXT, "what its maker calls it"),
    "country": (TEXT, "ISO 3166 code"),
    "record_id": (TEXT, "the ID that the sender gave a row"),
    "record_type": (TEXT, "payment or read"),
    "subject_kind": (TEXT, "kind of what was acted on"),
    "subject": (TEXT, "its name within the kind"),
    "request_id": (TEXT, "X-Request-ID of the request that did it"),
    # where it came from
    "channel": (TEXT, "s3, sheet, pull, upload, api or device"),
    "source": (TEXT, "a source, its newest version or a file name, for a person who looks for it"),
    "source_ref": (TEXT, "a source exactly, as the ledger has it"),
    "line": (NUMBER, "line in its source"),
    "topic": (TEXT, "full name of a topic"),
    "partition": (NUMBER, "partition of the topic"),
    "offset": (NUMBER, "offset in the partition"),
    # how it stands
    "state": (TEXT, "how the thing itself stands: a dataset, an upload, a source, a refused row"),
    "archived": (FLAG, "whether archived ones are meant instead"),
    "outcome": (TEXT, "accepted, duplicate, conflict or quarantined"),
    "reason": (TEXT, "reason code of a refusal"),
    "adds_up": (TEXT, "whether a receipt is storing, complete or lost"),
    "open": (FLAG, "whether somebody has to decide"),
    "decision": (TEXT, "the latest decision"),
    "field": (TEXT, "a field that differs"),
    "action": (TEXT, "what was done"),
    # when
    "from": (MOMENT, "at this moment or later"),
    "to": (MOMENT, "before this moment"),
    "from_day": (DAY, "first day of reception, UTC"),
    "to_day": (DAY, "last day of reception, UTC"),
    "as_known_at": (MOMENT, "as it was known then"),
    # how it is told
    "limit": (NUMBER, "items per page"),
    "cursor": (TEXT, "where the page begins"),
    "next": (TEXT, "`cursor` under the name that the answer has for it"),
    "explain": (FLAG, "with checks, differences and matches"),
    "profile": (TEXT, "whose form a template has"),
}
"""Name → what it is written as, and its one meaning. A new meaning gets a new name here first."""

KINDS: Final = {"date-time": MOMENT, "date": DAY, "integer": NUMBER, "boolean": FLAG, "string": TEXT}


@pytest.fixture
def asked(parts: ApiParts) -> dict[str, set[tuple[str, str]]]:
    """Name of a query parameter → what it is written as, and where."""
    document = create_app(parts).openapi()
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path, operations in document["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                found[parameter["name"]].add((_kind(parameter["schema"], document), path))
    return dict(found)


def _kind(schema: dict[str, Any], document: dict[str, Any]) -> str:
    """What a parameter is written as; null stands for leaving it out."""
    (one,) = [item for item in schema.get("anyOf", [schema]) if item.get("type") != "null"]
    if "$ref" in one:
        one = document["components"]["schemas"][one["$ref"].rpartition("/")[2]]
    return KINDS[one.get("format") or one["type"]]


def test_every_parameter_is_in_the_vocabulary(asked: dict[str, set[tuple[str, str]]]) -> None:
    """A name that means something else elsewhere, or another name for the same, is not among them."""
    assert set(asked) == set(VOCABULARY)
    for name, places in asked.items():
        assert {kind for kind, _ in places} == {VOCABULARY[name][0]}, (name, places)


def test_lists_go_on_alike(asked: dict[str, set[tuple[str, str]]]) -> None:
    """Whatever has pages is paged by the same names; a stretch of time has both ends."""
    paths = {name: {path for _, path in places} for name, places in asked.items()}
    assert paths["limit"] == paths["cursor"] == paths["next"]
    assert len(paths["limit"]) > 10
    assert paths["from"] == paths["to"]
    assert paths["from_day"] == paths["to_day"]
    assert not paths["source"] & paths["channel"]


async def test_a_parameter_that_there_is_not_is_refused(api: Api) -> None:
    """A filter that nobody reads would answer with everything; the answer names those that there are."""
    for path in ("/v1/audit?since=2026-05-16T00:00:00Z", "/v1/receipts?limit=5&source=s3"):
        body = assert_problem(await api.http.get(path), 422, "invalid")
        (fault,) = body["errors"]
        assert fault["field"] in ("query.since", "query.source")
        assert "from" in fault["detail"]
    body = assert_problem(await api.http.get("/v1/projects?+23480 99912345=1"), 422, "invalid")
    assert body["errors"][0]["field"] == "query.(unreadable name)"
    assert (await api.http.get("/v1/projects?limit=5&country=NG")).status_code == 200
    assert (await api.http.get("/healthz?probe=1")).status_code == 200
