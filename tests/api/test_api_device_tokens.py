"""Who gets in: forged, expired, revoked and misdirected tokens, with and without Redis."""

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
import redis
from api_helpers import Api, MakeApi, assert_problem, until
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.db import now_ms
from api.jwts import DEVICES, USERS
from sunledger.embedded.stack import Stack


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _hand_made(header: dict[str, Any], claims: dict[str, Any], key: bytes | None = None) -> str:
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest() if key else b""
    return f"{text}.{_b64(signature)}"


def _claims(api: Api, subject: str, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": api.running.parts.settings.issuer,
        "aud": DEVICES,
        "sub": subject,
        "jti": "tok_" + "0" * 26,
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


async def _refused(api: Api, external_id: str, token: str) -> None:
    assert_problem(await api.send_reads(external_id, token), 401, "bad_token")


async def test_forged_tokens_are_refused(api: Api) -> None:
    """alg none, HS256 with the public key, an unknown kid, another key: all are the same 401."""
    device = await api.device()
    key = api.running.ring.signing()
    raw = key.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = _claims(api, device["id"])
    stranger = Ed25519PrivateKey.generate()
    good = jwt.encode(claims, key.private, "EdDSA", {"kid": key.kid})
    forged = [
        _hand_made({"alg": "none", "kid": key.kid}, claims),
        _hand_made({"alg": "HS256", "kid": key.kid}, claims, raw),
        _hand_made({"alg": "HS256", "kid": key.kid}, claims, pem),
        jwt.encode(claims, stranger, "EdDSA", {"kid": key.kid}),
        jwt.encode(claims, stranger, "EdDSA", {"kid": "../" + key.kid}),
        jwt.encode(claims, key.private, "EdDSA"),
        jwt.encode(claims, key.private, "EdDSA", {"kid": key.kid + "0"}),
        good[:-6] + "AAAAAA",
        good + "." + good,
        "x" * 5000,
        "...",
        "é.é.é",
    ]
    for token in forged:
        with pytest.raises(Exception, match="The token is not valid"):
            api.running.signer.verify(DEVICES, token)
    for token in forged[:-1]:  # a header is ASCII
        await _refused(api, "meter-1", token)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1}, {"exp": None}, {"iat": None}, {"iat": 9e9}, {"iss": "https://other"}, {"iss": None},
        {"aud": USERS}, {"aud": [DEVICES]}, {"aud": None}, {"sub": None}, {"jti": None},
        {"sub": 5}, {"jti": 5}, {"nbf": 9e9},
    ],
)  # fmt: skip
async def test_every_claim_is_required_and_checked(api: Api, changes: dict[str, Any]) -> None:
    """A token of ours with a claim missing, wrong or meant for users does not let a device in."""
    key = api.running.ring.signing()
    token = jwt.encode(_claims(api, "dev_x", **changes), key.private, "EdDSA", {"kid": key.kid})
    await _refused(api, "meter-1", token)


async def test_tokens_of_users_and_devices_do_not_mix(api: Api) -> None:
    """A device's token opens nothing for admins, an admin's token sends no reads."""
    device = await api.device()
    token = (await api.device_token(device["id"]))["token"]
    answer = await api.http.get("/v1/projects", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "bad_token")
    await _refused(api, "meter-1", api.http.headers["Authorization"].removeprefix("Bearer "))


async def test_a_signed_token_that_was_never_issued_is_refused(api: Api) -> None:
    """A jti that is not on record is nobody's, however well it is signed."""
    device = await api.device()
    key = api.running.ring.signing()
    await _refused(
        api, "meter-1", jwt.encode(_claims(api, device["id"]), key.private, "EdDSA", {"kid": key.kid})
    )


async def test_a_token_is_good_for_its_device_only(api: Api) -> None:
    """Another device's path is a 403, even in the same project; the own path must match exactly."""
    project = await api.project()
    one = await api.device("meter-1", project_id=project["id"])
    await api.device("meter-2", project_id=project["id"])
    token = (await api.device_token(one["id"]))["token"]
    for path in ("meter-2", "METER-1", "nothing"):
        assert_problem(await api.send_reads(path, token), 403, "wrong_device")


async def test_a_revoked_token_stops_within_a_second_everywhere(make_api: MakeApi) -> None:
    """Revoked in one process, refused by another within a second; a second token goes on working."""
    one, two = await make_api(), await make_api()
    await one.log_in()
    device = await one.device()
    token, other = [await one.device_token(device["id"]) for _ in range(2)]

    async def passes(api: Api, text: str) -> bool:
        return (await api.send_reads("meter-1", text)).status_code == 503  # past the door; no broker here

    await until(lambda: passes(two, token["token"]), 2)
    path = f"/v1/devices/{device['id']}/tokens/{token['jti']}"
    assert (await one.http.delete(path)).status_code == 204

    async def refused() -> bool:
        return (await two.send_reads("meter-1", token["token"])).status_code == 401

    assert await until(refused, 5) < 1
    assert (await one.http.delete(path)).status_code == 204
    assert await passes(two, other["token"])


async def test_unknown_tokens_cannot_be_revoked(api: Api) -> None:
    """A jti of another device, or of none, is a 404."""
    one, two = await api.device("a"), await api.device("b")
    token = await api.device_token(two["id"])
    for jti in (token["jti"], "tok_" + "0" * 26, "x"):
        assert_problem(await api.http.delete(f"/v1/devices/{one['id']}/tokens/{jti}"), 404, "not_found")


async def test_archiving_a_device_revokes_its_tokens(api: Api) -> None:
    """An archived device sends nothing and gets no new token."""
    device = await api.device()
    token = (await api.device_token(device["id"]))["token"]
    assert (await api.http.delete(f"/v1/devices/{device['id']}")).status_code == 204
    await _refused(api, "meter-1", token)
    assert_problem(await api.http.post(f"/v1/devices/{device['id']}/tokens"), 409, "archived")


async def test_a_lost_redis_is_rebuilt_and_un_revokes_nothing(api: Api, redis_server: Stack) -> None:
    """After a flush, tokens in force work again within a second and revoked ones stay revoked."""
    device = await api.device()
    good, bad = [await api.device_token(device["id"]) for _ in range(2)]
    await api.http.delete(f"/v1/devices/{device['id']}/tokens/{bad['jti']}")
    with redis.Redis.from_url(redis_server.endpoints.redis) as client:
        client.flushall()

    async def refused() -> bool:
        answer = await api.send_reads("meter-1", bad["token"])
        assert answer.status_code in (401, 503)
        return answer.status_code == 401

    assert await until(refused, 5) < 1
    await api.running.tokens.check(api.running.signer.verify(DEVICES, good["token"]))


async def test_an_old_snapshot_un_revokes_nothing(api: Api, redis_server: Stack) -> None:
    """A Redis that comes back as it was before a revocation is put right within a second."""
    device = await api.device()
    token = await api.device_token(device["id"])
    key = f"token:{token['jti']}"
    with redis.Redis.from_url(redis_server.endpoints.redis) as client:
        old = client.get(key)
        await api.http.delete(f"/v1/devices/{device['id']}/tokens/{token['jti']}")
        client.set(key, old)
        client.set("tokens:loaded", "the process before")

    async def put_right() -> bool:
        with redis.Redis.from_url(redis_server.endpoints.redis) as client:
            # the marker comes last: between the two, nothing can be said of any token
            return bool(client.get(key) == b"revoked" and client.exists("tokens:loaded"))

    await until(put_right, 20)  # a second on a machine of one's own
    await _refused(api, "meter-1", token["token"])


async def test_without_redis_only_tokens_seen_lately_pass(api: Api, redis_server: Stack) -> None:
    """Redis hangs: a token seen within 60 s passes, others get 503, quickly; afterwards all is well."""
    device = await api.device()
    seen, unseen = [await api.device_token(device["id"]) for _ in range(2)]
    claims = {name: api.running.signer.verify(DEVICES, t["token"]) for name, t in
              {"seen": seen, "unseen": unseen}.items()}  # fmt: skip
    await api.running.tokens.check(claims["seen"])
    redis_server.pause("redis")
    try:
        begun = time.monotonic()
        for _ in range(5):
            await api.running.tokens.check(claims["seen"])
            answer = await api.send_reads("meter-1", unseen["token"])
            assert_problem(answer, 503, "token_state_unknown")
            assert int(answer.headers["retry-after"]) > 0
        assert time.monotonic() - begun < 3
        api.running.tokens._seen[claims["seen"].jti] -= 61
        assert_problem(await api.send_reads("meter-1", seen["token"]), 503, "token_state_unknown")
    finally:
        redis_server.resume("redis")

    async def back() -> bool:
        return (await api.send_reads("meter-1", unseen["token"])).json()["type"].endswith("broker_away")

    assert await until(back, 5) < 1.5


async def test_a_revocation_while_redis_is_away_is_made_up_for(api: Api, redis_server: Stack) -> None:
    """Revoked while Redis hangs: refused soon after its return, by whoever saw it valid before."""
    device = await api.device()
    token = await api.device_token(device["id"])
    claims = api.running.signer.verify(DEVICES, token["token"])
    await api.running.tokens.check(claims)
    redis_server.pause("redis")
    try:
        path = f"/v1/devices/{device['id']}/tokens/{token['jti']}"
        assert (await api.http.delete(path)).status_code == 204
        api.running.tokens._remember(claims.jti)  # as another process would
    finally:
        redis_server.resume("redis")

    async def refused() -> bool:
        return (await api.send_reads("meter-1", token["token"])).status_code == 401

    await until(refused, 20)  # a second on a machine of one's own


async def test_keys_rotate_with_overlap(api: Api, make_api: MakeApi) -> None:
    """After a rotation old tokens still work, new ones carry the new kid, other processes learn of it."""
    ring, signer, other = api.running.ring, api.running.signer, await make_api()
    now = now_ms()
    old = signer.sign(DEVICES, "dev", "jti", now, now + timedelta(hours=1))
    kid = ring.rotate()
    new = signer.sign(DEVICES, "dev", "jti", now, now + timedelta(hours=1))
    assert jwt.get_unverified_header(new)["kid"] == kid
    assert signer.verify(DEVICES, old) == signer.verify(DEVICES, new)
    keys = (await api.http.get("/.well-known/jwks.json")).json()["keys"]
    assert keys[0]["kid"] == kid
    assert all(set(key) == {"kty", "crv", "use", "alg", "kid", "x"} for key in keys)
    outside = jwt.PyJWK(keys[0])
    claims = jwt.decode(new, outside, ["EdDSA"], audience=DEVICES)
    assert claims["jti"] == "jti"

    async def learnt() -> bool:
        return other.running.ring.find(kid) is not None

    await until(learnt, 3)
    for path in api.running.parts.settings.keys_directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert ring.retire(timedelta(0)) == [key["kid"] for key in keys[1:]]
    with pytest.raises(Exception, match="The token is not valid"):
        signer.verify(DEVICES, old)
    assert signer.verify(DEVICES, new).jti == "jti"
