"""/healthz, /readyz and /metrics."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from api.deps import App
from api.errors import responses

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """What each dependency says."""

    ready: bool
    parts: dict[str, str] = Field(description="`ok`, or the kind of error.")


@router.get("/healthz", responses=responses())
async def healthz() -> Health:
    """Whether this process is alive; asks nobody else."""
    return Health()


@router.get("/readyz", response_model=Ready, responses={**responses(), 503: {"model": Ready}})
async def readyz(app: App) -> Any:
    """Whether SQL, Redis, Kafka and ClickHouse answer and uploads are served; 503 names what fails."""
    said = await app.readiness.ask()
    found = Ready(ready=all(word == "ok" for word in said.values()), parts=said)
    return JSONResponse(found.model_dump(), 200 if found.ready else 503)


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
