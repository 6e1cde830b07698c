"""Every operation of the API asks who is there: generated over the OpenAPI document, so none is left out.

Forged, expired, revoked and misdirected tokens themselves are in tests/api/test_api_device_tokens.py.
"""

import time
from collections.abc import Iterator

import jwt
import pytest
from api_helpers import Api, assert_problem

from api.jwts import DEVICES, USERS
from tests.security.hostile import VERBS

OPEN = {
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/.well-known/jwks.json"),
    ("post", "/v1/auth/login"),
    ("get", "/schemas/"),
    ("get", "/schemas/asyncapi.json"),
    ("get", "/schemas/asyncapi.yaml"),
    ("get", "/schemas/payments/{profile}.json"),
    ("get", "/schemas/{topic}.json"),
    ("get", "/v1/templates/payments.csv"),
    ("get", "/v1/templates/payments.xlsx"),
}
"""Operations for everybody."""
DEVICES_OWN = {("post", "/meter-reads/{external_id}")}
"""Operations of devices."""
ORGANIZATIONS_OWN = {("post", "/v1/payments"), ("get", "/v1/receipts"), ("get", "/v1/receipts/{id}")}
"""Operations of organisations' systems."""


def _operations(api: Api) -> Iterator[tuple[str, str]]:
    for path, operations in api.app.openapi()["paths"].items():
        for verb in VERBS:
            if verb in operations:
                yield verb, path


def _filled(path: str) -> str:
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


async def test_no_operation_is_open_by_mistake(whole_api: Api) -> None:
    """Without a token every operation but the open ones is 401, before anything else is looked at."""
    del whole_api.http.headers["Authorization"]
    found = set(_operations(whole_api))
    assert found >= OPEN | DEVICES_OWN | ORGANIZATIONS_OWN
    for verb, path in found - OPEN:
        answer = await whole_api.http.request(verb.upper(), _filled(path))
        assert_problem(answer, 401, "unauthorized")


async def test_a_devices_token_posts_reads_and_nothing_else(whole_api: Api) -> None:
    """A gateway that is taken over sends its own reads; it sees and changes nothing."""
    device = await whole_api.device()
    token = (await whole_api.device_token(device["id"]))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for verb, path in set(_operations(whole_api)) - OPEN - DEVICES_OWN:
        answer = await whole_api.http.request(verb.upper(), _filled(path), headers=headers)
        assert_problem(answer, 401, "bad_token")
    assert (await whole_api.send_reads("meter-1", token)).status_code == 202


async def test_an_organisations_token_sends_payments_reads_receipts_and_nothing_else(whole_api: Api) -> None:
    """An integrator's server that is taken over sends payments of its organisation; it sees no row of any."""
    organization = await whole_api.organization()
    token = (await whole_api.make(f"organizations/{organization['id']}/tokens"))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for verb, path in set(_operations(whole_api)) - OPEN - ORGANIZATIONS_OWN:
        answer = await whole_api.http.request(verb.upper(), _filled(path), headers=headers)
        assert_problem(answer, 401, "bad_token")
    answer = await whole_api.http.post("/v1/payments", json={"payments": []}, headers=headers)
    assert answer.status_code == 202
    assert (await whole_api.http.get("/v1/receipts", headers=headers)).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_a_users_token_cannot_be_made_by_hand(whole_api: Api, algorithm: str) -> None:
    """Neither unsigned nor signed with the public key that everybody can read, for the admin himself."""
    key = whole_api.running.ring.signing()
    good = whole_api.http.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(good, options={"verify_signature": False})
    assert claims["aud"] == USERS
    published = (await whole_api.http.get("/.well-known/jwks.json")).json()["keys"][0]
    secret = "" if algorithm == "none" else published["x"] + "=" * 32
    forged = jwt.encode(claims, secret, algorithm, {"kid": key.kid})
    answer = await whole_api.http.get("/v1/projects", headers={"Authorization": f"Bearer {forged}"})
    assert_problem(answer, 401, "bad_token")


@pytest.mark.parametrize(
    "changes", [{"exp": 1}, {"aud": DEVICES}, {"iss": "https://other"}, {"sub": "usr_x"}]
)
async def test_a_users_token_of_ours_must_fit(whole_api: Api, changes: dict[str, object]) -> None:
    """Signed by us, and expired, for devices, of another installation, or of a user who is gone: 401."""
    key = whole_api.running.ring.signing()
    good = whole_api.http.headers["Authorization"].removeprefix("Bearer ")
    claims = {**jwt.decode(good, options={"verify_signature": False}), **changes}
    claims.setdefault("iat", int(time.time()))
    token = jwt.encode(claims, key.private, "EdDSA", {"kid": key.kid})
    answer = await whole_api.http.get("/v1/projects", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "bad_token")


async def test_the_published_keys_are_public_ones(whole_api: Api) -> None:
    """What lets others check tokens does not let them make any: no private part is in the set."""
    keys = (await whole_api.http.get("/.well-known/jwks.json")).json()["keys"]
    assert keys
    assert all("d" not in key and key["kty"] == "OKP" for key in keys)
