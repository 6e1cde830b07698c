"""Tokens of devices and organisations: issue, list, revoke."""

from datetime import timedelta

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api.audit.endpoints import Acting
from api.audit.service import Actor
from api.deps import App, IsAdmin, Running
from api.errors import Archived, NotFound, StoreAway, Unauthorized, responses
from api.tokens import service
from api.tokens.repository import SubjectKind
from api.tokens.schemas import TokenList, TokenOut

router = APIRouter()
ANSWERS = responses(Unauthorized, NotFound, Archived, StoreAway)
DEVICE_TAGS, ORGANIZATION_TAGS = ["device tokens"], ["organization tokens"]


@router.post("/v1/devices/{id}/tokens", status_code=201, responses=ANSWERS, tags=[*DEVICE_TAGS])
async def issue_token(app: App, actor: Acting, id: str, response: Response) -> TokenOut:
    """Issue a token with which this device, and no other, sends reads."""
    return await _issue(app, actor, "device", id, app.parts.settings.device_token_lifetime, response)


@router.delete("/v1/devices/{id}/tokens/{jti}", status_code=204, responses=ANSWERS, tags=[*DEVICE_TAGS])
async def revoke_token(app: App, actor: Acting, id: str, jti: str) -> Response:
    """Revoke a token; it stops working within one second while Redis answers."""
    return await _revoke(app, actor, "device", id, jti)


@router.post("/v1/organizations/{id}/tokens", status_code=201, responses=ANSWERS, tags=[*ORGANIZATION_TAGS])
async def issue_organization_token(app: App, actor: Acting, id: str, response: Response) -> TokenOut:
    """Issue a token with which a system of this organisation sends its payments."""
    return await _issue(
        app, actor, "organization", id, app.parts.settings.organization_token_lifetime, response
    )


@router.get("/v1/organizations/{id}/tokens", responses=ANSWERS, tags=[*ORGANIZATION_TAGS])
def list_organization_tokens(app: App, _admin: IsAdmin, id: str) -> TokenList:
    """List the organisation's tokens, oldest first, revoked and expired ones too; never their texts."""
    return service.tokens_of(app.db, "organization", id)


@router.delete(
    "/v1/organizations/{id}/tokens/{jti}", status_code=204, responses=ANSWERS, tags=[*ORGANIZATION_TAGS]
)
async def revoke_organization_token(app: App, actor: Acting, id: str, jti: str) -> Response:
    """Revoke a token; it stops working within one second while Redis answers."""
    return await _revoke(app, actor, "organization", id, jti)


async def _issue(
    app: Running, actor: Actor, kind: SubjectKind, subject_id: str, lifetime: timedelta, response: Response
) -> TokenOut:
    token, row = await run_in_threadpool(service.issue, app.db, app.signer, actor, kind, subject_id, lifetime)
    await app.tokens.tell([row])
    response.headers["Cache-Control"] = "no-store"
    return token


async def _revoke(app: Running, actor: Actor, kind: SubjectKind, subject_id: str, jti: str) -> Response:
    await app.tokens.tell(await run_in_threadpool(service.revoke, app.db, actor, kind, subject_id, jti))
    return Response(status_code=204)
