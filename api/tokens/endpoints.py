"""POST /v1/devices/{id}/tokens and DELETE /v1/devices/{id}/tokens/{jti}."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api.deps import App, IsAdmin
from api.errors import Archived, NotFound, StoreAway, Unauthorized, responses
from api.tokens import service
from api.tokens.schemas import DeviceTokenOut

router = APIRouter(tags=["device tokens"])
ANSWERS = responses(Unauthorized, NotFound, Archived, StoreAway)


@router.post("/v1/devices/{id}/tokens", status_code=201, responses=ANSWERS)
async def issue_token(app: App, _admin: IsAdmin, id: str, response: Response) -> DeviceTokenOut:
    """Issue a token with which this device, and no other, sends reads."""
    lifetime = app.parts.settings.device_token_lifetime
    token, row = await run_in_threadpool(service.issue, app.db, app.signer, id, lifetime)
    await app.tokens.tell([row])
    response.headers["Cache-Control"] = "no-store"
    return token


@router.delete("/v1/devices/{id}/tokens/{jti}", status_code=204, responses=ANSWERS)
async def revoke_token(app: App, _admin: IsAdmin, id: str, jti: str) -> Response:
    """Revoke a token; it stops working within one second while Redis answers."""
    await app.tokens.tell(await run_in_threadpool(service.revoke, app.db, id, jti))
    return Response(status_code=204)
