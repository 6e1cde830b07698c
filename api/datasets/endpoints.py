"""/v1/datasets and /v1/runs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.audit.endpoints import Acting
from api.datasets import repository as runs
from api.datasets import service
from api.datasets.outcomes import run_out, summary
from api.datasets.schemas import DatasetIn, DatasetOut, DatasetPatch, RunOut, RunSummary
from api.deps import App, IsAdmin
from api.errors import Archived, NotFound, StoreAway, Unauthorized, responses
from api.fields import Line
from api.models import Dataset
from api.paging import Page, PageQuery, encode
from api.parameters import page_query
from api.registry import repository
from api.registry.service import archive

router = APIRouter(tags=["datasets"])

IdFilter = Annotated[Line | None, Query(max_length=40)]
PageOf = Annotated[PageQuery, Depends(page_query)]
ANSWERS = responses(Unauthorized, NotFound, Archived, StoreAway)


@router.post("/v1/datasets", status_code=201, responses=responses(Unauthorized, Archived, StoreAway))
def create_dataset(app: App, actor: Acting, body: DatasetIn) -> DatasetOut:
    """Set up an integration; its credentials are kept encrypted and never told again."""
    service.check_address(app.parts.settings.source_hosts, body.place())
    with app.db.write() as session:
        return DatasetOut.model_validate(service.create(session, actor, app.box, body))


@router.get("/v1/datasets", responses=responses(Unauthorized, StoreAway))
def list_datasets(
    app: App,
    _admin: IsAdmin,
    page: PageOf,
    organization_id: IdFilter = None,
    state: Annotated[Line | None, Query(max_length=20)] = None,
    archived: Annotated[bool, Query(description="True lists the archived ones instead.")] = False,
) -> Page[DatasetOut]:
    """List datasets, oldest first."""
    filters = {"organization_id": organization_id, "state": state, "archived": archived}
    with app.db.read() as session:
        return repository.page(session, Dataset, filters, page, DatasetOut)


@router.get("/v1/datasets/{id}", responses=ANSWERS)
def get_dataset(app: App, _admin: IsAdmin, id: str) -> DatasetOut:
    """Get one dataset."""
    with app.db.read() as session:
        return DatasetOut.model_validate(repository.get(session, Dataset, id))


@router.patch("/v1/datasets/{id}", responses=ANSWERS)
def change_dataset(app: App, actor: Acting, id: str, body: DatasetPatch) -> DatasetOut:
    """Change the fields that are sent; `state` pauses and resumes."""
    service.check_address(app.parts.settings.source_hosts, body.place())
    with app.db.write() as session:
        return DatasetOut.model_validate(service.patch(session, actor, app.box, id, body))


@router.delete("/v1/datasets/{id}", status_code=204, responses=ANSWERS)
def archive_dataset(app: App, actor: Acting, id: str) -> None:
    """Archive a dataset; its rows stay, its bucket is no longer read."""
    with app.db.write() as session:
        archive(session, actor, Dataset, id)


@router.post("/v1/datasets/{id}/run", status_code=202, responses=ANSWERS)
def run_dataset(app: App, actor: Acting, id: str) -> RunOut:
    """Look at the source now; follow the run under /v1/runs/{id}."""
    with app.db.write() as session:
        run = service.request_run(session, actor, id)
    return run_out(app, run)


@router.get("/v1/runs", responses=responses(Unauthorized, StoreAway), tags=["runs"])
def list_runs(app: App, _admin: IsAdmin, page: PageOf, dataset_id: IdFilter = None) -> Page[RunSummary]:
    """List runs, oldest first; one run alone tells what became of its rows."""
    with app.db.read() as session:
        found = runs.runs(session, dataset_id, page)
    shown = found[: page.limit]
    more = encode(shown[-1].number) if len(found) > page.limit else None
    return Page(items=[summary(run) for run in shown], next=more)


@router.get("/v1/runs/{id}", responses=ANSWERS, tags=["runs"])
def get_run(app: App, _admin: IsAdmin, id: str) -> RunOut:
    """Get one run and what has become of its rows so far."""
    with app.db.read() as session:
        run = runs.run(session, id)
    return run_out(app, run)
