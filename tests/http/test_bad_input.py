"""Input that is wrong in odd ways: always the caller's fault, and never another meaning than the one that was sent."""

import pytest

from http_world import ADMIN


@pytest.mark.parametrize(
    "query",
    ["grants?user_id=null", "grants?user_id=NULL", "users?status=null", "audit-events?action=null", "users?limit=null"],
)
async def test_a_null_never_makes_a_filter_disappear(api, query):
    answer = await api.call("GET", f"/api/v1/{query}", by=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_text_may_be_the_word_null(api):
    await api.a_user("nully@example.org", display_name="Null")
    found = await api.call("GET", "/api/v1/users?q=null", by=ADMIN)
    assert [user["display_name"] for user in found.json()["items"]] == ["Null"]


@pytest.mark.parametrize("time", ["0.5", "1700000000", "null", "2030-01-31", "2030-01-31T12:00:00", "tomorrow", ""])
async def test_a_time_is_written_with_its_zone_and_nothing_else_is_one(api, time):
    for name in ("since", "until"):
        answer = await api.call("GET", f"/api/v1/audit-events?{name}={time}", by=ADMIN)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "time_malformed"), answer.text


async def test_options_name_all_methods_of_a_path(api):
    for path, methods in {
        "/api/v1/users": "GET, HEAD, OPTIONS, POST",
        "/api/v1/me": "GET, HEAD, OPTIONS, PATCH",
        "/api/v1/roles/admin": "DELETE, GET, HEAD, OPTIONS, PATCH",
        "/api/v1/auth/login": "OPTIONS, POST",
        "/health/live": "GET, HEAD, OPTIONS",
        "/docs": "GET, HEAD, OPTIONS",
    }.items():
        answer = await api.call("OPTIONS", path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, methods, b""), path
        assert (await api.call("BREW", path)).headers["allow"] == methods


async def test_of_a_member_that_is_there_twice_the_last_one_counts(api):
    user = await api.a_user("twice@example.org")
    body = b'{"display_name": "First", "display_name": "Last"}'
    headers = {"If-Match": "*", "Content-Type": "application/json"}
    answer = await api.call("PATCH", f"/api/v1/users/{user['id']}", by=ADMIN, content=body, headers=headers)
    assert answer.json()["display_name"] == "Last"


@pytest.mark.parametrize("path", ["/api//v1/me", "//api/v1/me", "/api/v1//me//", "/api/v1/me/"])
async def test_slashes_too_many_lead_to_the_same_place_with_the_same_locks(api, path):
    assert (await api.call("GET", f"http://localhost:8000{path}", by=ADMIN)).json()["email"] == ADMIN
    assert (await api.call("GET", f"http://localhost:8000{path}")).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "users/%2e%2e/roles",
        "users%2Froles",
        "roles/admin%00",
        "roles/%ff",
        "roles/admin%2F",
        "roles/..%2fadmin",
        "ro%00les",
    ],
)
async def test_no_trick_of_percent_signs_leads_anywhere_else(api, path):
    answer = await api.call("GET", f"/api/v1/{path}", by=ADMIN)
    if answer.status_code == 200:  # a slash too many, however it is written, is harmless
        assert answer.json()["name"] == "admin"
    else:
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_depth_of_a_hundred_thousand_is_refused_wherever_it_stands(api):
    for deep in (b"[" * 100_000, b'{"a":' * 100_000, b'{"email":' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
        answer = await api.call(
            "POST", "/api/v1/auth/login", content=deep, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in {400, 422}
        assert answer.json()["code"] in {"json_too_deep", "json_malformed", "body_invalid"}
