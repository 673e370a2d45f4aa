"""The Idempotency-Key header: sent again, a request changes nothing and gets its first answer."""

import asyncio

import pytest

from application.idempotency import KEY_MAX
from builders import SECOND
from domain.idempotency import KEPT
from http_world import ADMIN, PASSWORD

USERS = "/api/v1/users"
ZOE = {"email": "zoe@example.org", "display_name": "Zoë"}


def keyed(key="first"):
    return {"Idempotency-Key": key}


async def users(api):
    return (await api.call("GET", USERS, by=ADMIN)).json()["items"]


async def stored(api):
    """Every answer that is kept, as it lies in storage."""
    async with api.store.transaction():
        return api.store.answers.tables.answers.all()


async def test_the_same_request_again_gets_the_same_answer_and_changes_nothing(api):
    first = await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())
    again = await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("etag", "location", "content-type", "content-length"):
        assert again.headers[name] == first.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(await users(api)) == 2
    events = (await api.call("GET", "/api/v1/audit-events?action=user.created", by=ADMIN)).json()["items"]
    assert len(events) == 1


async def test_another_request_under_the_same_key_is_refused(api):
    await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())
    for path, body in ((USERS, {"email": "li@example.org"}), (f"{USERS}?", {**ZOE, "locale": "de"})):
        answer = await api.call("POST", path, by=ADMIN, json=body, headers=keyed())
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await users(api)) == 2


async def test_keys_of_other_callers_and_operations_never_meet(api):
    await api.signed_in("manager@example.org", "manager")
    first = await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())
    by_another = await api.call("POST", USERS, by="manager@example.org", json=ZOE, headers=keyed())
    assert (first.status_code, by_another.json()["code"]) == (201, "email_taken")
    role = await api.call("POST", "/api/v1/roles", by=ADMIN, json={"name": "reader"}, headers=keyed())
    assert role.status_code == 201


async def test_a_refusal_is_not_kept_so_that_the_request_can_be_mended(api):
    assert (await api.call("POST", USERS, by=ADMIN, json={"email": ADMIN}, headers=keyed())).status_code == 409
    assert (await api.call("POST", USERS, by=ADMIN, json={"email": "no"}, headers=keyed())).status_code == 422
    assert (await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())).status_code == 201


async def test_after_a_day_the_key_is_fresh_again(api):
    await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())
    api.clock.move(KEPT - SECOND)
    await api.login(ADMIN)
    kept = await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())
    assert kept.headers["idempotency-replayed"] == "true"
    api.clock.move(SECOND)
    assert (await api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed())).json()["code"] == "email_taken"


@pytest.mark.parametrize("key", ["", "x" * (KEY_MAX + 1), "tab\there", "é"])
async def test_a_malformed_key_is_refused_and_nothing_is_done(api, key):
    answer = await api.call("POST", USERS, by=ADMIN, json=ZOE, headers={"Idempotency-Key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_malformed")
    assert len(await users(api)) == 1


async def test_two_keys_are_one_too_many(api):
    headers = [*api.bearer(ADMIN).items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await api.client.post(USERS, json=ZOE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_malformed")


async def test_without_a_token_a_key_changes_nothing_about_the_answer(api):
    answer = await api.call("POST", USERS, json=ZOE, headers=keyed())
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


async def test_where_passwords_and_tokens_are_the_point_nothing_is_kept(api):
    body = {"email": ADMIN, "password": PASSWORD}
    first = await api.call("POST", "/api/v1/auth/login", json=body, headers=keyed())
    again = await api.call("POST", "/api/v1/auth/login", json=body, headers=keyed())
    assert first.json()["access_token"] != again.json()["access_token"]
    user = await api.a_user("zoe@example.org")
    path = f"{USERS}/{user['id']}/password"
    for _ in range(2):
        answer = await api.call("POST", path, by=ADMIN, json={"password": "moss lantern orbit"}, headers=keyed())
        assert answer.status_code == 204
        assert "idempotency-replayed" not in answer.headers
    assert await stored(api) == []


async def test_of_many_at_once_one_works_and_all_hear_the_same(api):
    posts = [api.call("POST", USERS, by=ADMIN, json=ZOE, headers=keyed()) for _ in range(20)]
    answers = await asyncio.gather(*posts)
    made = [a for a in answers if a.status_code == 201]
    assert {a.content for a in made} == {made[0].content}
    assert {a.json()["code"] for a in answers if a.status_code != 201} <= {"idempotency_key_in_use"}
    assert sum("idempotency-replayed" not in a.headers for a in made) == 1
    assert len(await users(api)) == 2


async def test_what_is_kept_tells_nothing(api):
    secret = "moss lantern orbit tailor"
    key = "a-key-to-be-guessed"
    await api.call("POST", USERS, by=ADMIN, json={**ZOE, "password": secret}, headers=keyed(key))
    [answered] = await stored(api)
    for plain in (b"zoe@example.org", secret.encode(), key.encode(), b"display_name"):
        assert plain not in answered.sealed + answered.fingerprint + answered.id


async def test_a_change_of_authority_is_felt_from_the_answer_on(api):
    user = await api.signed_in("zoe@example.org")
    answer = await api.call("POST", f"{USERS}/{user['id']}/suspend", by=ADMIN, headers=keyed())
    assert answer.status_code == 200
    assert (await api.call("GET", "/api/v1/me", by="zoe@example.org")).json()["code"] == "account_not_active"
    again = await api.call("POST", f"{USERS}/{user['id']}/suspend", by=ADMIN, headers=keyed())
    assert (again.status_code, again.json()["status"]) == (200, "suspended")


async def test_the_document_names_the_header_exactly_where_it_is_heeded(api):
    document = (await api.call("GET", "/openapi.json")).json()
    heeding = {
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
    }
    assert ("post", USERS) in heeding
    assert {method for method, _ in heeding} == {"post"}
    assert not [path for _, path in heeding if path.startswith("/api/v1/auth") or path.endswith("/password")]
