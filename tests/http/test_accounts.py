"""One's own account over HTTP: registering, changing a password, and what one may do."""

import pytest

from http_world import ADMIN, PASSWORD, a_world

ZOE = "zoë@example.org"
WRONG = "not the right pass phrase"
OTHER = "a quite different pass phrase"
REGISTER = "/api/v1/auth/register"
CHANGE = "/api/v1/me/password"


@pytest.fixture
async def open_api(clock):
    async with a_world(clock, REGISTRATION="open") as world:
        yield world


async def change(api, current=PASSWORD, new=OTHER, by=ZOE):
    return await api.call("POST", CHANGE, by=by, json={"current_password": current, "new_password": new})


def problem(answer):
    """What a refusal says, but for its id."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["code"]


# ------------------------------------------------------------------------------------------------------------- register


async def test_who_registers_signs_in_and_sees_their_profile(open_api):
    body = {"email": ZOE, "password": PASSWORD, "username": "zoe", "display_name": "Zoë", "locale": "de"}
    answer = await open_api.call("POST", REGISTER, json=body)
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert answer.headers["cache-control"] == "no-store"
    await open_api.login(ZOE)
    me = (await open_api.call("GET", "/api/v1/me", by=ZOE)).json()
    assert {name: me[name] for name in body if name != "password"} == {n: v for n, v in body.items() if n != "password"}
    assert (me["status"], me["email_verified"], me["roles"], me["scope"]) == ("active", False, [], "*")


async def test_R05_taken_or_not_the_answer_is_the_same_to_the_last_header(open_api):
    await open_api.a_user(ZOE, username="zoe")
    answers = [
        await open_api.call("POST", REGISTER, json={"email": email, "username": username, "password": OTHER})
        for email, username in ((ZOE, "new"), ("new@example.org", "ZOE"), ("free@example.org", "free"))
    ]
    own = {"x-request-id", "ratelimit"}  # told apart by request, not by address
    told = [({k: v for k, v in a.headers.items() if k not in own}, a.status_code, a.content) for a in answers]
    assert told == told[:1] * 3
    assert answers[0].status_code == 202
    await open_api.login(ZOE, PASSWORD)
    users = (await open_api.call("GET", "/api/v1/users", by=ADMIN)).json()["items"]
    assert {user["email"] for user in users} == {ADMIN, ZOE, "free@example.org"}
    events = (await open_api.call("GET", "/api/v1/audit-events?action=user.registered", by=ADMIN)).json()["items"]
    assert [e["reason"] for e in reversed(events)] == ["email_taken", "username_taken", None]


async def test_registration_is_closed_unless_settings_open_it(api):
    for email in (ADMIN, "new@example.org"):
        answer = await api.call("POST", REGISTER, json={"email": email, "password": PASSWORD})
        assert problem(answer) == (403, "registration_closed")


async def test_only_addresses_of_the_named_domains_register(clock):
    async with a_world(clock, REGISTRATION="domains", REGISTRATION_DOMAINS="example.com") as api:
        answer = await api.call("POST", REGISTER, json={"email": "zoe@Example.COM", "password": PASSWORD})
        assert answer.status_code == 202
        for email in (ADMIN, "zoe@mail.example.com"):
            answer = await api.call("POST", REGISTER, json={"email": email, "password": PASSWORD})
            assert problem(answer) == (403, "email_domain_not_allowed")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": ADMIN, "password": "too short"}, "/password"),
        ({"password": None}, "/password"),
        ({"username": "a b"}, "/username"),
        ({"display_name": ""}, "/display_name"),
        ({"locale": "?"}, "/locale"),
        ({"roles": ["admin"]}, ""),
        ({"scope": "org/acme"}, ""),
        ({"email_verified": True}, ""),
    ],
)
async def test_what_is_wrong_in_itself_is_said_with_its_place(open_api, changes, pointer):
    body = {"email": "new@example.org", "password": PASSWORD, **changes}
    answer = await open_api.call("POST", REGISTER, json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# -------------------------------------------------------------------------------------------------------- own password


async def test_a_changed_password_signs_out_everywhere_else_before_it_answers(api):
    await api.signed_in(ZOE)
    api.tokens["elsewhere"] = api.tokens[ZOE]
    await api.login(ZOE)
    answer = await change(api)
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (204, b"", "no-store")
    assert problem(await api.call("GET", "/api/v1/me", by="elsewhere")) == (401, "session_ended")
    assert (await api.call("GET", "/api/v1/me", by=ZOE)).status_code == 200
    for who, status in (("elsewhere", 401), (ZOE, 200)):
        body = {"refresh_token": api.tokens[who]["refresh_token"]}
        assert (await api.call("POST", "/api/v1/auth/refresh", json=body)).status_code == status
    old = await api.call("POST", "/api/v1/auth/login", json={"email": ZOE, "password": PASSWORD})
    assert problem(old) == (401, "invalid_credentials")
    await api.login(ZOE, OTHER)


async def test_a_wrong_current_password_is_forbidden_and_guessing_is_slowed_down(api):
    await api.signed_in(ZOE)
    assert [problem(await change(api, WRONG)) for _ in range(5)] == [(403, "password_wrong")] * 5
    answer = await change(api)
    assert problem(answer) == (429, "too_many_attempts")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_weak_new_password_is_told_by_its_member(api):
    await api.signed_in(ZOE)
    answer = await change(api, new="too short")
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/new_password"]


async def test_an_account_without_a_password_has_none_to_change(api):
    await api.signed_in(ZOE)
    async with api.store.transaction():
        zoe = await api.store.users.by_login(ZOE)
        await api.store.credentials.remove(zoe.id)
    assert problem(await change(api)) == (409, "password_not_set")


async def test_a_password_is_changed_by_nobody_who_is_not_signed_in(api):
    answer = await api.call("POST", CHANGE, json={"current_password": PASSWORD, "new_password": OTHER})
    assert problem(answer) == (401, "token_missing")


# ---------------------------------------------------------------------------------------------------------- permissions


async def test_everybody_sees_their_own_permissions_in_either_place(api):
    zoe = await api.signed_in(ZOE, "manager")
    mine = await api.call("GET", "/api/v1/me/permissions", by=ZOE)
    assert mine.status_code == 200
    assert {"permission": "users:read", "scope": "*", "path": ["manager"], "expires_at": None} in mine.json()["items"]
    assert (await api.call("GET", f"/api/v1/users/{zoe['id']}/permissions", by=ZOE)).json() == mine.json()
    assert (await api.call("GET", f"/api/v1/users/{zoe['id']}/permissions", by=ADMIN)).json() == mine.json()


async def test_who_may_do_nothing_is_told_so_and_nothing_of_others(api):
    zoe = await api.signed_in(ZOE)
    li = await api.a_user("li@example.org", "manager")
    nothing = {"items": [], "next_cursor": None}
    assert (await api.call("GET", "/api/v1/me/permissions", by=ZOE)).json() == nothing
    assert (await api.call("GET", f"/api/v1/users/{zoe['id']}/permissions", by=ZOE)).json() == nothing
    assert problem(await api.call("GET", f"/api/v1/users/{li['id']}/permissions", by=ZOE)) == (403, "forbidden")
    assert problem(await api.call("GET", "/api/v1/me/permissions")) == (401, "token_missing")
