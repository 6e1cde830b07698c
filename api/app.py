"""Puts the API together: the parts, the middleware, the areas, the error answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from clickhouse_connect.driver.client import Client
from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from api import problems
from api.audit import endpoints as audit
from api.auth import endpoints as auth
from api.auth.service import ensure_admin
from api.checks import endpoints as checks
from api.conflicts import endpoints as conflicts
from api.contract import endpoints as contract
from api.datasets import endpoints as datasets
from api.db import Database
from api.deps import Running
from api.errors import Problem
from api.jwts import TokenSigner
from api.keys import KeyRing
from api.ledger import endpoints as ledger
from api.middleware import BodyLimit, RequestContext
from api.ops import endpoints as ops
from api.ops.readiness import Readiness
from api.parameters import refuse_unknown_parameters
from api.parts import ApiParts
from api.payments import endpoints as payments
from api.payments.schemas import PaymentsRequest
from api.payments.service import PaymentIntake
from api.quarantine import endpoints as quarantine
from api.quarantine.assembly import make_desk
from api.quarantine.claims import Claims
from api.quarantine.settling import Settler
from api.rates import RateLimiter
from api.reads import endpoints as reads
from api.reads.repository import Devices
from api.receipts import endpoints as receipts
from api.redis_client import RedisGate
from api.reference import endpoints as reference
from api.registry import endpoints as registry
from api.repeated import refuse_repeated_members
from api.sealing import CredentialBox
from api.store import Store
from api.templates import endpoints as templates
from api.tokens import endpoints as tokens
from api.tokens.keeper import TokenKeeper
from api.tokens.state import TokenState
from api.uploads import endpoints as uploads
from api.uploads.assembly import UploadThread, make_spool
from schemas.read_requests import MeterReadsRequest
from sinks import queries


class NotMigrated(Exception):
    """The ClickHouse database lacks tables that this program needs."""


def create_app(parts: ApiParts) -> FastAPI:
    """The application over these parts. Connections are made when it starts, and closed when it stops."""
    app = FastAPI(
        title="Sunledger",
        summary="Payments, device reads and the registry they are matched with.",
        lifespan=_lifespan,
        dependencies=[Depends(refuse_unknown_parameters), Depends(refuse_repeated_members)],
        redirect_slashes=False,
        docs_url=None,  # it would load files from other servers; api/reference has its own
        redoc_url=None,
    )
    app.state.parts = parts
    app.add_middleware(
        BodyLimit,
        max_bytes=parts.settings.max_body_bytes,
        max_upload_bytes=parts.settings.max_upload_bytes,
    )
    app.add_middleware(RequestContext)
    problems.install(app)
    for area in (
        auth,
        registry,
        tokens,
        datasets,
        checks,
        reads,
        payments,
        uploads,
        receipts,
        ledger,
        conflicts,
        quarantine,
        audit,
        contract,
        templates,
        reference,
        ops,
    ):
        app.include_router(area.router)
    _describe(app)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: ApiParts = app.state.parts
    settings = parts.settings
    found = _assemble(parts)
    await run_in_threadpool(ensure_admin, found.db, settings.admin_email, settings.admin_password)
    app.state.running = found
    keeper = asyncio.create_task(found.keeper.run(), name="token-keeper")
    settler = asyncio.create_task(found.settler.run(), name="claim-settler")
    files = UploadThread(parts, found.db, found.box, found.spool)
    if files.serves:
        found.readiness.add("uploads", files.check)
    files.start()
    try:
        yield
    finally:
        found.keeper.stop()
        found.settler.stop()
        await keeper
        await settler
        await run_in_threadpool(files.stop)
        await found.gate.close()
        found.store.close()
        found.db.close()


def _assemble(parts: ApiParts) -> Running:
    settings = parts.settings
    db, gate, ring = Database(parts.sql_url), RedisGate(parts.redis_url), KeyRing(settings.keys_directory)
    state, store = TokenState(db, gate), Store(parts.clickhouse)
    settler = Settler(Claims(db), store, parts.tails)
    limits = {
        "reads": settings.reads_limit,
        "payments": settings.payments_limit,
        "receipts": settings.payments_limit,
        "login": settings.login_limit,
        "login_address": settings.login_address_limit,
    }
    return Running(
        parts=parts,
        db=db,
        gate=gate,
        ring=ring,
        signer=TokenSigner(ring, settings.issuer),
        tokens=state,
        keeper=TokenKeeper(db, gate, state),
        rates=RateLimiter(gate, limits),
        devices=Devices(db),
        payments=PaymentIntake(parts, db),
        box=CredentialBox(settings.credential_key, *settings.credential_keys_before),
        store=store,
        desk=make_desk(parts, db, store, settler),
        settler=settler,
        spool=make_spool(parts),
        readiness=Readiness(
            {
                "sql": lambda: run_in_threadpool(db.ping),
                "redis": gate.ping,
                "kafka": lambda: run_in_threadpool(parts.broker_ready),
                "clickhouse": lambda: run_in_threadpool(store.ask, _clickhouse_ready),
            }
        ),
    )


def _clickhouse_ready(client: Client) -> None:
    """Raises when the store does not answer or lacks tables."""
    if queries.pending_migrations(client, str(client.database)):
        raise NotMigrated


def _describe(app: FastAPI) -> None:
    """Add the models that no signature names to OpenAPI, and take out FastAPI's own error models."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = made()["components"]["schemas"]
            for model in (Problem, MeterReadsRequest, PaymentsRequest):
                found = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(found.pop("$defs", {}))
                schemas[model.__name__] = found
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
        document: dict[str, Any] = app.openapi_schema or {}
        return document

    app.openapi = document  # type: ignore[method-assign]
