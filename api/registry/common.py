"""The endpoints that every kind of registry object has: get one, change, archive."""

from enum import Enum
from typing import Any

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api.audit.endpoints import Acting
from api.audit.service import Actor
from api.deps import App, IsAdmin, Running
from api.errors import AlreadyExists, NotFound, StoreAway, Unauthorized, responses
from api.models import Registered
from api.registry import repository, service
from api.registry.schemas import Output, Patch
from api.tokens.repository import TokenRow

ANSWERS = responses(Unauthorized, NotFound, AlreadyExists, StoreAway)


def add_common(
    router: APIRouter, path: str, kind: type[Registered], output: type[Output], patch: type[Patch]
) -> None:
    """Add GET, PATCH and DELETE of one object under `path`."""
    tags: list[str | Enum] = [kind.__tablename__]
    name = path.removeprefix("/v1/").rstrip("s")

    def get_one(app: App, _admin: IsAdmin, id: str) -> Any:
        with app.db.read() as session:
            return repository.get(session, kind, id)

    def change(app: App, actor: Acting, id: str, body: Any) -> Any:
        with app.db.write() as session:
            return service.patch(session, actor, kind, id, body)

    async def archive(app: App, actor: Acting, id: str) -> Response:
        if revoked := await run_in_threadpool(_archive, app, actor, kind, id):
            await app.tokens.tell(revoked)
        return Response(status_code=204)

    change.__annotations__["body"] = patch
    one = f"{path}/{{id}}"
    shared: dict[str, Any] = {"tags": tags, "responses": ANSWERS}
    router.add_api_route(one, get_one, response_model=output, summary=f"Get one {name}", **shared)
    router.add_api_route(
        one, change, methods=["PATCH"], response_model=output, summary=f"Change a {name}",
        description="Changes the fields that are sent. `archived: false` restores.", **shared,
    )  # fmt: skip
    router.add_api_route(
        one, archive, methods=["DELETE"], status_code=204, summary=f"Archive a {name}",
        description="Nothing is deleted: the object is kept, marked, and may be restored.", **shared,
    )  # fmt: skip


def _archive(app: Running, actor: Actor, kind: type[Registered], object_id: str) -> list[TokenRow]:
    with app.db.write() as session:
        return service.archive(session, actor, kind, object_id)
