"""`sunledger why`: what became of a row, as a story for people."""

import json
import re
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from schemas.sentences import told
from sunledger.demo.client import ApiClient, ApiRefused
from sunledger.embedded.files import read_json
from sunledger.settings import WhySettings, load

T = TypeVar("T")
_FILE_AND_LINE = re.compile(r"(?P<source>.+):(?P<line>[0-9]{1,9})")
_MOST: Final = 20
_LINEAGE: Final = frozenset(
    (
        *("organization_id", "dataset_id", "source", "source_ref", "line", "topic", "partition", "offset"),
        *("received_at", "stored_at", "replay_of", "identity", "content_hash", "position", "supplied"),
        "currency_given",
    )
)
"""Columns of the stored row that the story tells elsewhere, or that only machines read."""


class WhyFailed(Exception):
    """The question could not be asked; the message says what is missing."""


class ServerFailed(WhyFailed):
    """The API refuses, or does not answer."""


def connect(data_dir: Path, server: str | None) -> ApiClient:
    """An API to ask, logged in: the installation's admin, or the one of the environment for a server.

    Raises:
        WhyFailed: there is no installation, or its address is none.
        ServerFailed: no answer, or no such admin.
        SettingsFaults: the environment lacks the admin of a server.
    """
    if server is not None:
        settings = load(WhySettings)
        url, email = server.rstrip("/"), settings.admin_email
        password = settings.admin_password.get_secret_value()
    else:
        endpoints = read_json(data_dir / "endpoints.json")
        if endpoints is None:
            raise WhyFailed(
                f"no installation in {data_dir}: there is no endpoints.json; `sunledger up` makes one,"
                " `--server` names another"
            )
        url, admin = endpoints["api"], endpoints["admin"]
        email, password = admin["email"], admin["password"]
    if not url.startswith(("http://", "https://")):
        raise WhyFailed("the server's address must begin with http:// or https://")
    api = ApiClient(url)
    asked(api, lambda: api.login(email, password))
    return api


def ask(api: ApiClient, what: str) -> dict[str, Any]:
    """The answer of `GET /v1/ledger` about an ID, or about FILE:LINE when no row has that ID.

    Raises:
        ServerFailed: the API does not answer, or refuses.
    """
    found = _ledger(api, record_id=what)
    named = _FILE_AND_LINE.fullmatch(what)
    if is_known(found) or named is None:
        return found
    return _ledger(api, source=named["source"], line=named["line"])


def is_known(answer: dict[str, Any]) -> bool:
    """Whether anything is known of what was asked for: judged, or received and waiting."""
    return bool(answer["items"] or answer["on_the_way"]["rows"])


def _ledger(api: ApiClient, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = asked(api, lambda: api.get(f"/v1/ledger?{urlencode({**query, 'limit': _MOST})}"))
    return found


def asked(api: ApiClient, call: Callable[[], T]) -> T:
    """What a call to an API gives.

    Raises:
        ServerFailed: it refuses, or does not answer; then the message has its address.
    """
    try:
        return call()
    except ApiRefused as exc:
        raise ServerFailed(f"the API refuses: {exc}") from None
    except (OSError, HTTPException, ValueError) as exc:  # the last: an answer that is no JSON
        reason = getattr(exc, "reason", exc)
        told = getattr(reason, "strerror", None) or type(reason).__name__
        raise ServerFailed(f"the API at {api.address} does not answer ({told})") from None


def story(what: str, answer: dict[str, Any]) -> str:
    """The answer in words, one paragraph a row; ends with a line end."""
    paragraphs = [_paragraph(item) for item in answer["items"]]
    paragraphs += [_waiting(row) for row in answer["on_the_way"]["rows"]]
    if answer["next"]:
        paragraphs.append([f"… and more than these {_MOST} rows; GET /v1/ledger pages through them"])
    on_the_way = _line("on the way", answer["on_the_way"]["detail"])
    if not paragraphs:
        paragraphs.append([f"nothing is known of {what}", on_the_way])
    elif answer["on_the_way"]["status"] in ("perhaps", "unknown"):
        paragraphs.append([on_the_way])
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _paragraph(item: dict[str, Any]) -> list[str]:
    why = item["explanation"]
    name = item["record_id"] or "(no ID could be read)"
    return [
        f"{item['record_type']} {name}: {item['outcome']}",
        _line("received", f"{item['received_at']} from {_origin(item)}"),
        _line("place", f"topic {item['topic']}, partition {item['partition']}, offset {item['offset']}"),
        _line("judged", item["stored_at"]),
        *_checks(why["checks"]),
        *_history(why),
        *_match(why["match"]),
        *_refusal(why["quarantine"]),
        *_stored(why),
    ]


def _checks(checks: list[dict[str, Any]]) -> Iterator[str]:
    """Each check with its verdict; what failed in words, a line for each reason."""
    for check in checks:
        yield _line(check["check"], check["verdict"])
        for stored_reason in check["reasons"]:
            yield _line("", reason_in_words(stored_reason))


def reason_in_words(stored_reason: str) -> str:
    """A reason code with its sentence; one that this release does not know stays a code."""
    detail = told(stored_reason).detail
    return f"{stored_reason}: {detail}" if detail else stored_reason


def _history(why: dict[str, Any]) -> Iterator[str]:
    """What is known of the same record from before."""
    if (first := why["first_occurrence"]) is not None:
        again = "; this is that line, delivered again" if why["same_line"] else ""
        before = f"{first['outcome']}, received {first['received_at']} from {_origin(first)}"
        yield _line("came first", before + again)
    for difference in why["differences"]:
        before, now = (difference[side] or "(not supplied)" for side in ("first", "this"))
        yield _line("differs", f"{difference['field']}: {before} → {now}")
    if (case := why["case"]) is not None:
        state = "somebody has to decide" if case["open"] else "decided"
        latest = f"; latest: {case['decision']} by {case['decided_by']}" if case["decision"] else ""
        yield _line("versions", f"{case['versions']}, {state}{latest}")


def _match(match: dict[str, Any] | None) -> Iterator[str]:
    if match is None:
        return
    if match["status"] == "matched":
        place = f"connection {match['connection_id']} of project {match['project_id']}"
        yield _line("match", f"by {match['matched_by']}: {place}")
    else:
        yield _line("match", match["status"])
    for one in match["candidates"]:
        yield _line("candidate", f"connection {one['connection_id']} of project {one['project_id']}")
    for hint in match["hints"]:
        yield _line(
            "near miss", f"connection {hint['connection_id']} has external id {hint['external_id']!r}"
        )
    if match["counted"] is not None:
        yield _line("evidence", "counted" if match["counted"] else "not counted")


def _refusal(refusal: dict[str, Any] | None) -> Iterator[str]:
    if refusal is None:
        return
    waits = (
        f", waits for {refusal['missing_kind']} {refusal['missing_id']}" if refusal["missing_kind"] else ""
    )
    yield _line("quarantine", f"{refusal['state']}{waits}")
    if refusal["details"]:
        yield _line("details", refusal["details"])
    for replay in refusal["replays"]:
        outcome = ", ".join([replay["outcome"], *map(reason_in_words, replay["reasons"])])
        place = f"partition {replay['partition']}, offset {replay['offset']}"
        yield _line("replayed", f"{replay['stored_at']} at {place}: {outcome}")


def _stored(why: dict[str, Any]) -> Iterator[str]:
    stored = why["stored"]
    if stored is None:
        if why["case"] is not None:
            yield _line("counts", "no: another version is in force")
        return
    yield _line("counts", "yes, as analysts see it:")
    for name, value in stored.items():
        if name not in _LINEAGE and value not in ("", None, [], {}):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"    {name:<30} {shown}"


def _waiting(row: dict[str, Any]) -> list[str]:
    waits = f"partition {row['waits_in_partition']} at offset {row['waits_at_offset']}"
    return [
        "still on its way: received and waiting to be judged",
        _line("received", f"{row['received_at']} from {_origin(row)}"),
        _line("place", f"topic {row['topic']}, partition {row['partition']}, offset {row['offset']}"),
        _line("waits in", waits),
    ]


def _origin(row: dict[str, Any]) -> str:
    parts = [row["source"]]
    if row["source_ref"]:
        parts.append(row["source_ref"])
    if row["line"]:
        parts.append(f"line {row['line']}")
    if row["dataset_id"]:
        parts.append(f"dataset {row['dataset_id']}")
    return ", ".join(parts)


def _line(name: str, text: str) -> str:
    return f"  {name:<14} {text}"
