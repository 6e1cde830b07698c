"""GET /docs and the files of its page. They are for everybody, as the description that they show is."""

from functools import lru_cache
from hashlib import sha256
from typing import Final

from fastapi import APIRouter, Header, Response
from fastapi.responses import HTMLResponse

from api.errors import NotFound
from api.reference.page import HEADERS, PAGE, assets

router = APIRouter(include_in_schema=False)

_assets = lru_cache(maxsize=1)(assets)
_CACHE: Final = {**HEADERS, "Cache-Control": "no-cache"}
"""Asked for again each time, by its ETag: after an update nobody gets an old script with a new page."""


@router.get("/docs")
def get_page() -> HTMLResponse:
    """The API described for people, to be tried out with one's own token."""
    return HTMLResponse(PAGE, headers=_CACHE)


@router.get("/docs/{name}")
def get_asset(name: str, if_none_match: str = Header("")) -> Response:
    """A file of the page."""
    asset = _assets().get(name)
    if asset is None:
        raise NotFound
    etag = f'"{sha256(asset.body).hexdigest()[:32]}"'
    headers = {**_CACHE, "ETag": etag}
    if etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
