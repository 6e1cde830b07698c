"""The dataset an upload belongs to: found by its name within the organisation, or made."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.audit.service import Actor
from api.datasets import service
from api.datasets.schemas import PLACES, ConflictRule, DatasetIn
from api.datasets.sources import UploadIn as UploadPlace
from api.errors import Archived, Conflict, Invalid
from api.models import Dataset, Organization, Project
from api.registry import repository
from api.registry.service import parent
from api.sealing import CredentialBox
from api.uploads.schemas import UploadIn

SOURCE: Final = "upload"
"""The channel, as in datasets and in the record header `source`."""
_PLACE: Final = UploadPlace(any_file_name=False)


def find_or_make(session: Session, actor: Actor, box: CredentialBox, body: UploadIn) -> Dataset:
    """The dataset of this name; made in the session's transaction if there is none.

    The organisation's row is locked meanwhile, so that of two first uploads at the same moment one makes
    the dataset and the other finds it.

    Raises:
        Invalid: no organisation is told, or a project is unknown or another's.
        Conflict: the dataset is paused or archived, or set up otherwise than the request says.
    """
    organization_id = organization_of(session, body)
    repository.get(session, Organization, organization_id, lock=True)
    return find(session, organization_id, body) or _make(session, actor, box, organization_id, body)


def organization_of(session: Session, body: UploadIn) -> str:
    """The one organisation that all projects belong to, or that is named.

    Raises:
        Invalid: there is none, or there are several.
        Archived: it, or a project, is archived.
    """
    owners = {parent(session, Project, one, "project_ids").organization_id for one in body.project_ids}
    if body.organization_id is not None:
        owners.add(body.organization_id)
    if not owners:
        text = "Expected `project_ids`, or the id of an organisation."
        raise Invalid.field("organization_id", "missing", text)
    if len(owners) > 1:
        text = "The projects, and `organization_id` if it is given, must be of one organisation."
        raise Invalid.field("project_ids", "other_organization", text)
    (owner,) = owners
    return parent(session, Organization, owner, "organization_id").id


def find(session: Session, organization_id: str, body: UploadIn) -> Dataset | None:
    """The dataset of this name, ready for a file; None when there is none.

    Raises:
        Archived, Conflict: see `find_or_make`.
    """
    query = (
        select(Dataset)
        .where(Dataset.organization_id == organization_id, Dataset.source == SOURCE)
        .where(Dataset.name == body.dataset_name)
        .order_by(Dataset.number)
    )
    named = session.scalars(query.execution_options(populate_existing=True)).all()
    if not named:
        return None
    dataset = _one(named, body)
    if dataset.state != "active":
        why = f" ({dataset.state_detail})" if dataset.state_detail else ""
        raise Conflict(f"The dataset is paused{why}; set its state to `active` first.")
    _check_agrees(dataset, body)
    return dataset


def _one(named: Sequence[Dataset], body: UploadIn) -> Dataset:
    """Names are not unique: of several the one with the same projects is meant."""
    living = [dataset for dataset in named if not dataset.archived]
    if not living:
        raise Archived("The dataset of this name is archived; restore it first, or choose another name.")
    if len(living) > 1:
        living = [dataset for dataset in living if dataset.project_ids == body.project_ids]
    if len(living) != 1:
        raise Conflict("Several datasets for uploads have this name; rename all but one.")
    return living[0]


def _check_agrees(dataset: Dataset, body: UploadIn) -> None:
    """A request that says something else than the set-up would be obeyed in silence by neither."""
    others = []
    if dataset.target == "project" and body.project_ids and body.project_ids != dataset.project_ids:
        others.append("project_ids")
    if body.data_provider.casefold() != dataset.provider.casefold():
        others.append("data_provider")
    if body.default_currency not in (None, dataset.default_currency):
        others.append("default_currency")
    if others:
        names = " and ".join(f"`{name}`" for name in others)
        raise Conflict(
            f"The dataset of this name has other {names}; change it under /v1/datasets/{dataset.id}, or"
            " choose another name."
        )


def imagined(organization_id: str, body: UploadIn) -> Dataset:
    """The dataset that would be made, for a dry run; nothing is stored.

    Raises:
        Invalid: it could not be made.
    """
    made = _definition(organization_id, body)
    if not made.project_ids:
        raise Invalid.field("project_ids", "missing", "A target of `project` needs at least one.")
    fields = made.model_dump(exclude={*PLACES, "schedule", "conflict_rule"})
    return Dataset(**fields, conflict_rule=ConflictRule().model_dump(), location=_PLACE.location())


def _make(
    session: Session, actor: Actor, box: CredentialBox, organization_id: str, body: UploadIn
) -> Dataset:
    return service.create(session, actor, box, _definition(organization_id, body))


def _definition(organization_id: str, body: UploadIn) -> DatasetIn:
    return DatasetIn(
        name=body.dataset_name,
        provider=body.data_provider,
        source=SOURCE,
        type=body.dataset_type,
        organization_id=organization_id,
        target="project",
        project_ids=body.project_ids,
        default_currency=body.default_currency,
        upload=_PLACE,
    )
