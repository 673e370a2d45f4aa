"""Users over HTTP."""

import asyncio

import pytest

from http_world import ADMIN, PASSWORD

ZOE = "zoë.müller@example.org"


async def test_a_created_user_reads_back_as_it_was_sent(api):
    answer = await api.call(
        "POST",
        "/api/v1/users",
        by=ADMIN,
        json={"email": ZOE, "password": PASSWORD, "display_name": "Zoë 李", "username": "zoe", "locale": "de-CH"},
    )
    user = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/users/{user['id']}"
    assert answer.headers["etag"] == '"1"'
    assert (user["email"], user["display_name"], user["status"]) == (ZOE, "Zoë 李", "active")
    again = await api.call("GET", answer.headers["location"], by=ADMIN)
    assert again.json() == user
    assert again.headers["etag"] == '"1"'


async def test_without_a_password_a_user_is_invited(api):
    answer = await api.call("POST", "/api/v1/users", by=ADMIN, json={"email": ZOE})
    assert answer.json()["status"] == "invited"


async def test_R06_one_odd_name_never_breaks_the_list(api):
    for i, name in enumerate(["a.b..c", "ünï.cödé", "o'hara", "x" * 60, "李明"]):
        await api.a_user(f"{name}@example.org", username=f"user{i}", display_name="Ω mega")
    answer = await api.call("GET", "/api/v1/users?limit=200", by=ADMIN)
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 6


async def test_R16_an_address_in_another_case_is_the_same_account(api):
    await api.a_user("Zoe@Example.org")
    answer = await api.call("POST", "/api/v1/users", by=ADMIN, json={"email": "zOE@eXAMPLE.ORG"})
    assert answer.status_code == 409
    assert answer.json()["code"] == "email_taken"
    assert "zOE" not in answer.text


async def test_two_creates_of_one_address_at_once_leave_one(api):
    bodies = [{"email": "Twin@example.org"}, {"email": "tWIN@example.org"}]
    answers = await asyncio.gather(*(api.call("POST", "/api/v1/users", by=ADMIN, json=b) for b in bodies))
    assert sorted(a.status_code for a in answers) == [201, 409]


async def test_R11_an_unknown_role_leaves_no_user_behind(api):
    body = {"email": ZOE, "password": PASSWORD, "roles": ["user", "no-such-role"]}
    answer = await api.call("POST", "/api/v1/users", by=ADMIN, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/roles"
    assert len((await api.call("GET", "/api/v1/users", by=ADMIN)).json()["items"]) == 1


async def test_a_patch_changes_what_it_names_and_null_clears(api):
    user = await api.a_user(ZOE, display_name="Zoë", username="zoe")
    path = f"/api/v1/users/{user['id']}"
    answer = await api.call("PATCH", path, by=ADMIN, json={"display_name": None}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert answer.json() == {**user, "display_name": None, "updated_at": answer.json()["updated_at"]}


@pytest.mark.parametrize(
    ("if_match", "status", "code"),
    [
        (None, 428, "if_match_required"),
        ('"9"', 412, "stale_version"),
        ('W/"1"', 412, "stale_version"),
        ('"x"', 412, "stale_version"),
        ("*", 200, None),
    ],
)
async def test_a_change_needs_the_version_it_was_made_from(api, if_match, status, code):
    user = await api.a_user(ZOE)
    headers = {} if if_match is None else {"If-Match": if_match}
    path = f"/api/v1/users/{user['id']}"
    answer = await api.call("PATCH", path, by=ADMIN, json={"display_name": "Z"}, headers=headers)
    assert answer.status_code == status
    assert answer.json().get("code") == code


async def test_of_two_changes_from_one_version_one_is_lost_to_nobody(api):
    user = await api.a_user(ZOE)
    path = f"/api/v1/users/{user['id']}"
    answers = await asyncio.gather(
        *(
            api.call("PATCH", path, by=ADMIN, json={"display_name": name}, headers={"If-Match": '"1"'})
            for name in ("A", "B")
        )
    )
    assert sorted(a.status_code for a in answers) == [200, 412]


async def test_a_changed_address_counts_as_unverified_and_the_old_one_is_free(api):
    user = await api.a_user(ZOE)
    path = f"/api/v1/users/{user['id']}"
    answer = await api.call("PATCH", path, by=ADMIN, json={"email": "new@example.org"}, headers={"If-Match": '"1"'})
    assert answer.json()["email_verified"] is False
    await api.a_user(ZOE)


async def test_a_deleted_user_keeps_the_id_and_loses_the_rest(api):
    user = await api.a_user(ZOE, display_name="Zoë", username="zoe")
    path = f"/api/v1/users/{user['id']}"
    assert (await api.call("DELETE", path, by=ADMIN, headers={"If-Match": '"1"'})).status_code == 204
    gone = (await api.call("GET", path, by=ADMIN)).json()
    assert (gone["status"], gone["display_name"], gone["username"]) == ("deleted", None, None)
    assert "zoë" not in str(gone)
    assert len((await api.call("GET", "/api/v1/users", by=ADMIN)).json()["items"]) == 1
    await api.a_user(ZOE, username="zoe")


async def test_R08_a_manager_cannot_give_take_or_take_over_more_than_they_hold(api):
    await api.signed_in("manager@example.org", "manager")
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    by = {"by": "manager@example.org"}
    attempts = [
        await api.call("POST", "/api/v1/users", **by, json={"email": ZOE, "roles": ["admin"]}),
        await api.call("POST", f"/api/v1/users/{root['id']}/password", **by, json={"password": PASSWORD + "!"}),
        await api.call("POST", f"/api/v1/users/{root['id']}/suspend", **by),
        await api.call("PATCH", f"/api/v1/users/{root['id']}", **by, json={"email": ZOE}, headers={"If-Match": "*"}),
        await api.call("DELETE", f"/api/v1/users/{root['id']}", **by, headers={"If-Match": "*"}),
        await api.call("DELETE", f"/api/v1/users/{root['id']}/roles/admin", **by),
        await api.call("POST", "/api/v1/roles", **by, json={"name": "mine", "permissions": ["*:*"]}),
    ]
    assert [a.status_code for a in attempts] == [403] * 7
    assert all(a.json()["code"] == "forbidden" and a.json()["detail"] for a in attempts)
    await api.a_user(ZOE)


async def test_R08_the_last_administrator_stays(api):
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    path = f"/api/v1/users/{root['id']}"
    expiring = {"expires_at": "2999-01-01T00:00:00Z"}
    answers = [
        await api.call("POST", f"{path}/suspend", by=ADMIN),
        await api.call("DELETE", path, by=ADMIN, headers={"If-Match": "*"}),
        await api.call("DELETE", f"{path}/roles/admin", by=ADMIN),
        await api.call("PUT", f"{path}/roles/admin", by=ADMIN, json=expiring),
    ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(409, "last_administrator")] * 4


async def test_R08_of_two_administrators_who_leave_at_once_one_stays(api):
    other = await api.signed_in("other@example.org", "admin")
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    answers = await asyncio.gather(
        api.call("DELETE", f"/api/v1/users/{other['id']}/roles/admin", by=ADMIN),
        api.call("DELETE", f"/api/v1/users/{root['id']}/roles/admin", by="other@example.org"),
    )
    # the second is refused because nobody would be left, or because it is no administrator any more
    assert sorted(a.status_code for a in answers) in ([204, 409], [204, 403])
    grants = await api.store_grants()
    assert [g.role for g in grants] == ["admin"]


async def test_people_change_their_own_profile_but_not_their_address(api):
    await api.signed_in(ZOE)
    answer = await api.call("PATCH", "/api/v1/me", by=ZOE, json={"display_name": "Zoë"}, headers={"If-Match": '"1"'})
    assert answer.json()["display_name"] == "Zoë"
    answer = await api.call("PATCH", "/api/v1/me", by=ZOE, json={"email": "x@example.org"}, headers={"If-Match": '"2"'})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_self_service")


async def test_who_may_see_nobody_is_told_so_and_sees_only_themselves(api):
    zoe = await api.signed_in(ZOE)
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    assert (await api.call("GET", "/api/v1/users", by=ZOE)).status_code == 403
    assert (await api.call("GET", f"/api/v1/users/{root['id']}", by=ZOE)).status_code == 403
    assert (await api.call("GET", f"/api/v1/users/{zoe['id']}", by=ZOE)).status_code == 200


async def test_a_scoped_manager_sees_and_changes_what_lies_below_that_scope_only(api):
    inside = await api.a_user("in@example.org", scope="org/acme/team")
    outside = await api.a_user("out@example.org", scope="org/acme-2")
    boss = await api.signed_in("boss@example.org")
    await api.call("PUT", f"/api/v1/users/{boss['id']}/roles/manager?scope=org/acme", by=ADMIN)
    seen = await api.call("GET", "/api/v1/users", by="boss@example.org")
    assert [u["email"] for u in seen.json()["items"]] == ["in@example.org"]
    patch = {"json": {"display_name": "X"}, "headers": {"If-Match": "*"}, "by": "boss@example.org"}
    assert (await api.call("PATCH", f"/api/v1/users/{inside['id']}", **patch)).status_code == 200
    assert (await api.call("PATCH", f"/api/v1/users/{outside['id']}", **patch)).status_code == 404
    assert (await api.call("GET", f"/api/v1/users/{outside['id']}", by="boss@example.org")).status_code == 404


async def test_pages_follow_the_cursor_and_the_link(api):
    for i in range(7):
        await api.a_user(f"user{i}@example.org")
    seen, path = [], "/api/v1/users?limit=3&sort=email&order=desc"
    while path:
        answer = await api.call("GET", path, by=ADMIN)
        seen += [u["email"] for u in answer.json()["items"]]
        link = answer.headers.get("link", "")
        path = link[1 : link.index(">")] if link else None
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 8


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "sort=password",
        "order=sideways",
        "status=asleep",
        "cursor=AAAA",
        "cursor=%00",
        "cursor=é",
        "q=" + "x" * 300,
    ],
)
async def test_R18_bad_parameters_are_problems(api, query):
    answer = await api.call("GET", f"/api/v1/users?{query}", by=ADMIN)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "q", ["%", "_", "%00", "\\", "'; drop table users; --", "\ud800".encode("utf-8", "surrogatepass")]
)
async def test_a_search_takes_every_character_literally(api, q):
    answer = await api.call("GET", "/api/v1/users", by=ADMIN, params={"q": q})
    assert answer.status_code in {200, 400, 422}
    assert answer.status_code != 200 or answer.json()["items"] == []


@pytest.mark.parametrize(
    "id", ["1", "99999999999999999999999999", "not-a-uuid", "01a1f8d3-0000-7000-8000-000000000000"]
)
async def test_R18_an_id_that_is_none_is_not_found(api, id):
    answer = await api.call("GET", f"/api/v1/users/{id}", by=ADMIN)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_R04_a_weak_password_is_refused_and_never_echoed(api):
    answer = await api.call("POST", "/api/v1/users", by=ADMIN, json={"email": ZOE, "password": "passwordpassword"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "password_common"
    assert "passwordpassword" not in answer.text


async def test_a_new_password_ends_every_session_and_works_at_once(api):
    user = await api.signed_in(ZOE)
    refresh = {"refresh_token": api.tokens[ZOE]["refresh_token"]}
    body = {"password": "another long pass phrase"}
    assert (await api.call("POST", f"/api/v1/users/{user['id']}/password", by=ADMIN, json=body)).status_code == 204
    assert (await api.call("POST", "/api/v1/auth/refresh", json=refresh)).status_code == 401
    await api.login(ZOE, "another long pass phrase")


async def test_effective_permissions_say_where_and_through_which_roles(api):
    user = await api.a_user(ZOE)
    role = {"name": "editor", "permissions": ["docs:write"], "parents": ["user"]}
    await api.call("POST", "/api/v1/roles", by=ADMIN, json=role)
    child = {"name": "chief", "permissions": [], "parents": ["editor"]}
    await api.call("POST", "/api/v1/roles", by=ADMIN, json=child)
    await api.call("PUT", f"/api/v1/users/{user['id']}/roles/chief?scope=org/acme", by=ADMIN)
    answer = await api.call("GET", f"/api/v1/users/{user['id']}/permissions", by=ADMIN)
    assert answer.json()["items"] == [
        {"permission": "docs:write", "scope": "org/acme", "path": ["chief", "editor"], "expires_at": None}
    ]
