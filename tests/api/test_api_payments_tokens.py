"""Tokens of organisations: who gets them, what they open, how fast they stop."""

import asyncio

import redis
from api_helpers import Api, MakeApi, assert_problem, until

from api.jwts import DEVICES, ORGANIZATIONS, USERS
from api.parts import ApiParts
from sunledger.embedded.stack import Stack


async def test_a_token_is_issued_listed_and_revoked(api: Api) -> None:
    """Its text is told once; the list has ids and times; two may be in force, so that they rotate."""
    organization = await api.organization()
    path = f"/v1/organizations/{organization['id']}/tokens"
    one, two = [await api.organization_token(organization["id"]) for _ in range(2)]
    assert set(one) == {"token", "jti", "expires_at"}
    claims = api.running.signer.verify(ORGANIZATIONS, one["token"])
    assert (claims.subject, claims.jti) == (organization["id"], one["jti"])
    for token in (one, two):
        await api.running.tokens.check(api.running.signer.verify(ORGANIZATIONS, token["token"]))
    for _ in range(2):
        assert (await api.http.delete(f"{path}/{one['jti']}")).status_code == 204
    listed = (await api.http.get(path)).json()["items"]
    assert [(item["jti"], item["revoked_at"] is None) for item in listed] == [
        (one["jti"], False),
        (two["jti"], True),
    ]
    assert one["token"] not in str(listed)
    assert_problem(await api.send_payments(one["token"]), 401, "bad_token")


async def test_unknown_organisations_and_tokens_are_404(api: Api) -> None:
    """A token is found under its own organisation only, and a device's is none of an organisation's."""
    mine, other = await api.organization(), await api.organization("Other")
    token = await api.organization_token(mine["id"])
    device = await api.device()
    of_device = await api.device_token(device["id"])
    for owner, jti in (
        (other["id"], token["jti"]),
        (mine["id"], "tok_x"),
        (mine["id"], of_device["jti"]),
        (device["organization_id"], of_device["jti"]),
    ):
        answer = await api.http.delete(f"/v1/organizations/{owner}/tokens/{jti}")
        assert_problem(answer, 404, "not_found")
    answer = await api.http.delete(f"/v1/devices/{device['id']}/tokens/{token['jti']}")
    assert_problem(answer, 404, "not_found")
    for path in ("/v1/organizations/org_x/tokens", f"/v1/organizations/{device['id']}/tokens"):
        assert_problem(await api.http.post(path), 404, "not_found")
        assert_problem(await api.http.get(path), 404, "not_found")


async def test_audiences_are_kept_apart(api: Api) -> None:
    """A device's and a user's token send no payments; an organisation's sends no reads, manages nothing."""
    device = await api.device()
    of_device = (await api.device_token(device["id"]))["token"]
    of_organization = (await api.organization_token(device["organization_id"]))["token"]
    of_user = api.http.headers["Authorization"].removeprefix("Bearer ")
    for wrong in (of_device, of_user):
        assert_problem(await api.send_payments(wrong), 401, "bad_token")
    assert_problem(await api.send_reads("meter-1", of_organization), 401, "bad_token")
    headers = {"Authorization": f"Bearer {of_organization}"}
    assert_problem(await api.http.get("/v1/organizations", headers=headers), 401, "bad_token")
    assert len({DEVICES, ORGANIZATIONS, USERS}) == 3


async def test_archiving_an_organisation_revokes_its_tokens(api: Api) -> None:
    """An archived organisation sends nothing and gets no new token; restored, it needs a new one."""
    organization = await api.organization()
    path = f"/v1/organizations/{organization['id']}"
    token = (await api.organization_token(organization["id"]))["token"]
    refused = await api.http.patch(path, json={"archived": True})
    assert assert_problem(refused, 422, "invalid")["errors"][0]["code"] == "use_delete"
    assert (await api.http.delete(path)).status_code == 204
    assert_problem(await api.send_payments(token), 401, "bad_token")
    assert_problem(await api.http.post(f"{path}/tokens"), 409, "archived")
    assert (await api.http.patch(path, json={"archived": False})).status_code == 200
    assert_problem(await api.send_payments(token), 401, "bad_token")
    assert (await api.http.post(f"{path}/tokens")).status_code == 201


async def test_a_revoked_token_stops_at_once_everywhere(make_api: MakeApi, brokered: ApiParts) -> None:
    """Revoked at one process, it is refused by another one that has just seen it in force, at once."""
    here, there = await make_api(brokered), await make_api(brokered)
    await here.log_in()
    organization = await here.organization()
    token = await here.organization_token(organization["id"])
    assert (await there.send_payments(token["token"])).status_code == 202
    path = f"/v1/organizations/{organization['id']}/tokens/{token['jti']}"
    assert (await here.http.delete(path)).status_code == 204
    assert_problem(await there.send_payments(token["token"]), 401, "bad_token")


async def test_a_lost_redis_is_rebuilt_with_both_kinds(api: Api, redis_server: Stack) -> None:
    """After a flush, tokens of devices and organisations in force work again and revoked ones stay so."""
    device = await api.device()
    organization_id = device["organization_id"]
    good, bad = [await api.organization_token(organization_id) for _ in range(2)]
    of_device = await api.device_token(device["id"])
    await api.http.delete(f"/v1/organizations/{organization_id}/tokens/{bad['jti']}")
    with redis.Redis.from_url(redis_server.endpoints.redis, decode_responses=True) as client:
        client.flushall()

        async def rebuilt() -> bool:
            return await asyncio.to_thread(client.get, "tokens:loaded") is not None

        await until(rebuilt, 60)
        assert client.get(f"token:{good['jti']}") == organization_id
        assert client.get(f"token:{bad['jti']}") == "revoked"
        assert client.get(f"token:{of_device['jti']}") == device["id"]
    await api.running.tokens.check(api.running.signer.verify(ORGANIZATIONS, good["token"]))
    assert_problem(await api.send_payments(bad["token"]), 401, "bad_token")
