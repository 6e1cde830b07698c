"""/v1/organizations, /v1/projects, /v1/devices, /v1/connections."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from api.audit.endpoints import Acting
from api.deps import App, IsAdmin
from api.errors import AlreadyExists, Archived, StoreAway, Unauthorized, responses
from api.fields import Country, Line
from api.models import Connection, Device, Organization, Project
from api.paging import Page, PageQuery
from api.parameters import page_query
from api.registry import repository, service
from api.registry.common import add_common
from api.registry.schemas import (
    ConnectionIn,
    ConnectionOut,
    ConnectionPatch,
    DeviceIn,
    DeviceOut,
    DevicePatch,
    OrganizationIn,
    OrganizationOut,
    OrganizationPatch,
    ProjectIn,
    ProjectOut,
    ProjectPatch,
)

router = APIRouter()

IdFilter = Annotated[Line | None, Query(max_length=40)]
TextFilter = Annotated[Line | None, Query(max_length=300)]
ArchivedFilter = Annotated[bool, Query(description="True lists the archived ones instead.")]
PageOf = Annotated[PageQuery, Depends(page_query)]

LISTED = responses(Unauthorized, StoreAway)
CREATED = responses(Unauthorized, AlreadyExists, Archived, StoreAway)


@router.post("/v1/organizations", status_code=201, responses=CREATED, tags=["organizations"])
def create_organization(app: App, actor: Acting, body: OrganizationIn) -> OrganizationOut:
    """Register an organisation."""
    with app.db.write() as session:
        return OrganizationOut.model_validate(service.create_organization(session, actor, body))


@router.get("/v1/organizations", responses=LISTED, tags=["organizations"])
def list_organizations(
    app: App, _admin: IsAdmin, page: PageOf, name: TextFilter = None, archived: ArchivedFilter = False
) -> Page[OrganizationOut]:
    """List organisations, oldest first."""
    filters = {"name": name, "archived": archived}
    with app.db.read() as session:
        return repository.page(session, Organization, filters, page, OrganizationOut)


@router.post("/v1/projects", status_code=201, responses=CREATED, tags=["projects"])
def create_project(app: App, actor: Acting, body: ProjectIn) -> ProjectOut:
    """Register a project of an organisation."""
    with app.db.write() as session:
        return ProjectOut.model_validate(service.create_project(session, actor, body))


@router.get("/v1/projects", responses=LISTED, tags=["projects"])
def list_projects(
    app: App,
    _admin: IsAdmin,
    page: PageOf,
    organization_id: IdFilter = None,
    country: Annotated[Country | None, Query()] = None,
    name: TextFilter = None,
    archived: ArchivedFilter = False,
) -> Page[ProjectOut]:
    """List projects, oldest first."""
    filters = {"organization_id": organization_id, "country": country, "name": name, "archived": archived}
    with app.db.read() as session:
        return repository.page(session, Project, filters, page, ProjectOut)


@router.post("/v1/devices", status_code=201, responses=CREATED, tags=["devices"])
def create_device(app: App, actor: Acting, body: DeviceIn) -> DeviceOut:
    """Register a device; its external id must be new in its organisation."""
    with app.db.write() as session:
        return DeviceOut.model_validate(service.create_device(session, actor, body))


@router.get("/v1/devices", responses=LISTED, tags=["devices"])
def list_devices(
    app: App,
    _admin: IsAdmin,
    page: PageOf,
    organization_id: IdFilter = None,
    project_id: IdFilter = None,
    external_id: TextFilter = None,
    serial_number: TextFilter = None,
    archived: ArchivedFilter = False,
) -> Page[DeviceOut]:
    """List devices, oldest first."""
    filters: dict[str, Any] = {"organization_id": organization_id, "project_id": project_id}
    filters |= {"external_id": external_id, "serial_number": serial_number, "archived": archived}
    with app.db.read() as session:
        return repository.page(session, Device, filters, page, DeviceOut)


@router.post("/v1/connections", status_code=201, responses=CREATED, tags=["connections"])
def create_connection(app: App, actor: Acting, body: ConnectionIn) -> ConnectionOut:
    """Register a connection; payments that came before count as soon as it is there."""
    with app.db.write() as session:
        return ConnectionOut.model_validate(service.create_connection(session, actor, body))


@router.get("/v1/connections", responses=LISTED, tags=["connections"])
def list_connections(
    app: App,
    _admin: IsAdmin,
    page: PageOf,
    organization_id: IdFilter = None,
    project_id: IdFilter = None,
    external_id: TextFilter = None,
    customer_external_id: TextFilter = None,
    device_id: IdFilter = None,
    archived: ArchivedFilter = False,
) -> Page[ConnectionOut]:
    """List connections, oldest first."""
    filters: dict[str, Any] = {"organization_id": organization_id, "project_id": project_id}
    filters |= {"external_id": external_id, "customer_external_id": customer_external_id}
    filters |= {"device_id": device_id, "archived": archived}
    with app.db.read() as session:
        return repository.page(session, Connection, filters, page, ConnectionOut)


add_common(router, "/v1/organizations", Organization, OrganizationOut, OrganizationPatch)
add_common(router, "/v1/projects", Project, ProjectOut, ProjectPatch)
add_common(router, "/v1/devices", Device, DeviceOut, DevicePatch)
add_common(router, "/v1/connections", Connection, ConnectionOut, ConnectionPatch)
