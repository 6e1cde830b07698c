"""What endpoints ask for: the running parts, and who is calling."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.auth.service import Admin, current_admin
from api.db import Database
from api.errors import Unauthorized
from api.jwts import TokenSigner
from api.keys import KeyRing
from api.ops.readiness import Readiness
from api.parts import ApiParts
from api.payments.service import PaymentIntake
from api.quarantine.desk import Desk
from api.quarantine.settling import Settler
from api.rates import RateLimiter
from api.reads.repository import Devices
from api.redis_client import RedisGate
from api.sealing import CredentialBox
from api.store import Store
from api.tokens.keeper import TokenKeeper
from api.tokens.state import TokenState
from api.uploads.spool import Spool


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of one running application."""

    parts: ApiParts
    db: Database
    gate: RedisGate
    ring: KeyRing
    signer: TokenSigner
    tokens: TokenState
    keeper: TokenKeeper
    rates: RateLimiter
    devices: Devices
    payments: PaymentIntake
    box: CredentialBox
    store: Store
    desk: Desk
    settler: Settler
    spool: Spool
    readiness: Readiness


_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def running(request: Request) -> Running:
    """The parts of the application that handles this request."""
    found: Running = request.app.state.running
    return found


App = Annotated[Running, Depends(running)]


def bearer_token(credentials: Bearer) -> str:
    """The text of the bearer token.

    Raises:
        Unauthorized: there is none.
    """
    if credentials is None:
        raise Unauthorized
    return credentials.credentials


BearerToken = Annotated[str, Depends(bearer_token)]


def admin(app: App, token: BearerToken) -> Admin:
    """The admin who is calling (runs in a worker thread: it asks SQL whether he is still active)."""
    return current_admin(app.db, app.signer, token)


IsAdmin = Annotated[Admin, Depends(admin)]
