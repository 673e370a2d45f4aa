"""First-party sign-in over HTTP: tokens in, tokens out, and every door that shuts."""

import asyncio
from datetime import timedelta

import jwt
import pytest

from http_world import ADMIN, PASSWORD

ZOE = "zoë@example.org"


async def test_a_sign_in_answers_like_a_token_endpoint(api):
    answer = await api.call("POST", "/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 300
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}


async def test_the_access_token_verifies_with_the_published_keys_and_names_its_roles(api):
    keys = jwt.PyJWKSet.from_dict((await api.call("GET", "/oauth2/jwks")).json())
    token = api.tokens[ADMIN]["access_token"]
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(
        token,
        keys[header["kid"]],
        algorithms=["ES256"],
        audience="http://localhost:8000",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert header["typ"] == "at+jwt"
    assert claims["iss"] == "http://localhost:8000"
    assert claims["roles"] == ["admin"]


@pytest.mark.parametrize("body", [{"username": "zoe.m"}, {"username": "ZOE.M"}, {"email": "ZOË@example.org"}])
async def test_people_sign_in_by_either_name_in_whatever_case(api, body):
    await api.a_user(ZOE, username="zoe.m")
    answer = await api.call("POST", "/api/v1/auth/login", json={**body, "password": PASSWORD})
    assert answer.status_code == 200


async def test_unknown_wrong_and_suspended_get_the_very_same_answer(api):
    user = await api.a_user(ZOE)
    suspended = await api.a_user("gone@example.org")
    await api.call("POST", f"/api/v1/users/{suspended['id']}/suspend", by=ADMIN)
    answers = [
        await api.call("POST", "/api/v1/auth/login", json={"email": email, "password": password})
        for email, password in [
            ("nobody@example.org", PASSWORD),
            (user["email"], "not the right pass phrase"),
            ("gone@example.org", PASSWORD),
            ("nul\x00byte@example.org", PASSWORD),
            (user["email"], "x" * 300),
        ]
    ]
    bodies = [{k: v for k, v in a.json().items() if k != "correlation_id"} for a in answers]
    assert {a.status_code for a in answers} == {401}
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["code"] == "invalid_credentials"


async def test_guessing_is_slowed_down_for_known_and_unknown_names_alike(api):
    await api.a_user(ZOE)
    for email in (ZOE, "nobody@example.org"):
        statuses = []
        for _ in range(7):
            body = {"email": email, "password": "not the right pass phrase"}
            answer = await api.call("POST", "/api/v1/auth/login", json=body)
            statuses.append(answer.status_code)
        assert statuses == [401] * 5 + [429] * 2
        assert int(answer.headers["retry-after"]) >= 1
    api.clock.move(timedelta(minutes=16))
    await api.login(ZOE)


async def test_a_refresh_gives_a_successor_and_a_repeat_gives_the_same_one(api):
    first = api.tokens[ADMIN]["refresh_token"]
    answers = [await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": first}) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 200]
    successors = {a.json()["refresh_token"] for a in answers}
    assert len(successors) == 1
    assert first not in successors


async def test_R02_replaying_an_older_token_ends_the_family_and_its_access_tokens(api):
    first = api.tokens[ADMIN]["refresh_token"]
    second = (await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": first})).json()
    third = (await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": second["refresh_token"]})).json()
    replay = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": first})
    assert replay.status_code == 401
    assert replay.json()["code"] == "invalid_grant"
    after = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": third["refresh_token"]})
    assert after.status_code == 401
    api.tokens["thief"] = third
    assert await refused(api, "thief")


async def test_R02_the_predecessor_is_refused_after_the_grace(api):
    first = api.tokens[ADMIN]["refresh_token"]
    assert (await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": first})).status_code == 200
    api.clock.move(timedelta(seconds=11))
    assert (await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": first})).status_code == 401


@pytest.mark.parametrize("with_body", [True, False])
async def test_R02_signing_out_ends_both_kinds_of_token_before_it_answers(api, with_body):
    await api.signed_in(ZOE)
    tokens = dict(api.tokens[ZOE])
    body = {"json": {"refresh_token": tokens["refresh_token"]}} if with_body else {}
    answer = await api.call("POST", "/api/v1/auth/logout", by=None if with_body else ZOE, **body)
    assert answer.status_code == 204
    answer = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert answer.status_code == 401
    assert await refused(api, ZOE)


async def test_many_parallel_refreshes_with_one_token_give_one_successor(api):
    token = api.tokens[ADMIN]["refresh_token"]
    answers = await asyncio.gather(
        *(api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token}) for _ in range(200))
    )
    assert {a.status_code for a in answers} == {200}
    assert len({a.json()["refresh_token"] for a in answers}) == 1


async def test_suspension_shuts_every_door_and_reactivation_does_not_open_old_ones(api):
    user = await api.signed_in(ZOE)
    refresh = {"refresh_token": api.tokens[ZOE]["refresh_token"]}
    assert (await api.call("GET", "/api/v1/me", by=ZOE)).status_code == 200
    assert (await api.call("POST", f"/api/v1/users/{user['id']}/suspend", by=ADMIN)).status_code == 200
    assert (await api.call("POST", "/api/v1/auth/refresh", json=refresh)).status_code == 401
    login = {"email": ZOE, "password": PASSWORD}
    assert (await api.call("POST", "/api/v1/auth/login", json=login)).status_code == 401
    assert await refused(api, ZOE)
    assert (await api.call("POST", f"/api/v1/users/{user['id']}/reactivate", by=ADMIN)).status_code == 200
    assert (await api.call("POST", "/api/v1/auth/refresh", json=refresh)).status_code == 401
    assert (await api.call("GET", "/api/v1/me", by=ZOE)).status_code == 401
    assert (await api.call("POST", "/api/v1/auth/login", json=login)).status_code == 200


async def test_R20_roles_are_recomputed_at_every_refresh(api):
    user = await api.signed_in(ZOE)
    await api.call("PUT", f"/api/v1/users/{user['id']}/roles/manager", by=ADMIN)
    body = {"refresh_token": api.tokens[ZOE]["refresh_token"]}
    refreshed = (await api.call("POST", "/api/v1/auth/refresh", json=body)).json()
    claims = jwt.decode(refreshed["access_token"], options={"verify_signature": False})
    assert claims["roles"] == ["manager"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[" * 100_000, 422),
        (b'"text"', 422),
        (b"{}", 422),
        (b'{"email":"a@b.c","password":5}', 422),
        (b'{"email":"a@b.c","password":"p","extra":1}', 422),
        (b'{"email":"a@b.c","username":"a","password":"p"}', 422),
        (b'{"password":"' + b"x" * 2_000 + b'","email":"a@b.c"}', 422),
        (b'{"email":"\\ud800@b.c","password":"p"}', 400),
        (b"\xff\xfe", 400),
    ],
)
async def test_R18_bad_input_is_a_problem_that_echoes_nothing(api, body, status):
    answer = await api.call("POST", "/api/v1/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"]
    assert "xxx" not in answer.text


@pytest.mark.parametrize("token", ["", "hwr_", "hwr_AAAA", "x" * 91, "hwr_" + "A" * 87, "é" * 91])
async def test_a_forged_refresh_token_is_refused(api, token):
    answer = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token})
    assert answer.status_code == 401


async def test_a_fifty_first_session_ends_the_oldest(api):
    await api.signed_in(ZOE)
    oldest = api.tokens[ZOE]["refresh_token"]
    for _ in range(50):
        api.clock.move(timedelta(seconds=1))
        await api.login(ZOE)
    answer = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": oldest})
    assert answer.status_code == 401
    answer = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": api.tokens[ZOE]["refresh_token"]})
    assert answer.status_code == 200


async def refused(api, who):
    """Whether the access token is refused, as it has to be from the acknowledgement on."""
    answer = await api.call("GET", "/api/v1/me", by=who)
    return answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
