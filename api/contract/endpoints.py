"""/schemas/: what an integrator needs to know to publish, without logging in."""

from functools import lru_cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Response

from api.contract.documents import JSON_TYPE, YAML_TYPE, Documents
from api.deps import App
from api.errors import NotFound, responses

router = APIRouter(prefix="/schemas", tags=["schemas"])

_documents = lru_cache(maxsize=8)(Documents)
"""By topic prefix: a process has one."""
_CACHE: Final = "public, max-age=300"
IfNoneMatch = Annotated[str, Header(description="ETags that the client has.")]


def _answers(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"content": {media_type: {"schema": {}}}},
        304: {"description": "The client has it."},
        **responses(NotFound),
    }


JSON_ANSWERS, YAML_ANSWERS = _answers(JSON_TYPE), _answers(YAML_TYPE)


@router.get("/", responses=JSON_ANSWERS, response_class=Response)
def get_index(app: App, if_none_match: IfNoneMatch = "") -> Response:
    """List the documents."""
    return _answer(app, "", if_none_match)


@router.get("/asyncapi.json", responses=JSON_ANSWERS, response_class=Response)
def get_asyncapi(app: App, if_none_match: IfNoneMatch = "") -> Response:
    """Get the AsyncAPI 3.0 document of the topics."""
    return _answer(app, "asyncapi.json", if_none_match)


@router.get("/asyncapi.yaml", responses=YAML_ANSWERS, response_class=Response)
def get_asyncapi_yaml(app: App, if_none_match: IfNoneMatch = "") -> Response:
    """Get the AsyncAPI 3.0 document of the topics as YAML."""
    return _answer(app, "asyncapi.yaml", if_none_match)


@router.get("/payments/{profile}.json", responses=JSON_ANSWERS, response_class=Response)
def get_payment_schema(app: App, profile: str, if_none_match: IfNoneMatch = "") -> Response:
    """Get the JSON Schema of a payment under a profile: s3, api, sheet, upload or pull."""
    return _answer(app, f"payments/{profile}.json", if_none_match)


@router.get("/{topic}.json", responses=JSON_ANSWERS, response_class=Response)
def get_topic_schema(app: App, topic: str, if_none_match: IfNoneMatch = "") -> Response:
    """Get the JSON Schema of a topic's records; the topic is named without the installation's prefix."""
    return _answer(app, f"{topic}.json", if_none_match)


def _answer(app: App, path: str, if_none_match: str) -> Response:
    """The document, or 304 when one of the client's ETags is its own (weak comparison, RFC 9110)."""
    document = _documents(app.parts.settings.topic_prefix).find(path)
    if document is None:
        raise NotFound
    headers = {"ETag": document.etag, "Cache-Control": _CACHE}
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    if document.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(document.body, media_type=document.media_type, headers=headers)
