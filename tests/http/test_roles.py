"""Roles and permissions over HTTP."""

import pytest

from http_world import ADMIN

ROLES = "/api/v1/roles"
ANYHOW = {"If-Match": "*"}


async def define(api, name, *permissions, by=ADMIN, **more):
    body = {"name": name, "permissions": list(permissions), **more}
    return await api.call("POST", ROLES, by=by, json=body)


async def test_a_role_reads_back_as_it_was_defined(api):
    answer = await define(api, "writer", "docs:write", "docs:*", parents=["user"], description="Schreibt. 李")
    assert answer.status_code == 201
    assert (answer.headers["location"], answer.headers["etag"]) == (f"{ROLES}/writer", '"1"')
    assert answer.json() == {
        "name": "writer", "description": "Schreibt. 李", "permissions": ["docs:*", "docs:write"], "parents": ["user"],
        "built_in": False,
    }  # fmt: skip
    again = await api.call("GET", f"{ROLES}/writer", by=ADMIN)
    assert (again.json(), again.headers["etag"]) == (answer.json(), '"1"')
    listed = (await api.call("GET", ROLES, by=ADMIN)).json()
    assert [(r["name"], r["built_in"]) for r in listed["items"]] == [
        ("admin", True), ("manager", True), ("user", True), ("writer", False)
    ]  # fmt: skip
    assert listed["next_cursor"] is None


async def test_a_patch_replaces_what_it_names_and_null_clears(api):
    await define(api, "writer", "docs:write", parents=["user"], description="Writes.")
    path = f"{ROLES}/writer"
    changed = await api.call("PATCH", path, by=ADMIN, json={"permissions": ["docs:read"]}, headers={"If-Match": '"1"'})
    assert changed.headers["etag"] == '"2"'
    role = changed.json()
    assert (role["permissions"], role["parents"], role["description"]) == (["docs:read"], ["user"], "Writes.")
    cleared = {"description": None, "permissions": None, "parents": None}
    role = (await api.call("PATCH", path, by=ADMIN, json=cleared, headers={"If-Match": '"2"'})).json()
    assert (role["permissions"], role["parents"], role["description"]) == ([], [], "")
    same = await api.call("PATCH", path, by=ADMIN, json={}, headers={"If-Match": '"3"'})
    assert (same.status_code, same.headers["etag"]) == (200, '"3"')
    merge_patch = {"If-Match": '"3"', "Content-Type": "application/merge-patch+json"}
    answer = await api.call("PATCH", path, by=ADMIN, content=b'{"description":"x"}', headers=merge_patch)
    assert answer.json()["description"] == "x"


async def test_changes_and_removals_ask_for_the_version(api):
    await define(api, "writer")
    path = f"{ROLES}/writer"
    for method, body in (("PATCH", {"json": {}}), ("DELETE", {})):
        tags = ({}, {"If-Match": '"7"'}, {"If-Match": 'W/"1"'}, {"If-Match": '"1", "2"'})
        statuses = [(await api.call(method, path, by=ADMIN, headers=tag, **body)).status_code for tag in tags]
        assert statuses == [428, 412, 412, 412], method
    assert (await api.call("DELETE", path, by=ADMIN, headers={"If-Match": '"1"'})).status_code == 204
    assert (await api.call("GET", path, by=ADMIN)).status_code == 404


async def test_what_stands_in_the_way_of_a_change_is_a_conflict_with_a_code(api):
    await define(api, "writer")
    await define(api, "chief", parents=["writer"])
    user = await api.a_user("zoë@example.org", "chief")
    answers = [
        await define(api, "writer"),
        await api.call("PATCH", f"{ROLES}/writer", by=ADMIN, json={"parents": ["chief"]}, headers=ANYHOW),
        await api.call("DELETE", f"{ROLES}/writer", by=ADMIN, headers=ANYHOW),
        await api.call("DELETE", f"{ROLES}/chief", by=ADMIN, headers=ANYHOW),
        await api.call("PATCH", f"{ROLES}/admin", by=ADMIN, json={"permissions": []}, headers=ANYHOW),
        await api.call("DELETE", f"{ROLES}/user", by=ADMIN, headers=ANYHOW),
    ]
    assert {a.status_code for a in answers} == {409}
    assert [a.json()["code"] for a in answers] == [
        "role_exists", "role_cycle", "role_in_use", "role_in_use", "role_built_in", "role_built_in"
    ]  # fmt: skip
    await api.call("DELETE", f"/api/v1/users/{user['id']}/roles/chief", by=ADMIN)
    assert (await api.call("DELETE", f"{ROLES}/chief", by=ADMIN, headers=ANYHOW)).status_code == 204


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"name": "Writer"}, "/name", "role_name_malformed"),
        ({"name": "w" * 65}, "/name", "role_name_malformed"),
        ({"name": "w", "permissions": ["docs:read", "docs"]}, "/permissions/1", "permission_malformed"),
        ({"name": "w", "permissions": ["docs:read", 5]}, "/permissions/1", "type"),
        ({"name": "w", "permissions": "docs:read"}, "/permissions", "type"),
        ({"name": "w", "permissions": [f"docs:a{n}" for n in range(501)]}, "/permissions", "type"),
        ({"name": "w", "parents": ["no-such-role"]}, "/parents", "role_unknown"),
        ({"name": "w", "parents": ["UPPER"]}, "/parents/0", "role_name_malformed"),
        ({"name": "w", "built_in": True}, "", "unknown_member"),
        ({"permissions": []}, "/name", "missing"),
        ({"name": "w", "description": "x" * 501}, "/description", "description_malformed"),
    ],
)
async def test_R18_bad_input_is_named_by_its_pointer(api, body, pointer, code):
    answer = await api.call("POST", ROLES, by=ADMIN, json=body)
    assert answer.status_code == 422, answer.text
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]


async def test_R18_a_role_that_cannot_be_is_not_found(api):
    for name in ("no-such-role", "UPPER", "a%00b", "%E6%9D%8E", "..%2f..", "x" * 300):
        for method in ("GET", "PATCH", "DELETE"):
            body = {"json": {}} if method == "PATCH" else {}
            answer = await api.call(method, f"{ROLES}/{name}", by=ADMIN, headers=ANYHOW, **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, name)


async def test_roles_are_for_those_who_may_see_or_define_them(api):
    await api.signed_in("zoë@example.org")
    await api.signed_in("boss@example.org", "manager")
    await define(api, "writer", "docs:write")
    for path in (ROLES, f"{ROLES}/admin", "/api/v1/permissions"):
        assert (await api.call("GET", path)).status_code == 401
        assert (await api.call("GET", path, by="zoë@example.org")).status_code == 403
        assert (await api.call("GET", path, by="boss@example.org")).status_code == 200
    for attempt in (
        define(api, "mine", by="boss@example.org"),
        api.call("PATCH", f"{ROLES}/writer", by="boss@example.org", json={}, headers=ANYHOW),
        api.call("DELETE", f"{ROLES}/writer", by="boss@example.org", headers=ANYHOW),
    ):
        answer = await attempt
        assert answer.status_code == 403
        assert "roles:write" in answer.json()["detail"]


async def test_permissions_are_ours_with_their_meaning_and_then_those_of_others(api):
    await define(api, "writer", "docs:write", "docs:*")
    items = (await api.call("GET", "/api/v1/permissions", by=ADMIN)).json()["items"]
    texts = {item["permission"]: item["description"] for item in items}
    assert texts["users:read"] == "see users"
    assert (texts["docs:write"], texts["docs:*"], texts["*:*"]) == ("", "", "")


async def test_a_changed_role_is_felt_with_the_next_request(api):
    await define(api, "helper")
    await api.signed_in("zoë@example.org", "helper")
    assert (await api.call("GET", ROLES, by="zoë@example.org")).status_code == 403
    patch = {"json": {"permissions": ["roles:read"]}, "headers": ANYHOW}
    await api.call("PATCH", f"{ROLES}/helper", by=ADMIN, **patch)
    assert (await api.call("GET", ROLES, by="zoë@example.org")).status_code == 200
