"""POST /v1/payments: payments of one organisation, with its own token."""

import time
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import App, BearerToken, Running
from api.errors import (
    Archived,
    BrokerAway,
    NotFound,
    TooManyRequests,
    Unauthorized,
    responses,
)
from api.jwts import ORGANIZATIONS
from api.metrics import PAYMENTS_IN, PUBLISH_FAILURES
from api.payments.schemas import PaymentsOut
from api.payments.service import Taken
from producers.publisher import PublishError

log = structlog.get_logger(__name__)
router = APIRouter(tags=["payments"])

ANSWERS = responses(Unauthorized, NotFound, Archived, TooManyRequests, BrokerAway)
_LEAST_S: Final = 1.0
"""What the broker gets even when a large request took long to judge."""
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PaymentsRequest"}}},
    }
}


@router.post("/v1/payments", status_code=202, responses=ANSWERS, openapi_extra=_BODY)
async def post_payments(app: App, token: BearerToken, request: Request, response: Response) -> PaymentsOut:
    """Send payments. 202 means the broker has them all; bad ones are named and recorded as quarantined.

    Any request may be sent again: a payment whose ID and content are known counts once.
    """
    deadline = time.monotonic() + app.parts.settings.publish_timeout_s
    claims = app.signer.verify(ORGANIZATIONS, token)
    await app.tokens.check(claims)
    window = await app.rates.hit("payments", claims.subject)
    taken = await _published(app, claims.subject, await request.body(), deadline)
    await run_in_threadpool(app.payments.done, taken)
    accepted = len(taken.records) - len(taken.rejected)
    PAYMENTS_IN.labels("accepted").inc(accepted)
    PAYMENTS_IN.labels("rejected").inc(len(taken.rejected))
    response.headers.update(window.headers())
    return PaymentsOut(accepted=accepted, rejected=taken.rejected, receipt=taken.receipt.id)


async def _published(app: Running, organization_id: str, body: bytes, deadline: float) -> Taken:
    """Take the request up, hand its records over and wait for the acknowledgement of every one.

    Raises:
        BrokerAway: not all were acknowledged before the deadline; some may have been stored.
    """
    try:
        taken = await run_in_threadpool(app.payments.take, organization_id, body)
        left = max(deadline - time.monotonic(), _LEAST_S)
        await app.parts.publisher.publish_all(taken.records, left)
    except PublishError as error:
        PUBLISH_FAILURES.inc()
        log.warning("payments_not_acknowledged", error=type(error).__name__)
        raise BrokerAway from None
    return taken
