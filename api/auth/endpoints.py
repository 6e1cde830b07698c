"""POST /v1/auth/login, and the public keys."""

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.auth.repository import normal_email
from api.auth.schemas import LoginIn, LoginOut
from api.auth.service import login
from api.deps import App
from api.errors import BadCredentials, StoreAway, TooManyRequests, responses

router = APIRouter(tags=["auth"])


@router.post("/v1/auth/login", responses=responses(BadCredentials, TooManyRequests, StoreAway))
async def log_in(app: App, body: LoginIn, request: Request, response: Response) -> LoginOut:
    """Exchange e-mail and password for a bearer token."""
    address = request.client.host if request.client else "unknown"
    await app.rates.hit("login_address", address)
    window = await app.rates.hit("login", normal_email(body.email))
    lifetime = app.parts.settings.user_token_lifetime
    token = await run_in_threadpool(
        login, app.db, app.signer, lifetime, body.email, body.password.get_secret_value()
    )
    response.headers.update({**window.headers(), "Cache-Control": "no-store"})
    return LoginOut(access_token=token, expires_in=int(lifetime.total_seconds()))


@router.get("/.well-known/jwks.json", responses=responses())
def key_set(app: App) -> dict[str, Any]:
    """The public keys (RFC 7517) with which our tokens are signed, for gateways that check them."""
    return app.ring.jwks()
