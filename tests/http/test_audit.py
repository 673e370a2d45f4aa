"""The audit trail over HTTP."""

from datetime import timedelta

import pytest

from http_world import ADMIN, PASSWORD

EVENTS = "/api/v1/audit-events"
ZOE = "zoë@example.org"


async def events(api, by=ADMIN, **query):
    answer = await api.call("GET", EVENTS, by=by, params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def long_story(api):
    """Everything that people do, honest or not; the account it is about."""
    zoe = await api.signed_in(ZOE, username="zoe.m", display_name="Zoë Müller")
    path = f"/api/v1/users/{zoe['id']}"
    anyhow = {"If-Match": "*"}
    for step in [
        ("POST", "/api/v1/auth/login", {"json": {"email": ZOE, "password": "wrong wrong wrong"}}),
        ("POST", "/api/v1/auth/login", {"json": {"email": "nobody@example.org", "password": PASSWORD}}),
        ("POST", "/api/v1/auth/refresh", {"json": {"refresh_token": api.tokens[ZOE]["refresh_token"]}}),
        ("POST", "/api/v1/auth/logout", {"by": ZOE}),
        ("PATCH", path, {"json": {"email": "new@example.org", "display_name": "Z"}, "headers": anyhow}),
        ("POST", f"{path}/password", {"json": {"password": "another long pass phrase"}}),
        ("POST", "/api/v1/roles", {"json": {"name": "writer", "permissions": ["docs:write"]}}),
        ("PATCH", "/api/v1/roles/writer", {"json": {"description": "mail@example.org"}, "headers": anyhow}),
        ("PUT", f"{path}/roles/writer?scope=org/acme", {}),
        ("DELETE", f"{path}/roles/writer?scope=org/acme", {}),
        ("DELETE", "/api/v1/roles/writer", {"headers": anyhow}),
        ("POST", f"{path}/suspend", {}),
        ("POST", f"{path}/reactivate", {}),
        ("POST", "/api/v1/keys/rotate", {}),
        ("DELETE", path, {"headers": anyhow}),
    ]:
        method, where, options = step
        answer = await api.call(method, where, **{"by": ADMIN, **options})
        assert answer.status_code < 300 or "login" in where, answer.text
    return zoe


async def test_a_long_story_is_told_in_order_and_without_anybodys_address(api):
    zoe = await long_story(api)
    told = await events(api)
    actions = [e["action"] for e in reversed(told)]
    assert actions[2:] == [
        "user.created", "session.started", "session.sign_in_failed", "session.sign_in_failed", "session.refreshed",
        "session.ended", "user.updated", "user.password_set", "role.created", "role.updated", "grant.created",
        "grant.revoked", "role.deleted", "user.suspended", "user.reactivated", "key.rotated", "user.deleted",
    ]  # fmt: skip
    assert actions[:2] == ["installation.prepared", "session.started"]
    text = (await api.call("GET", EVENTS, by=ADMIN, params={"limit": 200})).text
    for secret in ("@", "Zoë", "zoe.m", "pass phrase", "wrong wrong", "hwr_", api.tokens[ZOE]["access_token"]):
        assert secret not in text
    assert {e["door"] for e in told} == {"rest", "system"}
    about = [e["action"] for e in reversed(await events(api, subject=f"user:{zoe['id']}"))]
    assert about[0] == "user.created"
    assert about[-1] == "user.deleted"


async def test_an_event_says_who_did_what_to_whom_from_where_and_how_it_ended(api):
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    headers = {"X-Request-ID": "trace-me-1"}
    answer = await api.call(
        "POST", "/api/v1/users", by=ADMIN, json={"email": ZOE, "scope": "org/acme"}, headers=headers
    )
    [event] = await events(api, correlation_id="trace-me-1")
    assert event.pop("id")
    assert event == {
        "at": "2026-11-20T12:00:00Z", "actor": f"user:{root['id']}", "action": "user.created",
        "subject": f"user:{answer.json()['id']}", "outcome": "success", "reason": None, "scope": "org/acme",
        "door": "rest", "address": "127.0.0.1", "correlation_id": "trace-me-1", "details": {},
    }  # fmt: skip
    await api.call("POST", "/api/v1/auth/login", json={"email": ADMIN, "password": "wrong wrong wrong"})
    [failed] = await events(api, action="session.sign_in_failed")
    assert (failed["actor"], failed["outcome"], failed["reason"]) == ("anonymous", "refused", "password_wrong")


async def test_filters_are_combined(api):
    zoe = await long_story(api)
    api.clock.move(timedelta(hours=1))
    await api.login(ADMIN)
    subject, root = f"user:{zoe['id']}", (await api.call("GET", "/api/v1/me", by=ADMIN)).json()["id"]
    noon, one = "2026-11-20T12:30:00Z", "2026-11-20T14:30:00+01:00"
    assert [e["action"] for e in await events(api, since=noon)] == ["session.started"]
    assert [e["action"] for e in await events(api, since=noon, until=one)] == ["session.started"]
    assert await events(api, since=one) == []
    assert "session.started" in {e["action"] for e in await events(api, until=noon)}
    assert {e["subject"] for e in await events(api, subject=subject, actor=f"user:{root}")} == {subject}
    assert [e["action"] for e in await events(api, subject=subject, action="user.suspended")] == ["user.suspended"]
    assert await events(api, subject=subject, actor="anonymous", action="user.suspended") == []
    for nobody in ("user:%", "_", "'; drop table audit_events; --", "\\"):
        assert await events(api, actor=nobody) == []


async def test_pages_follow_the_link_also_while_new_events_come(api):
    await long_story(api)
    everything = [e["id"] for e in await events(api)]
    seen, path = [], f"{EVENTS}?limit=4"
    while path:
        answer = await api.call("GET", path, by=ADMIN)
        seen += [e["id"] for e in answer.json()["items"]]
        await api.login(ADMIN)
        link = answer.headers.get("link", "")
        assert bool(link) == (answer.json()["next_cursor"] is not None)
        path = link[1 : link.index(">")] if link else None
    assert seen == everything


async def test_people_see_the_events_their_scopes_reach_and_no_others(api):
    await api.call("POST", "/api/v1/roles", by=ADMIN, json={"name": "auditor", "permissions": ["audit:read"]})
    zoe = await api.signed_in(ZOE)
    inside = await api.a_user("in@example.org", scope="org/acme/team")
    await api.a_user("out@example.org", scope="org/acme-2")
    assert (await api.call("GET", EVENTS)).status_code == 401
    refused = await api.call("GET", EVENTS, by=ZOE)
    assert (refused.status_code, "audit:read" in refused.json()["detail"]) == (403, True)
    await api.call("PUT", f"/api/v1/users/{zoe['id']}/roles/auditor?scope=org/acme", by=ADMIN)
    assert [e["subject"] for e in await events(api, ZOE)] == [f"user:{inside['id']}"]


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-11-20T12:00:00",
        "since=yesterday",
        "until=9999999999999999999999",
        "action=user.exploded",
        "limit=201",
        "limit=-1",
        "cursor=AAAA",
        "actor=%00",
        "subject=" + "x" * 201,
        "correlation_id=a%0Ab",
    ],
)
async def test_R18_bad_parameters_are_problems(api, query):
    answer = await api.call("GET", f"{EVENTS}?{query}", by=ADMIN)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


async def test_a_cursor_of_another_list_is_refused(api):
    await long_story(api)
    await api.a_user("li@example.org")
    page = (await api.call("GET", "/api/v1/users?limit=1", by=ADMIN)).json()
    answer = await api.call("GET", EVENTS, by=ADMIN, params={"cursor": page["next_cursor"]})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "cursor_malformed")


async def test_nothing_changes_or_removes_an_event(api):
    [event, *_] = await events(api)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await api.call(method, EVENTS, by=ADMIN)).status_code == 405
        assert (await api.call(method, f"{EVENTS}/{event['id']}", by=ADMIN)).status_code in {404, 405}
