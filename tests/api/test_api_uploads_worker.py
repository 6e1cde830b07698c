"""Uploads on their way into the topic: what is published, what waits, what is lost, what a crash leaves."""

import asyncio
import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from api_helpers import Api, MakeApi, assert_problem, record_headers, topic_records
from sqlalchemy import select, update
from sqlalchemy.exc import InternalError
from uploads import NAME, WORKBOOK, accepted, kept, left, sample, workbook

from api.datasets.rotation import seal_anew
from api.datasets.runs import SqlRunStore
from api.db import now_ms
from api.ops.readiness import Readiness
from api.parts import ApiParts, FileParts
from api.sealing import CredentialBox
from api.tables import Run, RunFile, Upload
from api.uploads import assembly, tidy, worker
from api.uploads.repository import Job, UploadStore
from api.uploads.spool import Incoming, Spool
from api.uploads.worker import UploadWorker
from producers import tabular
from producers.contracts import FileState
from producers.publisher import Publisher
from producers.rows import RowRecords
from schemas import fields
from schemas.personal import Pseudonymizer, Sealer
from tests.support.workers import payment, wait_until

ROWS = 25


class Desk:
    """An application with the worker beside it, stepped by hand; its datasets are announced."""

    def __init__(self, api: Api, publisher: Publisher, kafka: str) -> None:
        self.api = api
        self.publisher = publisher
        self.settings = api.running.parts.settings
        self.topic = f"{self.settings.topic_prefix}payments"
        self.kafka = kafka
        self.unjudged: Callable[[], int] = lambda: 0
        self.box = api.running.box

    def worker(self) -> UploadWorker:
        """A worker that has just been started."""
        rows = RowRecords(
            self.topic, Pseudonymizer(self.settings.pseudonym_secret), Sealer(self.settings.seal_secret)
        )
        running = self.api.running
        spool = Spool(self.settings.uploads_directory, 0)
        return UploadWorker(running.db, self.box, spool, self.publisher, rows, self.unjudged)

    async def step(self) -> int:
        """One look of a worker that has just been started."""
        return await asyncio.to_thread(self.worker().step)

    async def send(self, rows: int = ROWS, **changes: Any) -> dict[str, Any]:
        """An upload to a new project's dataset that the streams know."""
        made = await accepted(self.api, await self.api.project(), sample(rows), **changes)
        await self.api.announce()
        return made

    def upload(self, upload_id: str) -> Upload:
        """The record of an upload."""
        with self.api.running.db.read() as session:
            return session.scalars(select(Upload).where(Upload.id == upload_id)).one()

    def file(self, upload: Upload) -> RunFile:
        """The record of its file."""
        with self.api.running.db.read() as session:
            return session.scalars(select(RunFile).where(RunFile.run_id == upload.run_id)).one()

    def run(self, upload: Upload) -> Run:
        """The record of its run."""
        with self.api.running.db.read() as session:
            return session.scalars(select(Run).where(Run.id == upload.run_id)).one()

    def lines(self) -> dict[str, list[int]]:
        """Lines of all records in the topic by upload, redeliveries too."""
        found: dict[str, list[int]] = {}
        for record in topic_records(self.kafka, self.topic):
            head = record_headers(record)
            found.setdefault(head["source_ref"].split("/")[2], []).append(int(head["line"]))
        return {upload_id: sorted(lines) for upload_id, lines in found.items()}


@pytest.fixture
async def desk(make_api: MakeApi, brokered: ApiParts, publisher: Publisher, endpoints: Any) -> Desk:
    """One application with a broker, its worker not started."""
    api = await make_api(brokered)
    await api.log_in()
    return Desk(api, publisher, endpoints.kafka)


async def test_sheets_that_are_not_read_are_told(desk: Desk) -> None:
    """At once in the answer, then in the upload, its run and its file; the first sheet's rows count."""
    data = workbook([payment(1), payment(2)], "Jane Doe", "June")
    made = await accepted(desk.api, await desk.api.project(), data, name=WORKBOOK)
    told = "only the first visible sheet is read; not read, to be sent as files of their own: 2"
    assert (made["state"], made["detail"]) == ("waiting", told)
    await desk.api.announce()
    assert await desk.step() == 1
    upload = desk.upload(made["id"])
    assert (upload.state, upload.rows_read, upload.error) == ("published", 2, None)
    assert {upload.detail, desk.run(upload).detail, desk.file(upload).detail} == {told}


async def test_rows_are_published_with_their_lineage(desk: Desk) -> None:
    """Each row once, with file and line, personal values sealed; then key and file are gone."""
    made = await desk.send()
    assert await desk.step() == 1
    records = topic_records(desk.kafka, desk.topic)
    heads = [record_headers(record) for record in records]
    assert sorted(int(head["line"]) for head in heads) == list(range(2, ROWS + 2))
    head = heads[0]
    assert {head[name] for name in ("source", "source_ref", "dataset_id")} == {
        "upload", made["source_ref"], made["dataset_id"]
    }  # fmt: skip
    assert not any(b"Secret Name" in (record.value() or b"") for record in records)
    assert left(desk.api) == []
    upload = desk.upload(made["id"])
    assert (upload.state, upload.sealed_key, upload.rows_read) == ("published", "", ROWS)
    assert upload.bytes_read == upload.bytes_total
    file, run = desk.file(upload), desk.run(upload)
    assert (file.state, file.received, file.content_hash) == ("done", ROWS, made["content_hash"])
    assert (run.state, run.trigger) == ("done", "upload")
    assert await desk.step() == 0


async def test_the_same_file_twice_is_received_twice(desk: Desk) -> None:
    """Another upload is another file: its rows are received rows, and end as duplicates."""
    project = await desk.api.project()
    one, two = [await accepted(desk.api, project, sample(3)) for _ in range(2)]
    await desk.api.announce()
    assert await desk.step() == 2
    assert desk.lines() == {one["id"]: [2, 3, 4], two["id"]: [2, 3, 4]}


async def test_a_new_dataset_waits_until_the_streams_know_it(desk: Desk) -> None:
    """Its rows would be refused first; and nobody but the worker takes the run of an upload."""
    made = await accepted(desk.api, await desk.api.project(), sample(3))
    assert await desk.step() == 0
    assert desk.upload(made["id"]).state == "waiting"
    await desk.api.announce()
    assert await desk.step() == 1


async def test_a_pause_in_the_middle_waits_and_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brake pauses the dataset while its file is held back: published again when it is active."""
    monkeypatch.setattr("producers.pace.FIRST_ROWS", 10)
    monkeypatch.setattr(tabular, "ROWS_AT_ONCE", 10)
    made = await desk.send()
    path = f"/v1/datasets/{made['dataset_id']}"
    looked = threading.Event()

    def unjudged() -> int:
        looked.set()
        return 100

    desk.unjudged = unjudged
    step = asyncio.create_task(desk.step())
    await asyncio.to_thread(looked.wait, 60)
    await desk.api.http.patch(path, json={"state": "paused"})
    assert await step == 0
    upload = desk.upload(made["id"])
    assert (upload.state, desk.file(upload).received) == ("waiting", 10)
    assert kept(desk.api) == [made["id"]]
    assert await desk.step() == 0
    await desk.api.http.patch(path, json={"state": "active"})
    await desk.api.announce()
    desk.unjudged = lambda: 0
    assert await desk.step() == 1
    assert desk.file(upload).received == ROWS
    lines = desk.lines()[made["id"]]
    assert len(lines) == ROWS + 10
    assert set(lines) == set(range(2, ROWS + 2))


async def test_an_upload_can_be_cancelled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting or in the middle: it ends, its file is deleted, what was published stays; an end is final."""
    monkeypatch.setattr(worker, "PROGRESS_S", 0.0)
    monkeypatch.setattr("producers.pace.FIRST_ROWS", 10)
    monkeypatch.setattr(tabular, "ROWS_AT_ONCE", 10)
    waiting = await desk.send()
    path = f"/v1/uploads/{waiting['id']}/cancel"
    assert (await desk.api.http.post(path)).json()["state"] == "cancelled"
    assert (await desk.api.http.post(path)).status_code == 200
    assert await desk.step() == 0
    assert left(desk.api) == []
    going = await desk.send()
    looked, cancelled = threading.Event(), threading.Event()

    def unjudged() -> int:
        looked.set()
        return 0 if cancelled.is_set() else 100

    desk.unjudged = unjudged
    step = asyncio.create_task(desk.step())
    await asyncio.to_thread(looked.wait, 60)
    answer = await asyncio.create_task(desk.api.http.post(f"/v1/uploads/{going['id']}/cancel"))
    assert answer.status_code in (200, 503)  # its counts are in ClickHouse, which is not here
    cancelled.set()
    await step
    upload = desk.upload(going["id"])
    assert (upload.state, upload.sealed_key, desk.run(upload).state) == ("cancelled", "", "failed")
    assert left(desk.api) == []
    assert (desk.file(upload).state, desk.file(upload).received) == ("replaced", 10)
    done = await desk.send()
    desk.unjudged = lambda: 0
    await desk.step()
    assert_problem(await desk.api.http.post(f"/v1/uploads/{done['id']}/cancel"), 409, "conflict")
    actions = (await desk.api.http.get("/v1/audit", params={"action": "upload.cancelled"})).json()["items"]
    assert {entry["subject"] for entry in actions} == {waiting["id"], going["id"]}


async def test_a_file_that_is_gone_or_damaged_fails(desk: Desk) -> None:
    """The upload says so and asks for the file again; others are published."""
    gone, cut, changed, fine = [await desk.send(7000) for _ in range(4)]
    directory = desk.settings.uploads_directory

    def damage() -> None:
        (directory / gone["id"]).unlink()
        os.truncate(directory / cut["id"], 300_000)
        with (directory / changed["id"]).open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\0" * 50)

    await asyncio.to_thread(damage)
    await desk.step()
    for made, told in ((gone, "gone from the spool"), (cut, "damaged, or cut off"), (changed, "damaged")):
        upload = desk.upload(made["id"])
        assert (upload.state, desk.run(upload).state) == ("failed", "failed")
        assert told in (upload.detail or "")
        assert "send it again" in (upload.detail or "")
    assert desk.file(desk.upload(changed["id"])).state == "replaced"
    assert desk.upload(fine["id"]).state == "published"
    assert left(desk.api) == []


async def test_another_directory_is_given_up_when_nobody_has_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour unseen by any process, by one that itself has been there for so long: lost, and told."""
    made = await desk.send()

    def move() -> None:
        with desk.api.running.db.write() as session:
            session.execute(update(Upload).values(spool="spl_other", seen_at=now_ms()))

    await asyncio.to_thread(move)
    found = desk.worker()
    late = now_ms() + tidy.LOST_AFTER + timedelta(minutes=1)
    monkeypatch.setattr(found._tidier, "_now", lambda: late)
    monkeypatch.setattr(found._tidier, "_began", late)
    await asyncio.to_thread(found.step)
    assert desk.upload(made["id"]).state == "waiting", "the process has just been started"
    monkeypatch.setattr(found._tidier, "_began", now_ms())
    monkeypatch.setattr(found._tidier, "_tidied", float("-inf"))
    await asyncio.to_thread(found.step)
    upload = desk.upload(made["id"])
    assert upload.state == "failed"
    assert "no process has had the file for half an hour" in (upload.detail or "")


async def test_files_that_no_upload_wants_are_deleted(desk: Desk) -> None:
    """What a process left that died before 202 is cleared up; what is being received is left alone."""
    spool = desk.api.running.spool
    dead, alive = (spool.receive(f"upl_{digit * 26}", bytes(32)) for digit in "01")
    dead.write(b"x")
    dead.close()
    await desk.step()
    assert kept(desk.api) == [f"upl_{'1' * 26}"]
    alive.discard()
    assert left(desk.api) == []


async def test_faults_of_one_upload_are_told_and_stop_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that newer code refuses, and a fault of ours without its message: both end failed."""
    first = await desk.send()
    asked = {**fields.PROFILES, "upload": fields.PROFILES["upload"] | {"REFERENCE_ID"}}
    with monkeypatch.context() as patch:
        patch.setattr("producers.header.PROFILES", asked)
        await desk.step()
    upload = desk.upload(first["id"])
    assert (upload.state, upload.error) == ("failed", "bad_header")
    assert "'REFERENCE_ID' is missing" in (upload.detail or "")
    assert (desk.file(upload).state, desk.file(upload).error) == ("done", "bad_header")
    second = await desk.send()
    with monkeypatch.context() as patch:
        patch.setattr(RowRecords, "of", lambda *_: 1 / int("0" * len("Secret Name")))
        await desk.step()
    upload = desk.upload(second["id"])
    assert (upload.detail or "").startswith("unexpected ZeroDivisionError")
    assert desk.file(upload).state == "replaced"
    await desk.send()
    assert await desk.step() == 1
    assert left(desk.api) == []


async def test_what_broke_off_unrecorded_is_not_told_as_published(desk: Desk) -> None:
    """Dead before its rows were recorded, then cancelled or lost: its receipt looks for them."""
    cancelled, lost = [await desk.send() for _ in range(2)]
    for _ in (cancelled, lost):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SqlRunStore, "advance", dies)
            with pytest.raises(Death):
                await desk.step()
        if not lost.get("gone"):
            await desk.api.http.post(f"/v1/uploads/{cancelled['id']}/cancel")
            lost["gone"] = True
    (desk.settings.uploads_directory / lost["id"]).unlink()
    await desk.step()
    for made, state in ((cancelled, "cancelled"), (lost, "failed")):
        upload = desk.upload(made["id"])
        assert (upload.state, desk.file(upload).state) == (state, "replaced")
    assert {upload_id: len(lines) for upload_id, lines in desk.lines().items()} == {
        cancelled["id"]: ROWS, lost["id"]: ROWS
    }  # fmt: skip


async def test_no_fault_ends_the_thread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory cannot be listed, one upload cannot be begun: told, the others published, tried again."""
    stuck, fine = [await desk.send() for _ in range(2)]
    broken = threading.Event()
    broken.set()
    listed, began = Spool.uploads, UploadStore.begin

    def uploads(self: Spool) -> list[str]:
        if broken.is_set():
            raise OSError(errno.EMFILE, "Secret Name")
        return listed(self)

    def begin(self: UploadStore, job: Job) -> bool:
        if broken.is_set() and job.id == stuck["id"]:
            raise InternalError("Secret Name", None, Exception())
        return began(self, job)

    monkeypatch.setattr(Spool, "uploads", uploads)
    monkeypatch.setattr(UploadStore, "begin", begin)
    found = desk.worker()
    with structlog.testing.capture_logs() as told:
        thread = threading.Thread(target=found.run, daemon=True)
        thread.start()
        try:
            await asyncio.to_thread(wait_until, lambda: desk.upload(fine["id"]).state == "published", 60)
            assert desk.upload(stuck["id"]).state == "waiting"
            broken.clear()
            await asyncio.to_thread(wait_until, lambda: desk.upload(stuck["id"]).state == "published", 60)
        finally:
            found.stop()
            await asyncio.to_thread(thread.join, 60)
    faults = {(line["event"], line["error"]) for line in told if line["log_level"] == "error"}
    assert faults == {("upload_tidying_failed", "OSError"), ("upload_not_served", "InternalError")}
    assert "Secret Name" not in str(told)


async def test_readiness_knows_the_thread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not begun or ended, and without a sign of life for too long: not ready, by the name of the fault."""
    running = desk.api.running
    parts = replace(running.parts, files=FileParts(desk.publisher, lambda: 0))
    files = assembly.UploadThread(parts, running.db, running.box, running.spool)
    readiness = Readiness({})
    readiness.add("uploads", files.check)
    assert await readiness.ask() == {"uploads": "UploadThreadEnded"}
    files.start()
    assert await readiness.ask() == {"uploads": "ok"}
    with monkeypatch.context() as patch:
        patch.setattr(assembly, "QUIET_S", -1.0)
        assert await readiness.ask() == {"uploads": "UploadThreadHangs"}
    await asyncio.to_thread(files.stop)
    assert await readiness.ask() == {"uploads": "UploadThreadEnded"}


async def test_202_is_answered_though_the_worker_is_at_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload is on record and its file claimed at once; ClickHouse, which is away, is not asked."""
    closed = Incoming.close

    def close(incoming: Incoming) -> None:
        closed(incoming)
        with desk.api.running.db.read() as session:
            upload = session.scalars(select(Upload)).one()
        SqlRunStore(desk.api.running.db).claim(upload.run_id, upload.dataset_id, "upload", "upload://x")

    monkeypatch.setattr(Incoming, "close", close)
    made = await accepted(desk.api, await desk.api.project(), sample(3))
    assert (made["state"], made["received"], made["quarantined"]) == ("waiting", 0, 0)
    assert (await desk.api.http.get(f"/v1/uploads/{made['id']}")).status_code == 503


async def test_a_new_key_opens_what_waits(desk: Desk) -> None:
    """Keys of files under way are sealed anew with the credentials: published without the key before."""
    made = await desk.send()
    running, new = desk.api.running, secrets.token_bytes(32)
    both = CredentialBox(new, desk.settings.credential_key)
    assert await asyncio.to_thread(seal_anew, running.db, both) >= 1
    assert await asyncio.to_thread(seal_anew, running.db, both) == 0
    desk.box = CredentialBox(new)
    assert await desk.step() == 1
    assert desk.upload(made["id"]).state == "published"
    assert await asyncio.to_thread(seal_anew, running.db, CredentialBox(secrets.token_bytes(32), new)) == 1


async def test_processes_share_a_directory(desk: Desk) -> None:
    """A file is published by one of them at a time; each may take what another left."""
    made = await desk.send()
    spool = Spool(desk.settings.uploads_directory, 0)
    assert spool.id == desk.api.running.spool.id
    with spool.held(made["id"]) as mine:
        assert mine
        assert await desk.step() == 0
    assert await desk.step() == 1


class Death(BaseException):
    """The process dies here."""


def dies(*_: Any, **__: Any) -> None:
    """A step that is never recorded."""
    raise Death


@contextmanager
def dying_at(number: int, after: bool) -> Iterator[list[str]]:
    """Every step that is recorded counts; at one of them the process dies, before it or after."""
    done: list[str] = []

    def counted(kind: type, name: str) -> Callable[..., Any]:
        real = getattr(kind, name)

        def call(self: Any, *args: Any, **more: Any) -> Any:
            done.append(name)
            if len(done) == number and not after:
                raise Death
            answer = real(self, *args, **more)
            if len(done) == number:
                raise Death
            return answer

        return call

    steps = [(UploadStore, name) for name in ("seen", "jobs", "begin", "progress", "end", "close_file")]
    steps += [(SqlRunStore, name) for name in ("claim", "advance")]  # type: ignore[list-item]
    steps += [(Spool, "remove")]  # type: ignore[list-item]
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in steps:
            patch.setattr(kind, name, counted(kind, name))
        yield done


async def test_death_at_every_step(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dying before or after any record, or between rows: the upload ends published, each line once."""
    monkeypatch.setattr(tabular, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(worker, "PROGRESS_S", 0.0)
    project = await desk.api.project()
    number, died, made_ids = 0, True, []
    while died:
        number += 1
        for after in (False, True):
            made = await accepted(desk.api, project, sample(ROWS))
            await desk.api.announce()
            died = False
            with dying_at(number, after):
                try:
                    await desk.step()
                except Death:
                    died = True
            await desk.step()
            upload = desk.upload(made["id"])
            assert (upload.state, upload.rows_read, upload.sealed_key) == ("published", ROWS, "")
            assert (desk.file(upload).state, desk.file(upload).received) == (FileState.DONE, ROWS)
            assert desk.run(upload).state == "done"
            assert left(desk.api) == []
            made_ids.append(made["id"])
    assert number > 10
    lines = desk.lines()
    assert sorted(lines) == sorted(made_ids)
    assert all(set(found) == set(range(2, ROWS + 2)) for found in lines.values())


async def test_an_application_publishes_by_itself(
    make_api: MakeApi, whole: ApiParts, publisher: Publisher
) -> None:
    """The worker starts and ends with the application; until its rows are judged an upload is `storing`."""
    api = await make_api(replace(whole, files=FileParts(publisher, lambda: 0)))
    await api.log_in()
    made = await accepted(api, await api.project(), sample(ROWS))
    await api.announce()

    def published() -> bool:
        with api.running.db.read() as session:
            return session.scalars(select(Upload.state)).one() == "published"

    await asyncio.to_thread(wait_until, published, 60)
    shown = (await api.http.get(f"/v1/uploads/{made['id']}")).json()
    assert (shown["state"], shown["received"], shown["accepted"]) == ("storing", ROWS, 0)
    assert (await api.http.get("/readyz")).json()["parts"]["uploads"] == "ok"
    assert (await api.http.get("/v1/uploads")).json()["items"][0]["state"] == "published"
    assert shown["source_ref"].endswith(f"/{NAME}@{made['content_hash'][:16]}")
