"""Organisations, projects, devices and connections over HTTP."""

from typing import Any

import pytest
from api_helpers import Api, assert_problem


async def test_every_kind_is_created_and_found_again(api: Api) -> None:
    """What was created is answered with an id, and found under it and in the list."""
    project = await api.project(country="Nigeria")
    device = await api.device(project_id=project["id"], capacity_kw=1.5, commissioned_on="2023-01-02")
    connection = await api.connection(" C-1 ", project["id"], device_id=device["id"])
    assert project["country"] == "NG"
    assert connection["external_id"] == "C-1"
    assert connection["organization_id"] == device["organization_id"] == project["organization_id"]
    for path, made in {"projects": project, "devices": device, "connections": connection}.items():
        one = await api.http.get(f"/v1/{path}/{made['id']}")
        assert one.json() == made
        listed = await api.http.get(f"/v1/{path}", params={"organization_id": made["organization_id"]})
        assert listed.json() == {"items": [made], "next": None}


async def test_pages_show_everything_once_in_order(api: Api) -> None:
    """Following `next` shows every object once, oldest first, while new ones are added."""
    project = await api.project()
    made = [(await api.connection(f"c{n}", project["id"]))["id"] for n in range(7)]
    seen: list[str] = []
    params: dict[str, Any] = {"project_id": project["id"], "limit": 3}
    while True:
        page = (await api.http.get("/v1/connections", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        if len(seen) == 3:
            made.append((await api.connection("late", project["id"]))["id"])
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == made


@pytest.mark.parametrize("cursor", ["x", "bm90", "bi0x", "é", "bjk5OTk5OTk5OTk5OTk5OTk5OTk5OQ", "bg"])
async def test_a_foreign_cursor_is_refused(api: Api, cursor: str) -> None:
    """A cursor that is not ours is a 400, not a first page."""
    assert_problem(await api.http.get("/v1/projects", params={"cursor": cursor}), 400, "bad_cursor")


async def test_external_ids_are_unique_where_they_must_be(api: Api) -> None:
    """Connections are unique per project, devices per organisation; trimmed, but case matters."""
    one = await api.project()
    two = await api.project(organization_id=one["organization_id"])
    await api.connection("C1", one["id"])
    await api.connection("C1", two["id"])
    await api.connection("c1", one["id"])
    again = await api.http.post("/v1/connections", json={"project_id": one["id"], "external_id": "C1 "})
    assert assert_problem(again, 409, "already_exists")["errors"][0]["field"] == "external_id"
    await api.device("D1", project_id=one["id"])
    other = {"project_id": two["id"], "external_id": "D1", "manufacturer": "m", "serial_number": "s"}
    assert_problem(await api.http.post("/v1/devices", json=other), 409, "already_exists")
    await api.device("D1")


async def test_an_external_id_has_no_letter_that_nobody_sees(api: Api) -> None:
    """Rows with such ids are refused, so the connection would match none."""
    project = await api.project()
    body = {"external_id": "M\u200b1", "project_id": project["id"]}
    answer = await api.http.post("/v1/connections", json=body)
    (fault,) = assert_problem(answer, 422, "invalid")["errors"]
    assert (fault["field"], fault["code"]) == ("body.external_id", "control_character")


async def test_a_patch_changes_what_it_names(api: Api) -> None:
    """Only sent fields change; each real change is a version, a repetition is none."""
    project = await api.project()
    made = await api.connection("C1", project["id"], customer_external_id="k", valid_from="2024-01-01")
    assert made["valid_from"] == "2024-01-01T00:00:00.000Z"
    path = f"/v1/connections/{made['id']}"
    changed = (await api.http.patch(path, json={"customer_external_id": None})).json()
    assert (changed["customer_external_id"], changed["version"]) == (None, 2)
    assert changed["valid_from"] == made["valid_from"]
    same = (await api.http.patch(path, json={"customer_external_id": None})).json()
    assert same["version"] == 2
    assert_problem(await api.http.patch(path, json={"external_id": None}), 422, "invalid")
    ends_first = await api.http.patch(path, json={"valid_to": "2023-01-01"})
    assert_problem(ends_first, 422, "invalid")


async def test_archived_objects_are_kept_and_restored(api: Api) -> None:
    """DELETE marks; lists leave the object out, nothing may be added to it, `archived: false` restores."""
    project = await api.project()
    path = f"/v1/projects/{project['id']}"
    for _ in range(2):
        assert (await api.http.delete(path)).status_code == 204
    gone = (await api.http.get(path)).json()
    assert (gone["archived"], gone["version"]) == (True, 2)
    assert (await api.http.get("/v1/projects")).json()["items"] == []
    assert (await api.http.get("/v1/projects?archived=true")).json()["items"] == [gone]
    body = {"project_id": project["id"], "external_id": "c"}
    assert_problem(await api.http.post("/v1/connections", json=body), 409, "archived")
    assert_problem(await api.http.patch(path, json={"name": "x"}), 409, "archived")
    assert (await api.http.patch(path, json={"archived": False})).json()["archived"] is False
    await api.connection("c", project["id"])


async def test_a_device_is_archived_by_delete_only(api: Api) -> None:
    """A PATCH would leave its tokens good; DELETE revokes them."""
    device = await api.device("meter-1")
    path = f"/v1/devices/{device['id']}"
    refused = await api.http.patch(path, json={"archived": True})
    assert_problem(refused, 422, "invalid")
    assert "DELETE" in refused.text
    assert (await api.http.get(path)).json()["version"] == 1
    assert (await api.http.delete(path)).status_code == 204
    assert (await api.http.patch(path, json={"archived": False})).json()["archived"] is False


async def test_parents_must_exist_and_belong_together(api: Api) -> None:
    """An unknown parent, or another organisation's device, is a fault of that field."""
    unknown = {"organization_id": "org_" + "0" * 26, "name": "x", "country": "NG"}
    answer = assert_problem(await api.http.post("/v1/projects", json=unknown), 422, "invalid")
    assert answer["errors"][0]["field"] == "organization_id"
    foreign, project = await api.device(), await api.project()
    body = {"project_id": project["id"], "external_id": "c", "device_id": foreign["id"]}
    answer = assert_problem(await api.http.post("/v1/connections", json=body), 422, "invalid")
    assert answer["errors"][0]["code"] == "other_organization"


async def test_a_connection_may_move_to_another_project(api: Api) -> None:
    """Within its organisation, and not where its external id is taken."""
    project = await api.project()
    other = await api.project(organization_id=project["organization_id"])
    path = f"/v1/connections/{(await api.connection('c', project['id']))['id']}"
    moved = (await api.http.patch(path, json={"project_id": other["id"]})).json()
    assert (moved["project_id"], moved["version"]) == (other["id"], 2)
    taken = await api.connection("c", project["id"])
    assert (await api.http.patch(path, json={"project_id": project["id"]})).status_code == 409, taken
    foreign = await api.http.patch(path, json={"project_id": (await api.project())["id"]})
    assert assert_problem(foreign, 422, "invalid")["errors"][0]["code"] == "other_organization"


@pytest.mark.parametrize("name", ["", "   ", "a\u0000b", "x" * 301, 5, None, ["x"]])
async def test_names_have_rules(api: Api, name: Any) -> None:
    """Empty, endless, non-text names and control characters are refused."""
    assert_problem(await api.http.post("/v1/organizations", json={"name": name}), 422, "invalid")
