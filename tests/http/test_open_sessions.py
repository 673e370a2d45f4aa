"""Open sessions over HTTP: one's own, and those of others."""

import asyncio
from datetime import timedelta

import pytest

from builders import new_id
from http_world import ADMIN

ZOE = "zoë@example.org"
LI = "li@example.org"
MINE = "/api/v1/me/sessions"


def of(user):
    return f"/api/v1/users/{user['id']}/sessions"


async def sessions(api, by=ZOE, path=MINE):
    answer = await api.call("GET", path, by=by)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["next_cursor"] is None
    return answer.json()["items"]


async def works(api, who):
    """Whether either token of that name still opens a door."""
    body = {"refresh_token": api.tokens[who]["refresh_token"]}
    statuses = {
        (await api.call("GET", "/api/v1/me", by=who)).status_code,
        (await api.call("POST", "/api/v1/auth/refresh", json=body)).status_code,
    }
    assert len(statuses) == 1
    return statuses == {200}


async def signed_in_twice(api):
    """Zoë, on a laptop and on a phone; the user."""
    zoe = await api.signed_in(ZOE)
    api.tokens["laptop"] = api.tokens[ZOE]
    api.clock.move(timedelta(minutes=1))
    await api.login(ZOE)
    return zoe


async def test_a_session_tells_what_is_known_of_it_and_which_one_is_asking(api):
    await signed_in_twice(api)
    phone, laptop = await sessions(api)
    assert set(phone) == {
        "id", "created_at", "auth_time", "amr", "last_used_at", "expires_at", "address", "user_agent", "client_id",
        "current",
    }  # fmt: skip
    assert (phone["current"], laptop["current"]) == (True, False)
    assert (phone["amr"], phone["client_id"]) == (["pwd"], "hexward-api")
    assert phone["user_agent"].startswith("python-httpx")
    assert phone["last_used_at"] == phone["auth_time"] == phone["created_at"] > laptop["created_at"]
    api.clock.move(timedelta(minutes=1))
    await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": api.tokens["laptop"]["refresh_token"]})
    first = (await sessions(api))[0]
    assert (first["id"], first["last_used_at"] > phone["last_used_at"]) == (laptop["id"], True)


async def test_ending_one_of_ones_own_sessions_ends_its_tokens_before_it_answers(api):
    await signed_in_twice(api)
    lost = next(s["id"] for s in await sessions(api) if not s["current"])
    answers = await asyncio.gather(*(api.call("DELETE", f"{MINE}/{lost}", by=ZOE) for _ in range(3)))
    assert [(a.status_code, a.content) for a in answers] == [(204, b"")] * 3
    assert not await works(api, "laptop")
    assert await works(api, ZOE)
    assert [s["current"] for s in await sessions(api)] == [True]
    events = (await api.call("GET", f"/api/v1/audit-events?subject=session:{lost}", by=ADMIN)).json()["items"]
    assert [e["action"] for e in events if e["action"] == "session.ended"] == ["session.ended"]


async def test_one_can_end_the_session_one_acts_from(api):
    await signed_in_twice(api)
    current = next(s["id"] for s in await sessions(api) if s["current"])
    assert (await api.call("DELETE", f"{MINE}/{current}", by=ZOE)).status_code == 204
    assert not await works(api, ZOE)
    assert await works(api, "laptop")


async def test_a_session_of_somebody_else_is_not_found(api):
    await api.signed_in(ZOE)
    [root] = await sessions(api, ADMIN)
    for unknown in (root["id"], new_id()):
        answer = await api.call("DELETE", f"{MINE}/{unknown}", by=ZOE)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await api.call("DELETE", f"{MINE}/no-id", by=ZOE)).status_code == 404
    assert await works(api, ADMIN)


async def test_signing_out_everywhere_ends_this_session_too(api):
    await signed_in_twice(api)
    assert (await api.call("DELETE", MINE, by=ZOE)).status_code == 204
    assert not await works(api, ZOE)
    assert not await works(api, "laptop")
    assert await works(api, ADMIN)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_without_a_token_nothing_is_seen_or_ended(api, method):
    zoe = await api.signed_in(ZOE)
    [session] = await sessions(api)
    for path in (MINE, of(zoe), *([f"{MINE}/{session['id']}"] if method == "DELETE" else [])):
        answer = await api.call(method, path)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
    assert await works(api, ZOE)


async def test_an_administrator_sees_and_ends_sessions_of_users(api):
    zoe = await signed_in_twice(api)
    phone, laptop = await sessions(api, ADMIN, of(zoe))
    assert [phone["current"], laptop["current"]] == [False, False]
    assert (await api.call("DELETE", f"{of(zoe)}/{laptop['id']}", by=ADMIN)).status_code == 204
    assert (await works(api, "laptop"), await works(api, ZOE)) == (False, True)
    assert (await api.call("DELETE", of(zoe), by=ADMIN)).status_code == 204
    assert not await works(api, ZOE)
    assert await sessions(api, ADMIN, of(zoe)) == []
    events = (await api.call("GET", f"/api/v1/audit-events?subject=user:{zoe['id']}", by=ADMIN)).json()["items"]
    assert events[0]["action"] == "user.sessions_ended"
    assert events[0]["details"] == {"sessions_ended": 1}


async def test_what_is_not_that_users_is_not_found(api):
    zoe = await api.signed_in(ZOE)
    [root] = await sessions(api, ADMIN)
    nobody = {"id": new_id()}
    refused = [
        await api.call("DELETE", f"{of(zoe)}/{root['id']}", by=ADMIN),
        await api.call("DELETE", of(nobody), by=ADMIN),
        await api.call("GET", of(nobody), by=ADMIN),
    ]
    assert [(a.status_code, a.json()["code"]) for a in refused] == [(404, "not_found")] * 3
    assert await works(api, ADMIN)


async def test_managing_users_is_not_seeing_where_they_are(api):
    zoe = await api.signed_in(ZOE)
    await api.signed_in(LI, "manager")
    [session] = await sessions(api)
    refused = [
        await api.call("GET", of(zoe), by=LI),
        await api.call("DELETE", of(zoe), by=LI),
        await api.call("DELETE", f"{of(zoe)}/{session['id']}", by=LI),
    ]
    assert [(a.status_code, a.json()["code"]) for a in refused] == [(403, "forbidden")] * 3
    assert await works(api, ZOE)
    assert await sessions(api, ZOE, of(zoe)) == await sessions(api)


async def test_R08_the_sessions_of_an_administrator_are_ended_by_nobody_weaker(api):
    role = {"name": "help-desk", "permissions": ["sessions:read", "sessions:write"], "parents": ["manager"]}
    assert (await api.call("POST", "/api/v1/roles", by=ADMIN, json=role)).status_code == 201
    zoe, li = await api.signed_in(ZOE), await api.signed_in(LI, "help-desk")
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    assert (await api.call("DELETE", of(zoe), by=LI)).status_code == 204
    assert not await works(api, ZOE)
    [session] = await sessions(api, LI, of(root))
    for path in (of(root), f"{of(root)}/{session['id']}"):
        assert (await api.call("DELETE", path, by=LI)).status_code == 403
    assert await works(api, ADMIN)
    assert (await api.call("DELETE", of(li), by=LI)).status_code == 204
