"""The rules of datasets: what they may name, how credentials are kept, when a run may start."""

from typing import Any

from sqlalchemy.orm import Session

from api import ids
from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.datasets.places import one_for_each_place, place_hash
from api.datasets.schemas import NEEDS_PLACE, PLACES, ConflictRule, DatasetIn, DatasetPatch
from api.datasets.sources import Place, PullIn, S3In, SheetIn, UploadIn
from api.errors import Archived, Conflict, Invalid
from api.models import Dataset, Organization, Project
from api.registry import repository
from api.registry.service import parent
from api.sealing import CredentialBox
from api.tables import Run
from producers.addresses import AddressRefused, Hosts

_PLACE_OF: dict[str, type[Place]] = {"s3": S3In, "sheet": SheetIn, "pull": PullIn, "upload": UploadIn}


def create(session: Session, actor: Actor, box: CredentialBox, body: DatasetIn) -> Dataset:
    """A new dataset of an organisation, active at once."""
    parent(session, Organization, body.organization_id, "organization_id")
    fields = body.model_dump(exclude={*PLACES, "conflict_rule", "schedule"})
    fields["project_ids"] = _projects(session, body.organization_id, body.project_ids)
    dataset = Dataset(
        **fields,
        conflict_rule=(body.conflict_rule or ConflictRule()).model_dump(),
        schedule=body.schedule or "daily",
        state="active",
    )
    _check_target(dataset.target, dataset.project_ids, dataset.programme_id)
    dataset.id = ids.new_id(ids.DATASET)
    _locate(box, dataset, body.place() or UploadIn())
    with one_for_each_place():
        return repository.add_as(session, actor, dataset)


def patch(session: Session, actor: Actor, box: CredentialBox, dataset_id: str, body: DatasetPatch) -> Dataset:
    """Change the fields that were sent; new credentials replace the old ones."""
    dataset = repository.get(session, Dataset, dataset_id, lock=True)
    changes = body.changes()
    if dataset.archived and changes.get("archived", True):
        raise Archived
    for name in (*PLACES, "reason"):
        changes.pop(name, None)
    place = body.place()
    if place is not None and not isinstance(place, _PLACE_OF.get(dataset.source, ())):
        raise Invalid.field("source", "stray_place", f"The dataset's source is `{dataset.source}`.")
    if body.conflict_rule:
        changes["conflict_rule"] = body.conflict_rule.model_dump()
    if body.project_ids is not None:
        changes["project_ids"] = _projects(session, dataset.organization_id, body.project_ids)
    _check_target(
        dataset.target,
        changes.get("project_ids", dataset.project_ids),
        changes.get("programme_id", dataset.programme_id),
    )
    reason = body.reason or ""
    if body.state is not None:
        changes["state_detail"] = reason if body.state == "paused" else ""
    with one_for_each_place():
        if place is not None:
            _relocate(session, actor, box, dataset, place, reason)
        repository.change(session, actor, dataset, changes, reason=reason)
        session.flush()
    return dataset


def check_address(hosts: Hosts, place: Place | None) -> None:
    """Refuse an address that the poller would never connect to. Blocks while its name is resolved.

    Raises:
        Invalid: its host is neither public nor allowed by the operator.
    """
    address = place.address() if place else None
    if address is None:
        return
    try:
        hosts.check_url(address)
    except AddressRefused as refusal:
        text = f"Expected a public host, or one that the operator allows: {refusal}."
        field = "s3.endpoint_url" if isinstance(place, S3In) else "pull.url"
        raise Invalid.field(field, "host_not_allowed", text) from None


def request_run(session: Session, actor: Actor, dataset_id: str) -> Run:
    """Ask for a run now; the poller takes it.

    Raises:
        NotFound: no such dataset.
        Conflict: it is archived or paused.
    """
    dataset = repository.get(session, Dataset, dataset_id)
    if dataset.archived:
        raise Archived
    if dataset.state != "active":
        why = f" ({dataset.state_detail})" if dataset.state_detail else ""
        raise Conflict(f"The dataset is paused{why}; set its state to `active` first.")
    if dataset.source not in NEEDS_PLACE:
        raise Conflict(
            f"Nothing is looked at for a dataset of source `{dataset.source}`: rows are sent to it."
        )
    run = Run(id=ids.new_id(ids.RUN), dataset_id=dataset_id, trigger="demand", state="requested")
    session.add(run)
    deed = Deed("dataset.run", "dataset", dataset.id, dataset.organization_id, {"run_id": run.id})
    audit.record(session, actor, [deed])
    session.flush()
    return run


def _relocate(
    session: Session, actor: Actor, box: CredentialBox, dataset: Dataset, place: Place, reason: str
) -> None:
    """A new place, or new keys for it: what flows from then on may be something else."""
    before = dict(dataset.location)
    _locate(box, dataset, place)
    now = dataset.location
    fields = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    details: dict[str, Any] = {"fields": [*fields, "credentials"]}
    details |= {"reason": reason} if reason else {}
    deed = Deed("dataset.relocate", "dataset", dataset.id, dataset.organization_id, details)
    audit.record(session, actor, [deed])


def _locate(box: CredentialBox, dataset: Dataset, place: Place) -> None:
    dataset.location = place.location()
    dataset.sealed_credentials = box.seal(dataset.id, place.secret())
    dataset.place_hash = place_hash(dataset.location) if isinstance(place, S3In) else None


def _projects(session: Session, organization_id: str, project_ids: list[str]) -> list[str]:
    wanted = sorted(set(project_ids))
    for project_id in wanted:
        if parent(session, Project, project_id, "project_ids").organization_id != organization_id:
            text = "A project belongs to another organisation."
            raise Invalid.field("project_ids", "other_organization", text)
    return wanted


def _check_target(target: str, project_ids: list[str], programme_id: Any) -> None:
    if target == "project" and not project_ids:
        raise Invalid.field("project_ids", "missing", "A target of `project` needs at least one.")
    if target == "programme" and not programme_id:
        raise Invalid.field("programme_id", "missing", "A target of `programme` needs it.")
