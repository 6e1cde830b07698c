"""POST /v1/uploads: what is taken, what is refused and why, and that a refusal leaves nothing behind."""

import asyncio
import contextlib
import os
import resource
import stat
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem
from sqlalchemy import select
from starlette.requests import ClientDisconnect
from uploads import BOUNDARY, KIND, NAME, accepted, body, fields, kept, left, sample, send, send_raw, table

from api.middleware import SMALL_BYTES
from api.models import Dataset
from api.parts import ApiParts
from api.tables import RunFile, Upload
from api.uploads import receive
from tests.support.workers import payment

DATA = sample(3)


def datasets(api: Api) -> list[str]:
    """Ids of all datasets."""
    with api.running.db.read() as session:
        return list(session.scalars(select(Dataset.id).order_by(Dataset.number)))


def refused(api: Api) -> None:
    """Nothing is kept of what was refused."""
    assert left(api) == []
    with api.running.db.read() as session:
        assert session.scalars(select(Upload)).all() == []
        assert session.scalars(select(Dataset)).all() == []


def assert_field(answer: Any, field: str, code: str) -> str:
    """422 for this field; what is said about it."""
    (fault,) = assert_problem(answer, 422, "invalid")["errors"]
    assert (fault["field"], fault["code"]) == (field, code)
    return str(fault["detail"])


async def test_a_file_is_kept_sealed_until_it_is_published(api: Api) -> None:
    """202 with everything a client needs; on the disk there is one private file without plain text."""
    project = await api.project()
    made = await accepted(api, project, DATA, default_currency="NGN")
    assert (made["state"], made["received"], made["bytes_total"]) == ("waiting", 0, len(DATA))
    assert made["source_ref"] == f"upload://{made['id']}/{NAME}@{made['content_hash'][:16]}"
    assert kept(api) == left(api) == [made["id"]]
    directory = api.running.parts.settings.uploads_directory
    path = directory / made["id"]
    assert (stat.S_IMODE(directory.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    assert b"Secret Name" not in path.read_bytes()
    with api.running.db.read() as session:
        upload = session.scalars(select(Upload)).one()
        (dataset,) = session.scalars(select(Dataset)).all()
        assert not session.scalars(select(RunFile)).all()
    assert "CUSTOMER_PHONE" in upload.columns
    assert (dataset.source, dataset.name, dataset.project_ids) == ("upload", "01_2026_Site", [project["id"]])
    assert (dataset.provider, dataset.target, dataset.default_currency) == ("User", "project", "NGN")
    shown = await api.http.get(f"/v1/uploads/{made['id']}")
    assert shown.json() == made
    (entry,) = (await api.http.get("/v1/audit", params={"action": "upload.received"})).json()["items"]
    assert (entry["subject"], entry["details"]) == (made["id"], {"bytes": len(DATA)})
    run = (await api.http.get(f"/v1/runs/{made['run_id']}")).json()
    assert (run["trigger"], run["state"]) == ("upload", "requested")


async def test_uploads_are_listed_page_by_page(api: Api) -> None:
    """Oldest first, by dataset, organisation and state; an unknown one is 404."""
    one, other = await api.project(), await api.project()
    made = [(await accepted(api, one, DATA))["id"] for _ in range(3)]
    await accepted(api, other, DATA)
    query = {"organization_id": one["organization_id"], "state": "waiting", "limit": 2}
    first = (await api.http.get("/v1/uploads", params=query)).json()
    second = (await api.http.get("/v1/uploads", params={**query, "cursor": first["next"]})).json()
    assert [item["id"] for item in first["items"] + second["items"]] == made
    assert second["next"] is None
    assert (await api.http.get("/v1/uploads", params={"state": "failed"})).json()["items"] == []
    assert_problem(await api.http.get("/v1/uploads/upl_0"), 404, "not_found")


async def test_fields_and_file_come_in_any_order(api: Api) -> None:
    """The file first, projects repeated and with commas: the same as any other order."""
    one = await api.project()
    two = await api.project(organization_id=one["organization_id"], name="Two")
    rest = [(name, value, None) for name, value in fields(None).items()]
    ids: list[Any] = [("project_ids", f"{two['id']}, {one['id']}", None), ("project_ids", one["id"], None)]
    answer = await send_raw(api, body(("file", DATA, NAME), *ids, *rest))
    assert answer.status_code == 202, answer.text
    answer = await send_raw(api, body(*rest, ("file", DATA, NAME), *ids))
    assert answer.status_code == 202, answer.text
    (found,) = datasets(api)
    shown = (await api.http.get(f"/v1/datasets/{found}")).json()
    assert shown["project_ids"] == sorted([one["id"], two["id"]])


async def test_two_first_uploads_at_once_make_one_dataset(api: Api) -> None:
    """Each finds or makes it under a lock of its organisation."""
    project = await api.project()
    made = await asyncio.gather(*(accepted(api, project, DATA) for _ in range(6)))
    assert len({upload["dataset_id"] for upload in made}) == 1
    assert len({upload["id"] for upload in made}) == len(kept(api)) == 6
    assert len(datasets(api)) == 1


WRONG_FIELDS: list[tuple[dict[str, str | None], str, str]] = [
    ({"dataset_name": None}, "dataset_name", "missing"),
    ({"dataset_name": " "}, "dataset_name", "string_too_short"),
    ({"dataset_type": "meter_reads"}, "dataset_type", "literal_error"),
    ({"data_provider": None}, "data_provider", "missing"),
    ({"project_ids": "prj_" + "0" * 26}, "project_ids", "unknown"),
    ({"project_ids": None}, "organization_id", "missing"),
    ({"default_currency": "XXQ"}, "default_currency", "unknown_currency"),
    ({"dry_run": "perhaps"}, "dry_run", "bool_parsing"),
    ({"datasetname": "x"}, "datasetname", "extra_forbidden"),
]


async def test_wrong_fields_are_named(api: Api) -> None:
    """Each field that is missing, wrong or unknown is told by its name, and nothing is kept."""
    project = await api.project()
    for changes, field, code in WRONG_FIELDS:
        assert_field(await send(api, project, DATA, **changes), field, code)
        refused(api)


HEADER = "ID,TIMESTAMP,PAYMENT_AMOUNT,CUSTOMER_ID,METER_ID,CUSTOMER_NAME"
WRONG_FILES = {
    "no bytes": (b"", "empty_file", "not even a header"),
    "empty lines": (b"\n\n", "empty_file", "every line is empty"),
    "spaces": (HEADER.replace("METER_ID", " METER_ID").encode(), "bad_header", "found ' METER_ID', expected"),
    "case": (HEADER.replace("METER_ID", "Meter_Id").encode(), "bad_header", "expected 'METER_ID'"),
    "missing": (HEADER.replace(",METER_ID", "").encode(), "bad_header", "'METER_ID' is missing"),
    "twice": (f"{HEADER},ID".encode(), "bad_header", "columns 1 and 7 have the same name"),
    "one column": (b"ID\n1\n", "bad_header", "is missing"),
    "100,000 columns": (",".join(f"c{n}" for n in range(100_000)).encode(), "bad_header", ""),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "bad_encoding", ""),
    "a damaged workbook": (b"PK\x03\x04" + b"\0" * 200, "bad_encoding", "not a workbook"),
}


async def test_a_wrong_file_is_refused_before_202(api: Api) -> None:
    """The answer says precisely what is wrong with the header; neither file nor dataset is kept."""
    project = await api.project()
    for data, code, told in WRONG_FILES.values():
        assert told in assert_field(await send(api, project, data), "file", code)
        refused(api)


async def test_a_header_alone_is_a_file_of_no_rows(api: Api) -> None:
    """Header only is no error."""
    assert (await accepted(api, await api.project(), HEADER.encode()))["bytes_total"] == len(HEADER)


FILE_NAMES = [
    ("payments.csv", "wrong_name"),
    ("electricity_payment.csv", "wrong_name"),
    ("ELECTRICITY_PAYMENT.CSV", "wrong_name"),
    ("=cmd|'!A0.csv", "wrong_name"),
    ("ELECTRICITY_PAYMENT.txt", "bad_file_name"),
    ("../../ELECTRICITY_PAYMENT.csv", "bad_file_name"),
    ("..\\..\\ELECTRICITY_PAYMENT.csv", "bad_file_name"),
    ("a/ELECTRICITY_PAYMENT.csv", "bad_file_name"),
    (".csv", "bad_file_name"),
    (f"{'x' * 300}.csv", "bad_file_name"),
    ("a\x07.csv", "bad_file_name"),
    ("", "no_file_name"),
]


async def test_file_names(api: Api) -> None:
    """One name is right; a path in it is never used, and never kept."""
    given = [(key, value, None) for key, value in fields(await api.project()).items()]
    for name, code in FILE_NAMES:
        assert_field(await send_raw(api, body(("file", DATA, name), *given)), "file", code)
        refused(api)


async def test_a_dataset_may_allow_other_names(api: Api) -> None:
    """With `any_file_name`; a name with a formula is a text like others."""
    project = await api.project()
    made = await api.dataset(project, s3=None, source="upload", provider="User", name="01_2026_Site",
                             upload={"any_file_name": True})  # fmt: skip
    for name in ("März 2026.csv", "=1+1.csv"):
        found = await accepted(api, project, DATA, name=name)
        assert (found["file_name"], found["dataset_id"]) == (name, made["id"])


async def test_the_dataset_must_take_files_and_agree(api: Api) -> None:
    """Paused, archived, or set up otherwise than the form says: 409 with what to do, and nothing kept."""
    project = await api.project()
    first = await accepted(api, project, DATA)
    path = f"/v1/datasets/{first['dataset_id']}"
    other = await api.project(organization_id=project["organization_id"])
    for changes, word in [
        ({"project_ids": other["id"]}, "project_ids"),
        ({"data_provider": "ODYSSEY"}, "data_provider"),
        ({"default_currency": "KES"}, "default_currency"),
    ]:
        told = assert_problem(await send(api, project, DATA, **changes), 409, "conflict")["detail"]
        assert f"`{word}`" in told
        assert path in told
    named = await accepted(api, None, DATA, organization_id=project["organization_id"], data_provider="USER")
    assert named["dataset_id"] == first["dataset_id"]
    await api.http.patch(path, json={"state": "paused"})
    assert "paused" in assert_problem(await send(api, project, DATA), 409, "conflict")["detail"]
    waits = (await api.http.get(f"/v1/uploads/{first['id']}")).json()
    assert (waits["state"], waits["detail"]) == ("paused", "waits until its dataset is active: paused")
    await api.http.delete(path)
    assert_problem(await send(api, project, DATA), 409, "archived")
    assert sorted(kept(api)) == sorted([first["id"], named["id"]])


async def test_projects_of_two_organisations_are_refused(api: Api) -> None:
    """A dataset belongs to one organisation, and so do its projects."""
    one, other = await api.project(), await api.project()
    both = f"{one['id']},{other['id']}"
    assert_field(await send(api, None, DATA, project_ids=both), "project_ids", "other_organization")
    changes = {"organization_id": other["organization_id"]}
    assert_field(await send(api, one, DATA, **changes), "project_ids", "other_organization")
    refused(api)


BROKEN: dict[str, tuple[bytes, str, int, str]] = {
    "json": (b"{}", "application/json", 415, "unsupported_media_type"),
    "url-encoded": (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    "no boundary": (body(), "multipart/form-data", 415, "unsupported_media_type"),
    "long boundary": (body(), f"multipart/form-data; boundary={'x' * 300}", 415, "unsupported_media_type"),
    "no parts": (b"", KIND, 400, "incomplete_body"),
    "no form": (b"hello", KIND, 400, "malformed_body"),
    "cut in the file": (body(("file", DATA, NAME))[: len(DATA) // 2], KIND, 400, "incomplete_body"),
    "no last boundary": (body(("file", DATA, NAME), end=False), KIND, 400, "incomplete_body"),
    "no file": (body(("dataset_name", "x", None)), KIND, 422, "invalid"),
    "file without a name": (body(("file", DATA, None)), KIND, 422, "invalid"),
    "two files": (body(("file", DATA, NAME), ("file", DATA, NAME)), KIND, 422, "invalid"),
    "a field twice": (body(*[("dataset_name", "x", None)] * 2), KIND, 422, "invalid"),
    "nameless part": (body(("", "x", None)), KIND, 422, "invalid"),
    "too many parts": (body(*[("project_ids", "x", None)] * 1200), KIND, 422, "invalid"),
    "long fields": (body(("dataset_name", "x" * 200_000, None)), KIND, 422, "invalid"),
    "no text": (body(("dataset_name", b"\xff\xfe", None)), KIND, 422, "invalid"),
    "base64": (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{NAME}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\nSUQ=\r\n--{BOUNDARY}--\r\n".encode(),
        KIND, 422, "invalid",
    ),
}  # fmt: skip


async def test_broken_forms_are_told_apart(api: Api) -> None:
    """No body makes anything but a problem, and none leaves a file."""
    for what, (content, kind, status, code) in BROKEN.items():
        answer = await send_raw(api, content, kind)
        assert answer.status_code == status, what
        assert_problem(answer, status, code)
        refused(api)


async def test_a_packed_body_is_refused(api: Api) -> None:
    """A gzip body is not unpacked: what it would become is not known before."""
    answer = await send_raw(api, body(("file", DATA, NAME)), **{"Content-Encoding": "gzip"})
    assert_problem(answer, 415, "unsupported_media_type")


async def test_who_is_nobody_sends_nothing(api: Api) -> None:
    """Without a token the body is not even read."""
    read = 0

    async def content() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 1000

    answer = await send_raw(api, content(), Authorization="Bearer x")
    assert_problem(answer, 401, "bad_token")
    assert read == 0
    assert left(api) == []


async def test_the_limit_of_an_upload(make_api: MakeApi, parts: ApiParts) -> None:
    """Over it: 413 by the length that is told, or by what comes; other requests keep their limit."""
    limit = 2 * SMALL_BYTES
    api = await make_api(replace(parts, settings=replace(parts.settings, max_upload_bytes=limit)))
    await api.log_in()
    project = await api.project()
    row = DATA.splitlines(keepends=True)[1]
    assert (await accepted(api, project, DATA + row * (limit // len(row) - 10)))["bytes_total"] > SMALL_BYTES
    large = DATA + row * (4 * SMALL_BYTES // len(row))
    told = assert_problem(await send(api, project, large), 413, "body_too_large")["detail"]
    assert str(limit) in told

    async def unknown_length() -> AsyncIterator[bytes]:
        whole = body(("file", large, NAME))
        for at in range(0, len(whole), 65_536):
            yield whole[at : at + 65_536]

    assert_problem(await send_raw(api, unknown_length()), 413, "body_too_large")
    answer = await api.http.post(f"/v1/uploads/{'x' * 20}/cancel", content=b"x" * (SMALL_BYTES + 1))
    assert_problem(answer, 413, "body_too_large")
    assert len(left(api)) == 1


async def test_a_broken_connection_leaves_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is gone in the middle of the file, or falls silent: the file is deleted."""
    half = body(("file", sample(3000), NAME))[:100_000]
    there: list[list[str]] = []

    async def gone() -> AsyncIterator[bytes]:
        yield half
        for _ in range(1000):
            if left(api):
                break
            await asyncio.sleep(0.01)
        there.append(left(api))
        raise ClientDisconnect

    with contextlib.suppress(ClientDisconnect):
        await send_raw(api, gone())
    assert [len(found) for found in there] == [1]
    refused(api)
    monkeypatch.setattr(receive, "IDLE_S", 0.2)

    async def silent() -> AsyncIterator[bytes]:
        yield half
        await asyncio.sleep(30)

    # the transport of the tests reads on while the answer is made, as a server does
    answer = await asyncio.wait_for(send_raw(api, silent()), 60)
    assert_problem(answer, 400, "incomplete_body")
    refused(api)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_told(api: Api) -> None:
    """507 and nothing left, whether it fills in the middle or when the last bytes are written."""
    project = await api.project()
    large = sample(30_000)
    for size in (1_000_000, 100_000):
        with files_up_to(size):
            answer = await send(api, project, large if size == 1_000_000 else sample(1500))
        assert_problem(answer, 507, "no_room")
        assert "Retry-After" in answer.headers
        refused(api)


async def test_free_space_is_looked_at_first(make_api: MakeApi, parts: ApiParts) -> None:
    """What would not fit is refused before it is read."""
    api = await make_api(replace(parts, settings=replace(parts.settings, uploads_reserve_bytes=1 << 62)))
    await api.log_in()
    assert_problem(await send(api, await api.project(), DATA), 507, "no_room")
    refused(api)


async def test_memory_stays_small(api: Api) -> None:
    """A file of 40 MB is never held: what is held meanwhile is a small part of it."""
    row = DATA.splitlines(keepends=True)[1] * 8000
    given = [(name, value, None) for name, value in fields(await api.project()).items()]
    head = body(*given, ("file", DATA, NAME), end=False)

    async def content() -> AsyncIterator[bytes]:
        yield head.removesuffix(b"\r\n")
        for _ in range(40_000_000 // len(row)):
            yield row
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    tracemalloc.start()
    try:
        answer = await send_raw(api, content())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 202, answer.text
    assert answer.json()["bytes_total"] > 35_000_000
    assert peak < 12_000_000


async def test_personal_data_is_in_no_answer_and_no_table(api: Api, tmp_path: Path) -> None:
    """Neither the header's faults nor what is recorded repeats a value of a row."""
    project = await api.project()
    headless = table([payment(1)]).split(b"\r\n")[1]
    answer = await send(api, project, headless)
    assert_problem(answer, 422, "invalid")
    assert "Secret Name" not in answer.text
    made = await accepted(api, project, DATA)
    listed = (await api.http.get("/v1/uploads")).text + (await api.http.get(f"/v1/uploads/{made['id']}")).text
    assert "Secret Name" not in listed
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            assert b"Secret Name" not in await asyncio.to_thread(Path(folder, name).read_bytes), name
