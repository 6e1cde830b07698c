"""What uploads are about: a received file is checked and recorded, shown with its counts, cancelled."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import ids
from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.checks.schemas import CheckOut
from api.checks.service import check_rows
from api.datasets.outcomes import run_out
from api.datasets.schemas import RunOut
from api.deps import Running
from api.errors import Conflict, Invalid
from api.metrics import UPLOADS
from api.models import Dataset
from api.problems import field_problems
from api.tables import Run, Upload
from api.uploads import repository
from api.uploads.form import FILE
from api.uploads.keys import seal_key
from api.uploads.names import check_expected
from api.uploads.receive import Received
from api.uploads.repository import UploadState, source_ref
from api.uploads.schemas import UploadIn, UploadOut, UploadSummary
from api.uploads.spool import Spool
from api.uploads.table import opened
from api.uploads.targets import SOURCE, find, find_or_make, imagined, organization_of
from producers.contracts import RunState
from producers.errors import FileRefused
from producers.header import Header
from producers.table_rows import Remark, Row
from sinks.receipts import OUTCOMES

KIND = "upload"
"""What an upload is called in the audit."""
_COUNTS: Final = ("received", *OUTCOMES)


def fields(given: Mapping[str, list[str]]) -> UploadIn:
    """The fields of a form.

    Raises:
        Invalid: some are missing, unknown or wrong.
    """
    values: dict[str, Any] = {
        name: texts if name == "project_ids" else texts[0] for name, texts in given.items()
    }
    # a form sends a field that was left empty as an empty text
    for name in ("organization_id", "default_currency", "dry_run"):
        if values.get(name) == "":
            del values[name]
    try:
        return UploadIn.model_validate(values)
    except ValidationError as error:
        raise Invalid(errors=field_problems(error.errors())) from None


def check_header(spool: Spool, received: Received) -> tuple[Header, str | None]:
    """The header of a received file, and what of the file is not read. Blocks.

    Raises:
        Invalid: says for every wrong column what was found and what is expected.
    """
    try:
        with opened(lambda: spool.open(received.id, received.key)) as found:
            return found.table.header, found.left_out
    except FileRefused as refusal:
        raise Invalid.field(FILE, refusal.code.value, refusal.detail) from None


def take_in(app: Running, actor: Actor, received: Received, body: UploadIn) -> UploadOut:
    """Record an upload, and its dataset if there is none of the name: all in one transaction. Blocks.

    Returns it as it is recorded, without a row: once it is on record nothing may make the answer fail.

    Raises:
        Invalid: the header, the file's name or a field is wrong.
        Conflict: the dataset takes no file now, or is set up otherwise than the fields say.
    """
    header, left_out = check_header(app.spool, received)
    with app.db.write() as session:
        dataset = find_or_make(session, actor, app.box, body)
        check_expected(received.file_name, bool(dataset.location.get("any_file_name")))
        run = Run(id=ids.new_id(ids.RUN), dataset_id=dataset.id, trigger=SOURCE, state=RunState.REQUESTED)
        session.add(run)
        session.flush()
        upload = Upload(
            id=received.id,
            run_id=run.id,
            dataset_id=dataset.id,
            organization_id=dataset.organization_id,
            uploaded_by=actor.user_id,
            file_name=received.file_name,
            columns=list(header.names),
            detail=left_out,
            content_hash=received.content_hash,
            spool=app.spool.id,
            sealed_key=seal_key(app.box, received.id, received.key),
            state=UploadState.WAITING,
            bytes_total=received.size,
        )
        session.add(upload)
        audit.record(session, actor, [_deed("upload.received", upload, {"bytes": received.size})])
        session.flush()
        taken = UploadSummary.model_validate(upload).model_dump()
        counts = dict.fromkeys(_COUNTS, 0)
        return UploadOut(**taken, source_ref=source_ref(upload), **counts)


def dry_run(app: Running, received: Received, body: UploadIn) -> CheckOut:
    """What would become of a file; nothing is recorded, and a dataset of a new name is not made. Blocks.

    A wrong header is part of the answer.

    Raises:
        Invalid, Conflict: see `take_in`.
        StoreAway, TooManyRequests: see `check_rows`.
    """
    with app.db.read() as session:
        owner = organization_of(session, body)
        dataset = find(session, owner, body) or imagined(owner, body)
    check_expected(received.file_name, bool(dataset.location.get("any_file_name")))

    warnings: list[Remark] = []

    def batches() -> Iterator[Sequence[Row]]:
        with opened(lambda: app.spool.open(received.id, received.key)) as found:
            warnings.extend(found.table.warnings)
            yield from found.batches()
            warnings.extend(found.table.last_remarks())

    return check_rows(app, dataset, batches(), received.file_name, warnings)


def shown(app: Running, upload_id: str) -> UploadOut:
    """An upload with what has become of its rows so far. Blocks.

    Raises:
        NotFound: there is none.
        StoreAway: ClickHouse does not answer.
    """
    with app.db.read() as session:
        upload = repository.get(session, upload_id)
        summary = _summary(session, upload)
        run = session.scalars(select(Run).where(Run.id == upload.run_id)).one()
    counted = run_out(app, run)
    told = summary.model_dump() | {"state": _state(summary, counted), "source_ref": source_ref(upload)}
    return UploadOut(**told, **{name: getattr(counted, name) for name in _COUNTS})


def summaries(session: Session, uploads: list[Upload]) -> list[UploadSummary]:
    """Uploads as SQL knows them."""
    return [_summary(session, upload) for upload in uploads]


def cancel(app: Running, actor: Actor, upload_id: str) -> None:
    """Give an upload up; what is in the topic by then stays. The worker deletes the file. Blocks.

    Raises:
        NotFound: there is none.
        Conflict: all its rows are in the topic, or it failed.
    """
    with app.db.write() as session:
        upload = repository.get(session, upload_id, lock=True)
        if upload.state == UploadState.CANCELLED:
            return
        if upload.state not in repository.UNFINISHED:
            raise Conflict("The upload is at an end; what it brought stays.")
        repository.end(session, upload, UploadState.CANCELLED, None, "cancelled")
        audit.record(session, actor, [_deed("upload.cancelled", upload, {})])
    UPLOADS.labels(UploadState.CANCELLED.value).inc()


def _summary(session: Session, upload: Upload) -> UploadSummary:
    summary = UploadSummary.model_validate(upload)
    if upload.state != UploadState.WAITING:
        return summary
    dataset = session.scalars(select(Dataset).where(Dataset.id == upload.dataset_id)).one()
    if dataset.archived or dataset.state != "active":
        reason = "archived" if dataset.archived else dataset.state_detail or "paused"
        summary.state, summary.detail = "paused", f"waits until its dataset is active: {reason}"
    return summary


def _state(summary: UploadSummary, counted: RunOut) -> str:
    """`storing` until each received row has its outcome."""
    if summary.state != "published":
        return summary.state
    return "storing" if counted.state == "storing" else "done"


def _deed(action: str, upload: Upload, details: Mapping[str, Any]) -> Deed:
    return Deed(action, KIND, upload.id, upload.organization_id, details)
