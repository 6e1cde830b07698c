"""A place in a bucket belongs to one dataset; credentials outlive the key they were sealed with."""

import asyncio
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem
from sqlalchemy import select, text

from api import migrate
from api.datasets.places import place_hash
from api.datasets.rotation import seal_anew
from api.datasets.source import SqlDatasetSource
from api.db import Database
from api.models import Dataset
from api.parts import ApiParts
from api.sealing import CredentialBox
from sunledger.settings import ProducersSettings, load

KEYS = {"access_key": "AKEY-1", "secret_key": "SKEY-1"}


def place(**given: str) -> dict[str, Any]:
    """A place as a client sends it."""
    return {"s3": {"bucket": "shared", **KEYS, **given}}


async def refused(api: Api, project: dict[str, Any], **given: str) -> dict[str, Any]:
    """The answer to a dataset whose place is taken."""
    body = {"name": "n", "provider": "p", "source": "s3", "type": "electricity_payments", "target": "project",
            "organization_id": project["organization_id"], "project_ids": [project["id"]]}  # fmt: skip
    return assert_problem(await api.http.post("/v1/datasets", json=body | place(**given)), 409, "place_taken")


async def test_one_dataset_for_each_bucket_and_prefix(api: Api) -> None:
    """However it is written, and whoever has it: a place is taken once, and nothing tells by whom."""
    project, stranger = await api.project(), await api.project()
    assert project["organization_id"] != stranger["organization_id"]
    made = await api.dataset(project, **place(prefix="in/site", region="eu-west-1"))
    for same in ("in/site/", "/in/site", "in/site"):
        answer = await refused(api, stranger, prefix=same)
        assert made["id"] not in str(answer)
        assert project["organization_id"] not in str(answer)
    await refused(api, project, prefix="in/site", endpoint_url="https://s3.eu-west-1.amazonaws.com")
    for other in ("in/site/deeper", "in", "in/Site", ""):
        await api.dataset(stranger, **place(prefix=other))
    await api.dataset(project, **place(bucket="another", prefix="in/site"))


async def test_a_place_changes_hands_when_it_is_left(api: Api) -> None:
    """Moving away or archiving frees it; neither moving back nor restoring takes it from its new dataset."""
    project = await api.project()
    first = f"/v1/datasets/{(await api.dataset(project, **place()))['id']}"
    assert (await api.http.patch(first, json=place(prefix="elsewhere"))).status_code == 200
    second = f"/v1/datasets/{(await api.dataset(project, **place()))['id']}"
    assert_problem(await api.http.patch(first, json=place()), 409, "place_taken")
    assert (await api.http.get(first)).json()["s3"]["prefix"] == "elsewhere", "nothing was changed"
    await api.http.delete(second)
    assert (await api.http.patch(first, json=place())).status_code == 200
    assert_problem(await api.http.patch(second, json={"archived": False}), 409, "place_taken")
    moved = await api.http.patch(second, json={"archived": False, **place(prefix="new")})
    assert moved.status_code == 200, moved.text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://store.test", "http://STORE.test:80/", True),
        ("http://store.test:443", "https://store.test", True),
        ("http://store.test:9000", "http://store.test", False),
        (None, "https://s3.amazonaws.com", True),
        (None, "https://b.s3.eu-west-1.amazonaws.com/", True),
        (None, "https://amazonaws.com.example.org", False),
    ],
)
def test_places_are_compared_by_what_they_mean(one: str | None, other: str | None, same: bool) -> None:
    """Two spellings of one store are one place."""
    hashes = {place_hash({"endpoint_url": url, "bucket": "b", "prefix": "p"}) for url in (one, other)}
    assert (len(hashes) == 1) is same


def test_datasets_that_shared_a_place_before(tmp_path: Path) -> None:
    """The upgrade keeps them all; the oldest has the place, so that no new one gets it."""
    url = f"sqlite:///{tmp_path}/x.db"
    migrate.upgrade(url, "0007")
    db = Database(url)
    with db.write() as session:
        session.execute(
            text("INSERT INTO organizations (id, name, version, archived, created_at, changed_at) VALUES"
                 " ('org_1', 'n', 1, 0, '2024-01-01', '2024-01-01')")
        )  # fmt: skip
        for number in (1, 2, 3):
            session.execute(
                text("INSERT INTO datasets (id, organization_id, name, provider, source, type, target,"
                     " project_ids, id_namespace, conflict_rule, schedule, state, location,"
                     " sealed_credentials, version, archived, created_at, changed_at) VALUES"
                     f" ('ds_{number}', 'org_1', 'n', 'p', 's3', 't', 'project', '[]', '', '{{}}', 'daily',"
                     """ 'active', '{"bucket": "b", "prefix": "", "endpoint_url": null}', '', 1,"""
                     f" {int(number == 1)}, '2024-01-01', '2024-01-01')")
            )  # fmt: skip
        for at in ("2024-05-01 10:00:00", "2024-05-02 10:00:00"):
            session.execute(
                text("INSERT INTO runs (id, dataset_id, \"trigger\", state, created_at)"
                     f" VALUES ('run_{at[9]}', 'ds_2', 'schedule', 'done', '{at}')")
            )  # fmt: skip
    migrate.upgrade(url)
    with db.read() as session:
        hashes = [dataset.place_hash for dataset in session.scalars(select(Dataset).order_by(Dataset.id))]
        polls = session.execute(text("SELECT dataset_id, scheduled_at FROM dataset_polls")).all()
    assert hashes[0] == hashes[1] is not None, "an archived one is in nobody's way"
    assert hashes[2] is None
    assert [tuple(poll) for poll in polls] == [("ds_2", "2024-05-02 10:00:00")], "it is not due at once"
    db.close()


async def test_a_new_key_takes_over(make_api: MakeApi, parts: ApiParts) -> None:
    """With the key before set, credentials open; sealed anew, they open without it."""
    api = await make_api(parts)
    await api.log_in()
    made = await api.dataset(await api.project(), **place())
    broken = await api.dataset(await api.project(), **place(bucket="broken"))
    await api.announce()
    old, new = parts.settings.credential_key, secrets.token_bytes(32)

    def work() -> None:
        db = Database(parts.sql_url)
        with db.write() as session:
            session.get_one(Dataset, _number(session, broken["id"])).sealed_credentials = "v1.none"

        def opened(*keys: bytes) -> list[str]:
            return [
                found.location.secret_key for found in SqlDatasetSource(db, CredentialBox(*keys)).active()
            ]

        assert opened(new) == []
        assert opened(new, old) == ["SKEY-1"]
        assert seal_anew(db, CredentialBox(new)) == 0, "nothing is lost by a key that opens nothing"
        assert opened(new, old) == ["SKEY-1"]
        assert seal_anew(db, CredentialBox(new, old)) == 1
        assert opened(new) == ["SKEY-1"]
        assert opened(old) == []
        assert seal_anew(db, CredentialBox(new, old)) == 0
        db.close()

    await asyncio.to_thread(work)
    assert made["id"]


def _number(session: Any, dataset_id: str) -> int:
    """The key of a dataset's row."""
    return int(session.scalars(select(Dataset.number).where(Dataset.id == dataset_id)).one())


def test_both_keys_come_from_the_settings() -> None:
    """The new key first; without one before there is one; neither is ever shown."""
    one, other = (urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    given = {"kafka": "k:1", "sql_url": "sqlite://", "pseudonym_secret": one, "seal_secret": one}
    made = load(ProducersSettings, **given, credential_key=one, credential_key_before=other)
    assert made.credential_keys() == (b"\1" * 32, b"\2" * 32)
    assert other not in repr(made)
    assert load(ProducersSettings, **given, credential_key=one).credential_keys() == (b"\1" * 32,)
