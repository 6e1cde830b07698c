"""POST /meter-reads/{external_id}: reads of one device, with its own token."""

import time
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import App, BearerToken, Running
from api.errors import (
    BadToken,
    BrokerAway,
    TooManyRequests,
    Unauthorized,
    WrongDevice,
    responses,
)
from api.jwts import DEVICES
from api.metrics import PUBLISH_FAILURES, ROWS_IN
from api.reads import service
from api.reads.repository import KnownDevice
from api.reads.schemas import ReadsOut
from api.receipts.names import moment_of, new_receipt
from producers.publisher import PublishError
from schemas.topics import READS

log = structlog.get_logger(__name__)
router = APIRouter(tags=["reads"])

ANSWERS = responses(Unauthorized, WrongDevice, TooManyRequests, BrokerAway)
IN_THREAD: Final = 200
"""From this many reads on they are judged beside the event loop."""
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/MeterReadsRequest"}}},
    }
}


@router.post("/meter-reads/{external_id:path}", status_code=202, responses=ANSWERS, openapi_extra=_BODY)
async def post_reads(
    app: App, token: BearerToken, external_id: str, request: Request, response: Response
) -> ReadsOut:
    """Send reads. 202 means the broker has them all; bad ones are named and recorded as quarantined.

    Any request may be sent again: known reads count once.
    """
    deadline = time.monotonic() + app.parts.settings.publish_timeout_s
    device = await _device(app, token, external_id)
    window = await app.rates.hit("reads", device.id)
    body = service.parse(await request.body(), app.parts.settings.max_reads)
    receipt = new_receipt(len(body.reads))
    topic = READS.full_name(app.parts.settings.topic_prefix)
    given = (body, device, topic, receipt, moment_of(receipt))
    if len(body.reads) < IN_THREAD:
        prepared = service.prepare(*given)
    else:
        prepared = await run_in_threadpool(service.prepare, *given)
    await _publish(app, prepared, deadline)
    accepted = len(prepared.records) - len(prepared.rejected)
    ROWS_IN.labels("accepted").inc(accepted)
    ROWS_IN.labels("rejected").inc(len(prepared.rejected))
    response.headers.update(window.headers())
    return ReadsOut(accepted=accepted, rejected=prepared.rejected, receipt=receipt)


async def _device(app: Running, token: str, external_id: str) -> KnownDevice:
    """The token's device, which the path must name.

    Raises:
        BadToken: forged, expired, revoked, or of a device that is gone.
        WrongDevice: the path names another one.
    """
    claims = app.signer.verify(DEVICES, token)
    await app.tokens.check(claims)
    device = app.devices.cached(claims.subject)
    if device is None:
        device = await run_in_threadpool(app.devices.find, claims.subject)
    if device is None or device.archived:
        raise BadToken
    if external_id.strip() != device.external_id:
        raise WrongDevice
    return device


async def _publish(app: Running, prepared: service.Prepared, deadline: float) -> None:
    """Hand over to the broker and wait for its acknowledgement of every record.

    Raises:
        BrokerAway: not all were acknowledged before the deadline; some may have been stored.
    """
    left = max(deadline - time.monotonic(), 0.1)
    try:
        await app.parts.publisher.publish_all(prepared.records, left)
    except PublishError as error:
        PUBLISH_FAILURES.inc()
        log.warning("reads_not_acknowledged", reads=len(prepared.records), error=type(error).__name__)
        raise BrokerAway from None
