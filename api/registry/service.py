"""The rules of the registry: what belongs to what, what may change, what archiving means."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from api import ids
from api.audit.service import Actor
from api.db import now_ms
from api.errors import Archived, Invalid, NotFound
from api.models import Connection, Device, Organization, Project, Registered
from api.registry import repository
from api.registry.schemas import ConnectionIn, DeviceIn, OrganizationIn, Patch, ProjectIn
from api.tokens import repository as tokens
from api.tokens.repository import TokenRow

WITHIN = {"devices": "organisation", "connections": "project"}


def create_organization(session: Session, actor: Actor, body: OrganizationIn) -> Organization:
    """A new organisation; names need not be unique."""
    return repository.add(session, actor, ids.ORGANIZATION, Organization(name=body.name), "installation")


def create_project(session: Session, actor: Actor, body: ProjectIn) -> Project:
    """A new project of an organisation that is there and not archived."""
    parent(session, Organization, body.organization_id, "organization_id")
    fields = body.model_dump() | {"programme_ids": sorted(set(body.programme_ids))}
    return repository.add(session, actor, ids.PROJECT, Project(**fields), "organisation")


def create_device(session: Session, actor: Actor, body: DeviceIn) -> Device:
    """A new device of a project; its organisation is the project's."""
    project = parent(session, Project, body.project_id, "project_id")
    device = Device(organization_id=project.organization_id, **body.model_dump())
    return repository.add(session, actor, ids.DEVICE, device, WITHIN["devices"])


def create_connection(session: Session, actor: Actor, body: ConnectionIn) -> Connection:
    """A new connection of a project; its organisation is the project's."""
    project = parent(session, Project, body.project_id, "project_id")
    _check_period(body.valid_from, body.valid_to)
    _check_device(session, body.device_id, project.organization_id)
    connection = Connection(organization_id=project.organization_id, **body.model_dump())
    return repository.add(session, actor, ids.CONNECTION, connection, WITHIN["connections"])


def patch(session: Session, actor: Actor, kind: type[Registered], object_id: str, body: Patch) -> Registered:
    """Change the fields that were sent. An archived object must be restored with or before it."""
    item = repository.get(session, kind, object_id, lock=True)
    changes = body.changes()
    if item.archived and changes.get("archived", True):
        raise Archived
    if isinstance(item, Device | Organization) and changes.get("archived"):
        raise Invalid.field("archived", "use_delete", "DELETE archives it and revokes its tokens.")
    if isinstance(item, Connection):
        _check_connection_patch(session, item, changes)
    if changes.get("programme_ids"):
        changes["programme_ids"] = sorted(set(changes["programme_ids"]))
    repository.change(session, actor, item, changes, WITHIN.get(item.__tablename__, ""))
    return item


def archive(session: Session, actor: Actor, kind: type[Registered], object_id: str) -> list[TokenRow]:
    """Archive an object; again is no change. Tokens of devices and organisations are revoked.

    Returns the revoked ones, which Redis must be told.
    """
    item = repository.get(session, kind, object_id, lock=True)
    repository.change(session, actor, item, {"archived": True})
    if isinstance(item, Device | Organization):
        return tokens.revoke(session, actor, item, None, now_ms())
    return []


def parent(session: Session, kind: type[repository.Kind], object_id: str, field: str) -> repository.Kind:
    """The object that a new one belongs to.

    Raises:
        Invalid: there is none.
        Archived: it is archived.
    """
    try:
        item = repository.get(session, kind, object_id)
    except NotFound:
        raise Invalid.field(field, "unknown", "There is no such object.") from None
    if item.archived:
        raise Archived(f"What `{field}` names is archived; restore it first.")
    return item


def _check_connection_patch(session: Session, item: Connection, changes: dict[str, Any]) -> None:
    _check_period(changes.get("valid_from", item.valid_from), changes.get("valid_to", item.valid_to))
    _check_device(session, changes.get("device_id"), item.organization_id)
    if project_id := changes.get("project_id"):
        project = parent(session, Project, project_id, "project_id")
        if project.organization_id != item.organization_id:
            raise Invalid.field(
                "project_id", "other_organization", "The project belongs to another organisation."
            )


def _check_period(begin: datetime | None, end: datetime | None) -> None:
    if begin and end and end <= begin:
        raise Invalid.field("valid_to", "end_before_start", "Must be later than `valid_from`.")


def _check_device(session: Session, device_id: str | None, organization_id: str) -> None:
    if device_id is None:
        return
    device = parent(session, Device, device_id, "device_id")
    if device.organization_id != organization_id:
        raise Invalid.field("device_id", "other_organization", "The device belongs to another organisation.")
