"""Keys over HTTP: for operators what state they are in, for everybody what verifies."""

from datetime import timedelta

import jwt
import pytest

from domain.keys import LEAD, KeyUse
from http_world import ADMIN

KEYS = "/api/v1/keys"
JWKS = "/oauth2/jwks"


async def published(api):
    """The ids of the keys of access tokens, as everybody sees them."""
    keys = (await api.call("GET", JWKS)).json()["keys"]
    async with api.store.transaction():
        ours = {key.id for key in await api.store.keys.all() if key.use is KeyUse.SIGN}
    return [key["kid"] for key in keys if key["kid"] in ours]


async def listed(api, use="sign"):
    items = (await api.call("GET", KEYS, by=ADMIN)).json()["items"]
    return {key["id"]: key["state"] for key in items if key["use"] == use}


def signer(token):
    return jwt.get_unverified_header(token)["kid"]


async def test_the_jwks_may_be_cached_and_asked_for_again_by_its_tag(api):
    answer = await api.call("GET", JWKS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    tag = answer.headers["etag"]
    keys = answer.json()["keys"]
    assert sorted(key["alg"] for key in keys) == [
        "ES256",
        "ES256",
        "RS256",
    ]  # access tokens, and ID tokens of each kind
    for key in keys:
        members = {"crv", "x", "y"} if key["kty"] == "EC" else {"n", "e"}
        assert key.keys() == {"kty", "kid", "use", "alg"} | members
        assert key["use"] == "sig"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await api.call("GET", JWKS, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "public, max-age=300")
    for unknown in ('"other"', "", tag.strip('"')):
        assert (await api.call("GET", JWKS, headers={"If-None-Match": unknown})).status_code == 200
    await api.call("POST", f"{KEYS}/rotate", by=ADMIN)
    assert (await api.call("GET", JWKS, headers={"If-None-Match": tag})).status_code == 200


async def test_a_rotated_key_is_published_long_before_it_signs(api):
    [first] = await published(api)
    answer = await api.call("POST", f"{KEYS}/rotate", by=ADMIN)
    fresh = answer.json()
    assert answer.status_code == 201
    assert (fresh["state"], fresh["use"], fresh["algorithm"]) == ("next", "sign", "ES256")
    assert fresh["activates_at"] == "2026-11-20T12:06:00Z"
    assert set(await published(api)) == {first, fresh["id"]}
    pending = await api.call("POST", f"{KEYS}/rotate", by=ADMIN, json={})
    assert (pending.status_code, pending.json()["code"]) == (409, "key_rotation_pending")
    assert signer((await api.login(ADMIN))["access_token"]) == first
    api.clock.move(LEAD[KeyUse.SIGN])
    assert signer((await api.login(ADMIN))["access_token"]) == fresh["id"]
    assert await listed(api) == {first: "retiring", fresh["id"]: "active"}
    api.clock.move(timedelta(hours=25))
    assert await published(api) == [fresh["id"]]


async def test_no_token_fails_to_verify_during_a_rotation(api):
    tokens, keys = api.tokens[ADMIN], (await api.call("GET", JWKS)).json()
    await api.call("POST", f"{KEYS}/rotate", by=ADMIN)
    await api.call("POST", f"{KEYS}/rotate", by=ADMIN, json={"use": "refresh"})
    cached_at = api.clock.now()
    for _ in range(10):
        api.clock.move(timedelta(seconds=55))
        body = {"refresh_token": tokens["refresh_token"]}
        tokens = (await api.call("POST", "/api/v1/auth/refresh", json=body)).json()
        if api.clock.now() - cached_at >= timedelta(minutes=5):  # as long as a verifier may keep them
            keys, cached_at = (await api.call("GET", JWKS)).json(), api.clock.now()
        token = tokens["access_token"]
        key = jwt.PyJWKSet.from_dict(keys)[signer(token)]
        jwt.api_jws.decode(token, key, algorithms=[key.algorithm_name])
        api.tokens["same"] = tokens
        assert (await api.call("GET", "/api/v1/me", by="same")).status_code == 200


async def test_a_revoked_key_takes_all_it_signed_with_it_at_once(api):
    [leaked] = await published(api)
    answer = await api.call("POST", f"{KEYS}/{leaked}/revoke", by=ADMIN)
    assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
    assert answer.json()["revoked_at"] == "2026-11-20T12:00:00Z"
    refused = await api.call("GET", "/api/v1/me", by=ADMIN)
    assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    body = {"refresh_token": api.tokens[ADMIN]["refresh_token"]}
    api.tokens[ADMIN] = (await api.call("POST", "/api/v1/auth/refresh", json=body)).json()
    states = await listed(api)
    assert sorted(states.values()) == ["active", "revoked"]
    assert await published(api) == [id for id, state in states.items() if state == "active"]
    assert (await api.call("POST", f"{KEYS}/{leaked}/revoke", by=ADMIN)).status_code == 200


async def test_revoking_the_key_of_refresh_tokens_ends_them(api):
    [(id, _)] = (await listed(api, "refresh")).items()
    assert (await api.call("POST", f"{KEYS}/{id}/revoke", by=ADMIN)).status_code == 200
    body = {"refresh_token": api.tokens[ADMIN]["refresh_token"]}
    assert (await api.call("POST", "/api/v1/auth/refresh", json=body)).status_code == 401
    await api.login(ADMIN)
    body = {"refresh_token": api.tokens[ADMIN]["refresh_token"]}
    assert (await api.call("POST", "/api/v1/auth/refresh", json=body)).status_code == 200


async def test_the_algorithm_can_be_changed_by_a_rotation(api):
    await api.call("POST", f"{KEYS}/rotate", by=ADMIN, json={"algorithm": "EdDSA"})
    api.clock.move(LEAD[KeyUse.SIGN])
    token = (await api.login(ADMIN))["access_token"]
    keys = jwt.PyJWKSet.from_dict((await api.call("GET", JWKS)).json())
    jwt.api_jws.decode(token, keys[signer(token)], algorithms=["EdDSA"])
    assert (await api.call("GET", "/api/v1/me", by=ADMIN)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{"algorithm": "none"}, {"algorithm": "HS256"}, {"use": "refresh", "algorithm": "ES256"}, {"use": "x"}, {"kid": 1}],
)
async def test_R18_what_cannot_be_rotated_to_is_refused(api, body):
    answer = await api.call("POST", f"{KEYS}/rotate", by=ADMIN, json=body)
    assert answer.status_code == 422
    assert len(await published(api)) == 1


async def test_R18_a_key_that_is_none_is_not_found(api):
    for id in ("0" * 16, "x", "%00", "..%2F", "a" * 500):
        answer = await api.call("POST", f"{KEYS}/{id}/revoke", by=ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_keys_are_for_operators_and_show_no_secret(api):
    await api.signed_in("boss@example.org", "manager")
    [id] = await published(api)
    for method, path in (("GET", KEYS), ("POST", f"{KEYS}/rotate"), ("POST", f"{KEYS}/{id}/revoke")):
        assert (await api.call(method, path)).status_code == 401
        assert (await api.call(method, path, by="boss@example.org")).status_code == 403
    items = (await api.call("GET", KEYS, by=ADMIN)).json()["items"]
    assert {key["use"] for key in items} == set(KeyUse)
    for key in items:
        assert key.keys() == {
            "id", "use", "algorithm", "state", "created_at", "activates_at", "superseded_at", "revoked_at", "public_jwk"
        }  # fmt: skip
        assert (key["public_jwk"] or {}).keys() <= {"kty", "crv", "x", "y", "n", "e"}
        assert (key["public_jwk"] is None) == (key["use"] == "refresh")
