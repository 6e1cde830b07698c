"""POST /v1/datasets/{id}/dry-run."""

from fastapi import APIRouter

from api.checks.schemas import DatasetCheck
from api.checks.sources import SourceAway, SourceRefuses, check_source
from api.deps import App, IsAdmin
from api.errors import Archived, NotFound, StoreAway, TooManyRequests, Unauthorized, responses
from api.models import Dataset
from api.registry import repository

router = APIRouter(tags=["datasets"])
ANSWERS = responses(Unauthorized, NotFound, Archived, SourceRefuses, SourceAway, StoreAway, TooManyRequests)


@router.post("/v1/datasets/{id}/dry-run", responses=ANSWERS)
def dry_run_dataset(app: App, _admin: IsAdmin, id: str) -> DatasetCheck:
    """Read what waits at the dataset's source and say what would become of it; nothing is sent or moved.

    The answer comes when everything is read: a file of a million rows takes minutes.
    """
    with app.db.read() as session:
        dataset = repository.get(session, Dataset, id)
    checks, complete = check_source(app, dataset)
    return DatasetCheck(dataset_id=dataset.id, complete=complete, checks=checks)
