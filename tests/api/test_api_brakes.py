"""Datasets that the workers call failing are paused, once, and only as they were when they failed."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from api_helpers import Api, assert_problem, until

from api.brakes import BrakeKeeper, pause
from producers.publisher import Publisher, Record
from schemas.alerts import DatasetFailing
from schemas.topics import ALERTS
from sunledger.embedded.stack import Endpoints


def alert(dataset: dict[str, Any], **changes: Any) -> DatasetFailing:
    """What a worker says of a dataset."""
    return DatasetFailing(
        **{
            "organization_id": dataset["organization_id"], "dataset_id": dataset["id"],
            "dataset_version": dataset["version"], "topic": "payments", "rows": 1000, "bad": 812, "run": 40,
            "reasons": ["bad_decimal:PAYMENT_AMOUNT"], "at": datetime.now(UTC), **changes,
        }
    )  # fmt: skip


async def paused(api: Api, given: DatasetFailing) -> bool:
    """Act on an alert."""

    def act() -> bool:
        with api.running.db.write() as session:
            return pause(session, given)

    return await asyncio.to_thread(act)


async def test_a_failing_dataset_is_paused_and_says_why(api: Api) -> None:
    """It takes no run until somebody resumes it; resuming clears the reason."""
    dataset = await api.dataset(await api.project())
    path = f"/v1/datasets/{dataset['id']}"
    assert dataset["state_detail"] == ""
    assert await paused(api, alert(dataset))
    now = (await api.http.get(path)).json()
    assert (now["state"], now["version"]) == ("paused", 2)
    assert "812 of the latest 1000 rows refused" in now["state_detail"]
    assert "bad_decimal:PAYMENT_AMOUNT" in now["state_detail"]
    refused = assert_problem(await api.http.post(f"{path}/run"), 409, "conflict")
    assert "812 of the latest 1000" in refused["detail"]
    (act,) = (await api.http.get("/v1/audit?action=dataset.pause")).json()["items"]
    assert (act["user_id"], act["subject"], act["details"]) == (
        "brake", dataset["id"], {"reason": now["state_detail"]},
    )  # fmt: skip
    listed = (await api.http.get("/v1/datasets?state=paused")).json()["items"]
    assert [item["id"] for item in listed] == [dataset["id"]]
    resumed = (await api.http.patch(path, json={"state": "active"})).json()
    assert (resumed["state"], resumed["state_detail"], resumed["version"]) == ("active", "", 3)
    assert (await api.http.post(f"{path}/run")).status_code == 202


async def test_an_alert_pauses_once_and_nothing_else(api: Api) -> None:
    """Not again when it is repeated, not a newer version, not another organisation's, nor what is gone."""
    project, other = await api.project(), await api.project()
    dataset = await api.dataset(project)
    path = f"/v1/datasets/{dataset['id']}"
    assert not await paused(api, alert(dataset, organization_id=other["organization_id"]))
    assert not await paused(api, alert(dataset, dataset_id=""))
    assert not await paused(api, alert(dataset, dataset_id="ds_nothing"))
    assert await paused(api, alert(dataset))
    assert not await paused(api, alert(dataset))
    resumed = (await api.http.patch(path, json={"state": "active"})).json()
    assert not await paused(api, alert(dataset)), "resumed since"
    await api.http.delete(path)
    assert not await paused(api, alert({**resumed, "version": resumed["version"] + 1}))


@asynccontextmanager
async def keeping(api: Api, endpoints: Endpoints, prefix: str) -> AsyncIterator[threading.Thread]:
    """A keeper at work."""
    keeper = BrakeKeeper(api.running.db, endpoints.kafka, prefix)
    thread = threading.Thread(target=keeper.run)
    thread.start()
    yield thread
    keeper.stop()
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()


async def test_the_keeper_reads_the_topic(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Garbage is passed by, what came while no keeper ran is acted on, the next one repeats nothing."""
    api = brokered_api
    project = await api.project()
    first, second = await api.dataset(project), await api.dataset(project)
    topic = ALERTS.full_name(kafka_prefix)

    async def tell(*values: bytes) -> None:
        await publisher.publish_all([Record(topic, b"k", value) for value in values], 30)

    async def is_paused(dataset: dict[str, Any]) -> bool:
        answer = await api.http.get(f"/v1/datasets/{dataset['id']}")
        return bool(answer.json()["state"] == "paused")

    await tell(b"", b"nonsense", b"{}", b"\xff", alert(first).model_dump_json().encode())
    async with keeping(api, endpoints, kafka_prefix):
        await until(lambda: is_paused(first), 60)
    await api.http.patch(f"/v1/datasets/{first['id']}", json={"state": "active"})
    async with keeping(api, endpoints, kafka_prefix):
        await tell(alert(second).model_dump_json().encode())
        await until(lambda: is_paused(second), 60)
    assert not await is_paused(first)
