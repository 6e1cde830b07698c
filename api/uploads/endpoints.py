"""/v1/uploads: a file in, its progress, what became of its rows, which of them were refused and why."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.audit.endpoints import Acting
from api.checks.schemas import CheckOut
from api.deps import App, IsAdmin
from api.errors import Archived, Conflict, NotFound, StoreAway, TooManyRequests, Unauthorized, responses
from api.fields import Line
from api.paging import Page, PageQuery, encode
from api.parameters import page_query
from api.quarantine.endpoints import CsvResponse
from api.uploads import report, repository, service
from api.uploads.errors import Incomplete, NoRoom
from api.uploads.receive import receive
from api.uploads.repository import UploadState
from api.uploads.schemas import FORM, UploadOut, UploadSummary

router = APIRouter(tags=["uploads"])

IdFilter = Annotated[Line | None, Query(max_length=40)]
FOUND = responses(Unauthorized, NotFound, StoreAway)


@router.post(
    "/v1/uploads",
    status_code=202,
    response_model=UploadOut,
    openapi_extra=FORM,
    responses={
        200: {"model": CheckOut, "description": "The report of a dry run."},
        **responses(Unauthorized, Conflict, Archived, NoRoom, StoreAway, TooManyRequests),
    },
)
async def upload_file(
    app: App, actor: Acting, request: Request, response: Response
) -> UploadOut | JSONResponse:
    """Send a payments file; follow it under /v1/uploads/{id}.

    202: the file is safe, its header is right, and its rows will be published. The dataset of this name is
    used, or made. The same file sent again is taken in again, and its rows are duplicates. With `dry_run`
    the answer is a report of what would become of the rows, and nothing is kept.
    """
    try:
        received = await receive(request, app.spool)
    except ClientDisconnect:
        raise Incomplete from None  # nobody reads it; the metrics have its status
    try:
        body = service.fields(received.fields)
        if body.dry_run:
            told = await run_in_threadpool(service.dry_run, app, received, body)
            await run_in_threadpool(received.incoming.discard)
            return JSONResponse(told.model_dump(mode="json"))
        taken = await run_in_threadpool(service.take_in, app, actor, received, body)
    except BaseException:
        await run_in_threadpool(received.incoming.discard)
        raise
    await run_in_threadpool(received.incoming.close)
    response.headers["Location"] = f"/v1/uploads/{taken.id}"
    return taken


@router.get("/v1/uploads", responses=responses(Unauthorized, StoreAway))
def list_uploads(
    app: App,
    _admin: IsAdmin,
    page: Annotated[PageQuery, Depends(page_query)],
    dataset_id: IdFilter = None,
    organization_id: IdFilter = None,
    state: UploadState | None = None,
) -> Page[UploadSummary]:
    """List uploads, oldest first; one alone tells what became of its rows."""
    equal = {"dataset_id": dataset_id, "organization_id": organization_id, "state": state}
    with app.db.read() as session:
        found = repository.page(session, equal, page)
        items = service.summaries(session, list(found[: page.limit]))
    more = encode(found[page.limit - 1].number) if len(found) > page.limit else None
    return Page(items=items, next=more)


@router.get("/v1/uploads/{id}", responses=FOUND)
def get_upload(app: App, _admin: IsAdmin, id: str) -> UploadOut:
    """One upload: how far it is, and what has become of its rows so far."""
    return service.shown(app, id)


@router.post("/v1/uploads/{id}/cancel", responses=responses(Unauthorized, NotFound, Conflict, StoreAway))
def cancel_upload(app: App, actor: Acting, id: str) -> UploadOut:
    """Give up an upload that is not published yet, such as one whose dataset stays paused.

    Rows that are in the topic by then stay. The file is deleted.
    """
    service.cancel(app, actor, id)
    return service.shown(app, id)


@router.get("/v1/uploads/{id}/errors.csv", response_class=CsvResponse, responses=FOUND)
def download_errors(app: App, actor: Acting, id: str) -> CsvResponse:
    """The rows that are refused now as they were sent, one line for each fault, with line, field, reason and
    detail. It holds personal data; each download is in the audit.
    """
    parts = report.csv_parts(app, actor, id)
    name = f'attachment; filename="{id}-errors.csv"'
    return CsvResponse(parts, headers={"Content-Disposition": name, "Cache-Control": "no-store"})
