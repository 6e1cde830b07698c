"""The contract and the templates, as anybody downloads them."""

from dataclasses import replace
from typing import Any, get_args

import pytest
import yaml
from api_helpers import Api, MakeApi, assert_problem

from api.parts import ApiParts
from producers.template_names import TemplateProfile
from producers.templates import payments_template
from schemas.documents import DIALECT, payment_schema, schemas_by_topic
from schemas.fields import PROFILES


@pytest.fixture
def anybody(api: Api) -> Any:
    """A client without a token."""
    del api.http.headers["Authorization"]
    return api.http


def _addresses(index: dict[str, Any]) -> list[str]:
    return [address for group in index.values() for address in group.values()]


async def test_everything_the_index_names_is_there(anybody: Any) -> None:
    """Without a login, each with an ETag that a second request may come with."""
    index = (await anybody.get("/schemas/")).json()
    assert set(index["topics"]) == set(schemas_by_topic())
    assert set(index["payments"]) == set(PROFILES)
    for address in _addresses(index):
        assert (await anybody.get(address)).status_code == 200, address
    for address in ["/schemas/", *index["asyncapi"].values(), *index["topics"].values()]:
        answer = await anybody.get(address)
        etag = answer.headers["etag"]
        for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
            again = await anybody.get(address, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), known
        assert (await anybody.get(address, headers={"If-None-Match": '"x"'})).content == answer.content


async def test_schemas_are_those_of_the_code(anybody: Any) -> None:
    """Per topic, and for payments per profile."""
    for topic, schema in schemas_by_topic().items():
        assert (await anybody.get(f"/schemas/{topic}.json")).json() == schema
    for profile in PROFILES:
        answer = await anybody.get(f"/schemas/payments/{profile}.json")
        assert answer.json() == {"$schema": DIALECT, **payment_schema(profile)}
        assert answer.headers["content-type"] == "application/json"


async def test_the_document_names_this_installations_topics(make_api: MakeApi, parts: ApiParts) -> None:
    """With its prefix, the same as JSON and as YAML."""
    api = await make_api(settings=replace(parts.settings, topic_prefix="site1."))
    document = (await api.http.get("/schemas/asyncapi.json")).json()
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["payments"]["address"] == "site1.payments"
    answer = await api.http.get("/schemas/asyncapi.yaml")
    assert answer.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(answer.text) == document


@pytest.mark.parametrize(
    "path",
    ["x.json", "payments/ftp.json", "payments/", "asyncapi.txt", "../healthz", ".json"],
)
async def test_other_addresses_are_404(anybody: Any, path: str) -> None:
    """A name that is no topic's, no profile's, or tries to be a path."""
    answer = await anybody.get(f"/schemas/{path}")
    if "healthz" not in path:
        assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize("profile", get_args(TemplateProfile))
async def test_templates_are_downloads(anybody: Any, profile: str) -> None:
    """Named as a payments file must be, the csv as the command writes it, the workbook as a workbook."""
    answer = await anybody.get(f"/v1/templates/payments.csv?profile={profile}")
    assert answer.content == payments_template(profile, "csv")  # type: ignore[arg-type]
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="ELECTRICITY_PAYMENT.csv"' in answer.headers["content-disposition"]
    answer = await anybody.get(f"/v1/templates/payments.xlsx?profile={profile}")
    assert answer.content.startswith(b"PK")
    assert "spreadsheetml" in answer.headers["content-type"]


async def test_a_template_of_no_profile_is_422(anybody: Any) -> None:
    """The answer names those there are; without one it is that of the S3 document."""
    answer = await anybody.get("/v1/templates/payments.csv?profile=ftp")
    assert "'sheet'" in assert_problem(answer, 422, "invalid")["errors"][0]["detail"]
    answer = await anybody.get("/v1/templates/payments.csv")
    assert answer.content == payments_template("s3", "csv")
