"""GET /v1/audit."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from api.audit import service
from api.audit.schemas import AuditOut
from api.audit.service import Actor
from api.deps import App, IsAdmin
from api.errors import StoreAway, Unauthorized, responses
from api.fields import Line, Moment
from api.paging import Page, PageQuery, encode
from api.parameters import page_query

router = APIRouter(tags=["audit"])

Word = Annotated[Line | None, Query(max_length=100)]


def acting(request: Request, admin: IsAdmin) -> Actor:
    """Dependency: who is acting, and in which request."""
    return Actor(admin.user_id, request.state.request_id)


Acting = Annotated[Actor, Depends(acting)]


@router.get("/v1/audit", responses=responses(Unauthorized, StoreAway))
def read_audit(
    app: App,
    _admin: IsAdmin,
    page: Annotated[PageQuery, Depends(page_query)],
    action: Word = None,
    user_id: Word = None,
    subject_kind: Word = None,
    subject: Annotated[Line | None, Query(max_length=service.MAX_SUBJECT)] = None,
    organization_id: Word = None,
    request_id: Word = None,
    since: Annotated[
        Moment | None, Query(alias="from", description="Done at this moment or later. Left out: since ever.")
    ] = None,
    until: Annotated[
        Moment | None, Query(alias="to", description="Done before this moment. Left out: now.")
    ] = None,
) -> Page[AuditOut]:
    """Who did what, oldest first. Entries are never changed nor deleted."""
    equal = {
        "action": action,
        "user_id": user_id,
        "subject_kind": subject_kind,
        "subject": subject,
        "organization_id": organization_id,
        "request_id": request_id,
    }
    with app.db.read() as session:
        found = service.entries(session, equal, since, until, page)
    shown = [AuditOut.model_validate(entry) for entry in found[: page.limit]]
    return Page(items=shown, next=encode(shown[-1].number) if len(found) > page.limit else None)
