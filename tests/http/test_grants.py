"""Grants over HTTP: a role, somewhere, for a time."""

from datetime import timedelta

import pytest

from http_world import ADMIN

ZOE = "zoë@example.org"
GRANTS = "/api/v1/grants"
DAY = timedelta(days=1)


def at(api, days):
    return (api.clock.now() + days * DAY).isoformat()


async def grant(api, user, role="user", by=ADMIN, **more):
    return await api.call("POST", GRANTS, by=by, json={"subject": {"id": user["id"]}, "role": role, **more})


async def test_a_grant_reads_back_as_it_was_made_until_it_is_revoked(api):
    zoe = await api.a_user(ZOE)
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    times = {"starts_at": "2027-01-01T00:00:00Z", "expires_at": "2027-02-01T00:00:00Z"}
    made = await grant(api, zoe, scope="org/acme", **times)
    body = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"{GRANTS}/{body['id']}"
    assert {name: body[name] for name in ("subject", "role", "scope", "starts_at", "expires_at", "granted_by")} == {
        "subject": {"id": zoe["id"], "type": "user"}, "role": "user", "scope": "org/acme",
        "starts_at": "2027-01-01T00:00:00Z", "expires_at": "2027-02-01T00:00:00Z", "granted_by": f"user:{root['id']}",
    }  # fmt: skip
    path = made.headers["location"]
    assert (await api.call("GET", path, by=ADMIN)).json() == body
    assert (await api.call("DELETE", path, by=ADMIN)).status_code == 204
    assert (await api.call("GET", path, by=ADMIN)).status_code == 404
    assert (await api.call("DELETE", path, by=ADMIN)).status_code == 404


async def test_the_shorthand_makes_replaces_and_removes_and_the_same_again_changes_nothing(api):
    zoe = await api.a_user(ZOE)
    roles = f"/api/v1/users/{zoe['id']}/roles"
    first = await api.call("PUT", f"{roles}/user?scope=org/acme", by=ADMIN)
    events = await events_of(api, zoe)
    again = await api.call("PUT", f"{roles}/user?scope=org/acme", by=ADMIN, json={})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert await events_of(api, zoe) == events
    timed = await api.call("PUT", f"{roles}/user?scope=org/acme", by=ADMIN, json={"expires_at": at(api, 2)})
    assert (timed.json()["id"], timed.json()["expires_at"]) == (first.json()["id"], "2026-11-22T12:00:00Z")
    everywhere = await api.call("PUT", f"{roles}/user", by=ADMIN)
    listed = (await api.call("GET", roles, by=ADMIN)).json()["items"]
    assert listed == [timed.json(), everywhere.json()]
    for _ in range(2):
        assert (await api.call("DELETE", f"{roles}/user?scope=org/acme", by=ADMIN)).status_code == 204
    assert (await api.call("GET", roles, by=ADMIN)).json()["items"] == [everywhere.json()]
    assert (await api.call("GET", f"/api/v1/users/{zoe['id']}", by=ADMIN)).json()["roles"] == ["user"]


async def events_of(api, user):
    answer = await api.call("GET", "/api/v1/audit-events", by=ADMIN, params={"subject": f"user:{user['id']}"})
    return answer.json()["items"]


@pytest.mark.parametrize(
    ("times", "pointer", "code"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "times_malformed"),
        ({"expires_at": "2026-11-20T12:00:00Z"}, "/expires_at", "times_malformed"),
        ({"starts_at": "2028-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}, "/expires_at", "times_malformed"),
        ({"starts_at": "2027-01-01T00:00:00"}, "/starts_at", None),
        ({"starts_at": "tomorrow"}, "/starts_at", None),
        ({"starts_at": 1800000000}, "/starts_at", "type"),
        ({"expires_at": "2027-13-01T00:00:00Z"}, "/expires_at", None),
        ({"expires_at": ""}, "/expires_at", None),
        ({"expires_at": True}, "/expires_at", "type"),
        ({"until": "2027-01-01T00:00:00Z"}, "", "unknown_member"),
    ],
)
async def test_R18_bad_times_are_problems_at_both_doors(api, times, pointer, code):
    zoe = await api.a_user(ZOE)
    for answer in (
        await grant(api, zoe, **times),
        await api.call("PUT", f"/api/v1/users/{zoe['id']}/roles/user", by=ADMIN, json=times),
    ):
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert error["pointer"] == pointer
        assert code in {None, error["code"]}
    assert (await api.call("GET", f"/api/v1/users/{zoe['id']}/roles", by=ADMIN)).json()["items"] == []


async def test_a_misspelt_member_is_answered_with_those_that_are_known_and_not_repeated(api):
    answer = await grant(api, await api.a_user(ZOE), skope="org/acme")
    [error] = answer.json()["errors"]
    assert error["message"].endswith("subject, role, scope, starts_at, expires_at")
    assert "skope" not in answer.text


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"role": "no-such-role"}, 422, "invalid"),
        ({"role": "\u0000"}, 422, "invalid"),
        ({"scope": "a//b"}, 422, "invalid"),
        ({"scope": "../etc"}, 422, "invalid"),
        ({"scope": ""}, 422, "invalid"),
        ({"subject": {"id": "01a1f8d3-0000-7000-8000-000000000000"}}, 404, "not_found"),
        ({"subject": {"id": "99999999999999999999"}}, 422, "body_invalid"),
        ({"subject": {"id": "01a1f8d3-0000-7000-8000-000000000000", "type": "group"}}, 422, "body_invalid"),
        ({"subject": None}, 422, "body_invalid"),
    ],
)
async def test_R18_a_grant_of_nothing_to_nobody_is_a_problem(api, more, status, code):
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    answer = await grant(api, root, **{"role": "user", **more})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_is_granted_already_or_to_the_suspended_is_a_conflict(api):
    zoe = await api.a_user(ZOE, "user")
    assert (await grant(api, zoe)).json()["code"] == "grant_exists"
    await api.call("POST", f"/api/v1/users/{zoe['id']}/suspend", by=ADMIN)
    assert (await grant(api, zoe, "manager")).json()["code"] == "user_status"


async def test_a_grant_works_from_its_start_to_its_end_and_not_a_moment_longer(api):
    zoe = await api.a_user(ZOE)
    await grant(api, zoe, "manager", starts_at=at(api, 1), expires_at=at(api, 2))
    statuses = []
    for _ in range(3):
        await api.login(ADMIN)
        await api.login(ZOE)
        statuses.append((await api.call("GET", "/api/v1/users", by=ZOE)).status_code)
        roles = (await api.call("GET", "/api/v1/me", by=ZOE)).json()["roles"]
        assert (roles == ["manager"]) == (statuses[-1] == 200)
        api.clock.move(DAY)
    assert statuses == [403, 200, 403]


async def test_R08_nobody_grants_more_or_further_or_longer_than_they_hold(api):
    boss, zoe = await api.signed_in("boss@example.org"), await api.a_user(ZOE)
    await grant(api, boss, "manager", scope="org/acme", expires_at=at(api, 5))
    by = {"by": "boss@example.org"}
    refused = [
        await grant(api, zoe, "user", **by),
        await grant(api, zoe, "user", scope="org", **by),
        await grant(api, zoe, "user", scope="org/acme-2", **by),
        await grant(api, zoe, "manager", scope="org/acme", **by),
        await grant(api, zoe, "manager", scope="org/acme", expires_at=at(api, 6), **by),
        await grant(api, zoe, "admin", scope="org/acme", expires_at=at(api, 1), **by),
        await api.call("PUT", f"/api/v1/users/{zoe['id']}/roles/manager?scope=org/acme", **by),
        await api.call("PUT", f"/api/v1/users/{boss['id']}/roles/manager?scope=org/acme", **by),
    ]
    assert [a.status_code for a in refused] == [403] * 8
    assert all(a.json()["code"] == "forbidden" and a.json()["detail"] for a in refused)
    assert (await grant(api, zoe, "manager", scope="org/acme/team", expires_at=at(api, 5), **by)).status_code == 201
    assert (await grant(api, zoe, "user", scope="org/acme", **by)).status_code == 201


async def test_R08_nobody_takes_away_what_they_could_not_give(api):
    boss = await api.signed_in("boss@example.org", "manager")
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    [held] = (await api.call("GET", GRANTS, by=ADMIN, params={"user_id": root["id"]})).json()["items"]
    answer = await api.call("DELETE", f"{GRANTS}/{held['id']}", by="boss@example.org")
    assert answer.status_code == 403
    [own] = (await api.call("GET", GRANTS, by=ADMIN, params={"user_id": boss["id"]})).json()["items"]
    assert (await api.call("DELETE", f"{GRANTS}/{own['id']}", by="boss@example.org")).status_code == 204
    assert (await api.call("GET", GRANTS, by="boss@example.org")).status_code == 403


async def test_the_last_administrator_keeps_the_grant(api):
    [held] = (await api.call("GET", GRANTS, by=ADMIN, params={"role": "admin"})).json()["items"]
    answer = await api.call("DELETE", f"{GRANTS}/{held['id']}", by=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "last_administrator")


async def test_grants_are_listed_by_pages_filters_and_what_the_caller_may_see(api):
    zoe, li = await api.signed_in(ZOE, "user"), await api.a_user("li@example.org")
    for team in range(4):
        await grant(api, li, scope=f"org/acme/team-{team}")
    seen, cursor = [], {}
    while cursor is not None:
        page = (await api.call("GET", GRANTS, by=ADMIN, params={"limit": 2, "role": "user", **cursor})).json()
        seen += page["items"]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    assert len({g["id"] for g in seen}) == len(seen) == 5
    assert {g["role"] for g in seen} == {"user"}
    by_user = (await api.call("GET", GRANTS, by=ADMIN, params={"user_id": li["id"]})).json()["items"]
    assert [g["scope"] for g in by_user] == [f"org/acme/team-{n}" for n in range(4)]
    own = await api.call("GET", f"/api/v1/users/{zoe['id']}/roles", by=ZOE)
    assert [g["role"] for g in own.json()["items"]] == ["user"]
    hidden = by_user[0]["id"]
    assert (await api.call("GET", f"{GRANTS}/{hidden}", by=ZOE)).status_code == 403
    await api.call("PUT", f"/api/v1/users/{zoe['id']}/roles/manager?scope=org/acme/team-1", by=ADMIN)
    assert (await api.call("GET", f"{GRANTS}/{hidden}", by=ZOE)).status_code == 404
    visible = (await api.call("GET", GRANTS, by=ZOE)).json()["items"]
    assert {g["scope"] for g in visible} == {"org/acme/team-1"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{GRANTS}?user_id=1"),
        ("GET", f"{GRANTS}?role=UPPER"),
        ("GET", f"{GRANTS}?role=%00"),
        ("GET", f"{GRANTS}?limit=0"),
        ("GET", f"{GRANTS}?cursor=AAAA"),
        ("PUT", "/api/v1/users/{root}/roles/user?scope=a//b"),
        ("PUT", "/api/v1/users/{root}/roles/user?scope=%00"),
        ("PUT", "/api/v1/users/{root}/roles/UPPER"),
        ("DELETE", "/api/v1/users/{root}/roles/UPPER"),
        ("DELETE", "/api/v1/users/{root}/roles/user?scope=" + "x/" * 200),
    ],
)
async def test_R18_bad_parameters_are_problems(api, method, path):
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()["id"]
    answer = await api.call(method, path.format(root=root), by=ADMIN)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
