"""Applications over HTTP: the names of RFC 7591, secrets that are shown once, and what is refused."""

import pytest

from builders import DAY, NOW, SECOND
from domain.clients import secret_hash
from http_world import ADMIN, problem

CLIENTS = "/api/v1/clients"
CALLBACK = "https://shop.example.org/callback"
SHOP = {"client_name": "Shop", "redirect_uris": [CALLBACK]}
ANYHOW = {"If-Match": "*"}
EC = {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "Ag", "kid": "one"}


async def register(api, by=ADMIN, **more):
    return await api.call("POST", CLIENTS, by=by, json={**SHOP, **more})


async def change(api, client, by=ADMIN, tag="*", **members):
    path = f"{CLIENTS}/{client['client_id']}"
    return await api.call("PATCH", path, by=by, json=members, headers={"If-Match": tag})


async def rotate(api, client, by=ADMIN, **options):
    return await api.call("POST", f"{CLIENTS}/{client['client_id']}/rotate-secret", by=by, **options)


async def stored(api, client):
    async with api.store.transaction():
        return await api.store.clients.find(client["client_id"])


async def test_an_application_reads_back_as_it_was_registered_without_its_secret(api):
    answer = await register(api)
    assert answer.status_code == 201
    made = answer.json()
    id, secret = made["client_id"], made.pop("client_secret")
    assert (answer.headers["location"], answer.headers["etag"]) == (f"{CLIENTS}/{id}", '"1"')
    assert made.pop("client_secret_expires_at") == 0
    now = NOW.isoformat().replace("+00:00", "Z")
    assert made == {
        "client_id": id, "client_name": "Shop", "redirect_uris": [CALLBACK], "post_logout_redirect_uris": [],
        "grant_types": ["authorization_code"], "response_types": ["code"], "scope": "openid profile email",
        "token_endpoint_auth_method": "client_secret_basic", "jwks": None, "jwks_uri": None,
        "id_token_signed_response_alg": "RS256", "audiences": [], "access_token_lifetime": 300,
        "refresh_token_idle": 2_592_000, "refresh_token_lifetime": 7_776_000, "require_pkce": True, "trusted": False,
        "introspection": False, "assertion_audience": "issuer", "enabled": True, "scope_path": "*", "built_in": False,
        "secrets": [{"created_at": now, "expires_at": None}], "client_id_issued_at": int(NOW.timestamp()),
        "created_at": now, "updated_at": now,
    }  # fmt: skip
    assert (await stored(api, made)).accepts_secret(secret, NOW)
    again = await api.call("GET", f"{CLIENTS}/{id}", by=ADMIN)
    assert (again.json(), again.headers["etag"]) == (made, '"1"')
    assert (await api.call("GET", CLIENTS, by=ADMIN)).json() == {"items": [made], "next_cursor": None}


async def test_every_member_can_be_given_and_null_is_as_if_it_were_not(api):
    members = {
        "client_name": "Zoë’s 店", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"],
        "post_logout_redirect_uris": ["https://shop.example.org/"],
        "grant_types": ["authorization_code", "client_credentials", "refresh_token"],
        "scope": "openid roles shop:read", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [EC]},
        "jwks_uri": None, "id_token_signed_response_alg": "ES256", "audiences": ["https://api.example.org", "urn:b"],
        "access_token_lifetime": 86_400, "refresh_token_idle": 1, "refresh_token_lifetime": 60, "require_pkce": False,
        "trusted": True, "introspection": True, "assertion_audience": "issuer_or_token_url", "enabled": False,
        "scope_path": "org/acme",
    }  # fmt: skip
    answer = await api.call("POST", CLIENTS, by=ADMIN, json=members)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert {name: made[name] for name in members} == members
    assert "client_secret" not in made
    assert "client_secret_expires_at" not in made
    nulls = {name: None for name in members if name not in {"client_name", "redirect_uris", "scope_path"}}
    plain, nothing = (await register(api)).json(), (await register(api, **nulls)).json()
    assert {name: nothing[name] for name in members} == {name: plain[name] for name in members}


async def test_sixty_is_a_whole_number_however_it_is_written(api):
    body = b'{"client_name": "Shop", "redirect_uris": ["https://shop.example.org/"], "access_token_lifetime": 60.0}'
    answer = await api.call("POST", CLIENTS, by=ADMIN, content=body)
    assert b'"access_token_lifetime":60,' in answer.content
    assert (await rotate(api, answer.json(), content=b'{"overlap_seconds": 6e1}')).status_code == 200


async def test_a_machine_has_no_response_types(api):
    made = (await register(api, redirect_uris=[], grant_types=["client_credentials"])).json()
    assert (made["response_types"], made["scope"], made["redirect_uris"]) == ([], "", [])


async def test_a_patch_replaces_what_it_names_and_null_is_the_default(api):
    made = (await register(api, scope="openid", audiences=["urn:a"], access_token_lifetime=60)).json()
    answer = await change(api, made, tag='"1"', client_name="Store", audiences=["urn:b"])
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    changed = answer.json()
    assert (changed["client_name"], changed["audiences"], changed["scope"]) == ("Store", ["urn:b"], "openid")
    assert changed["secrets"] == made["secrets"]
    assert "client_secret" not in changed
    cleared = (await change(api, made, scope=None, audiences=None, access_token_lifetime=None)).json()
    assert (cleared["scope"], cleared["audiences"], cleared["access_token_lifetime"]) == (
        "openid profile email", [], 300
    )  # fmt: skip
    same = await change(api, made, tag='"3"')
    assert (same.status_code, same.headers["etag"], same.json()) == (200, '"3"', cleared)
    merge_patch = {"If-Match": '"3"', "Content-Type": "application/merge-patch+json"}
    path = f"{CLIENTS}/{made['client_id']}"
    answer = await api.call("PATCH", path, by=ADMIN, content=b'{"enabled":false}', headers=merge_patch)
    assert answer.json()["enabled"] is False


async def test_changes_and_removals_ask_for_the_version(api):
    made = (await register(api)).json()
    path = f"{CLIENTS}/{made['client_id']}"
    for method, body in (("PATCH", {"json": {}}), ("DELETE", {})):
        tags = ({}, {"If-Match": '"7"'}, {"If-Match": 'W/"1"'}, {"If-Match": '"1", "2"'})
        statuses = [(await api.call(method, path, by=ADMIN, headers=tag, **body)).status_code for tag in tags]
        assert statuses == [428, 412, 412, 412], method
    assert (await api.call("DELETE", path, by=ADMIN, headers={"If-Match": '"1"'})).status_code == 204
    for method in ("GET", "DELETE"):
        problem(await api.call(method, path, by=ADMIN, headers=ANYHOW), 404, "not_found")
    assert (await api.call("GET", CLIENTS, by=ADMIN)).json()["items"] == []


async def test_a_secret_is_rotated_with_an_overlap(api):
    made = (await register(api)).json()
    answer = await rotate(api, made)
    rotated = answer.json()
    assert (answer.status_code, answer.headers["etag"], rotated["client_secret_expires_at"]) == (200, '"2"', 0)
    assert rotated["client_secret"] != made["client_secret"]
    tomorrow = (NOW + DAY).isoformat().replace("+00:00", "Z")
    assert [s["expires_at"] for s in rotated["secrets"]] == [tomorrow, None]
    for body in ({"overlap_seconds": 0}, {"overlap_seconds": 60}, {}):
        rotated = (await rotate(api, made, json=body)).json()
    assert len(rotated["secrets"]) == 2
    at_once = (await rotate(api, made, json={"overlap_seconds": 0})).json()
    assert len(at_once["secrets"]) == 1
    client = await stored(api, made)
    accepted = [client.accepts_secret(r["client_secret"], NOW) for r in (made, rotated, at_once)]
    assert accepted == [False, False, True]
    for seconds, code in (
        *((seconds, "overlap_malformed") for seconds in (-1, 0.5, 2_592_001, 10**30, 1e300)),
        *((seconds, "type") for seconds in ("1", None, True)),
    ):
        answer = await rotate(api, made, json={"overlap_seconds": seconds})
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("/overlap_seconds", code)]


async def test_an_answer_with_a_secret_is_repeated_for_its_key_and_stored_sealed(api):
    key = {"Idempotency-Key": "a-key-to-be-guessed"}
    first = await api.call("POST", CLIENTS, by=ADMIN, json=SHOP, headers=key)
    again = await api.call("POST", CLIENTS, by=ADMIN, json=SHOP, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    rotated = await rotate(api, first.json(), headers=key)
    assert (await rotate(api, first.json(), headers=key)).content == rotated.content
    assert len((await stored(api, first.json())).secrets) == 2
    async with api.store.transaction():
        answers = api.store.answers.tables.answers.all()
    for answer in (first, rotated):
        secret = answer.json()["client_secret"]
        for plain in (secret.encode(), secret_hash(secret), b"client_secret", CALLBACK.encode()):
            assert not [kept for kept in answers if plain in kept.sealed + kept.fingerprint + kept.id]
        assert answer.headers["cache-control"] == "no-store"


async def test_the_secret_is_nowhere_else(api):
    made = (await register(api)).json()
    secrets = [made["client_secret"], (await rotate(api, made)).json()["client_secret"]]
    paths = (CLIENTS, f"{CLIENTS}/{made['client_id']}", "/api/v1/audit-events")
    told = "".join([(await api.call("GET", path, by=ADMIN)).text for path in paths])
    told += (await change(api, made, client_name="Other")).text
    client = await stored(api, made)
    assert not [s for s in (*secrets, *(s.hash.hex() for s in client.secrets)) if s in told]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"client_name": None}, "/client_name", "type"),
        ({"client_name": ""}, "/client_name", "client_name_malformed"),
        ({"client_name": "x" * 101}, "/client_name", "client_name_malformed"),
        ({"redirect_uris": [CALLBACK, "http://shop.example.org"]}, "/redirect_uris/1", "redirect_uri_malformed"),
        ({"redirect_uris": [CALLBACK, 5]}, "/redirect_uris/1", "type"),
        ({"redirect_uris": CALLBACK}, "/redirect_uris", "type"),
        ({"redirect_uris": [f"{CALLBACK}/{n}" for n in range(21)]}, "/redirect_uris", "type"),
        ({"redirect_uris": []}, "/redirect_uris", "redirect_uris_missing"),
        ({"post_logout_redirect_uris": ["x"]}, "/post_logout_redirect_uris/0", "redirect_uri_malformed"),
        ({"grant_types": ["password"]}, "/grant_types/0", "malformed"),
        ({"grant_types": []}, "/grant_types", "grant_types_missing"),
        ({"scope": "a  b"}, "/scope", "oauth_scope_malformed"),
        ({"scope": ["openid"]}, "/scope", "type"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "/token_endpoint_auth_method", "malformed"),
        ({"jwks": {"keys": [{**EC, "d": "AQ"}]}}, "/jwks", "client_keys_private"),
        ({"jwks": {"keys": [EC, {}]}}, "/jwks/keys/1", "client_keys_malformed"),
        ({"jwks": {"keys": [EC]}}, "/jwks", "client_keys_unused"),
        ({"jwks": [EC]}, "/jwks", "type"),
        ({"jwks_uri": "http://shop.example.org"}, "/jwks_uri", "jwks_uri_malformed"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "/jwks", "client_keys_missing"),
        ({"id_token_signed_response_alg": "none"}, "/id_token_signed_response_alg", "malformed"),
        ({"audiences": ["x"]}, "/audiences/0", "audience_malformed"),
        ({"access_token_lifetime": 86_401}, "/access_token_lifetime", "lifetime_malformed"),
        ({"access_token_lifetime": 10**30}, "/access_token_lifetime", "lifetime_malformed"),
        ({"access_token_lifetime": True}, "/access_token_lifetime", "type"),
        ({"refresh_token_idle": 0}, "/refresh_token_idle", "lifetime_malformed"),
        ({"refresh_token_lifetime": 1.5}, "/refresh_token_lifetime", "lifetime_malformed"),
        ({"require_pkce": "no"}, "/require_pkce", "type"),
        ({"assertion_audience": "anybody"}, "/assertion_audience", "malformed"),
        ({"scope_path": "a//b"}, "/scope_path", "scope_malformed"),
        ({"client_id": "mine"}, "", "unknown_member"),
        ({"client_secret": "mine"}, "", "unknown_member"),
        ({"response_types": ["code"]}, "", "unknown_member"),
        ({"built_in": True}, "", "unknown_member"),
    ],
)
async def test_R18_bad_input_is_named_by_its_pointer(api, body, pointer, code):
    answers = [await register(api, **body)]
    if "scope_path" not in body and body != {"token_endpoint_auth_method": "private_key_jwt"}:
        answers.append(await change(api, (await register(api)).json(), **body))
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]


async def test_what_is_fixed_at_registration_cannot_be_changed(api):
    made = (await register(api)).json()
    for members, pointer, code in (
        ({"scope_path": "org/acme"}, "", "unknown_member"),
        ({"token_endpoint_auth_method": "none"}, "/token_endpoint_auth_method", "auth_method_fixed"),
    ):
        answer = await change(api, made, **members)
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]
    changed = await change(api, made, token_endpoint_auth_method="client_secret_post")
    assert changed.json()["token_endpoint_auth_method"] == "client_secret_post"


async def test_what_stands_in_the_way_of_a_change_is_a_conflict_with_a_code(api):
    built_in = {"client_id": "hexward-api"}
    shown = await api.call("GET", f"{CLIENTS}/hexward-api", by=ADMIN)
    assert (shown.status_code, shown.json()["built_in"]) == (200, True)
    public = (await register(api, token_endpoint_auth_method="none")).json()
    for attempt, code in (
        (change(api, built_in, enabled=False), "client_built_in"),
        (rotate(api, built_in), "client_built_in"),
        (api.call("DELETE", f"{CLIENTS}/hexward-api", by=ADMIN, headers=ANYHOW), "client_built_in"),
        (rotate(api, public), "client_without_secret"),
    ):
        problem(await attempt, 409, code)
    assert (await api.call("GET", "/api/v1/me", by=ADMIN)).status_code == 200


async def test_R18_an_application_that_cannot_be_is_not_found(api):
    for id in ("0" * 24, "UPPER", "a%00b", "%E6%9D%8E", "..%2f..", "x" * 300):
        for method in ("GET", "PATCH", "DELETE"):
            body = {"json": {}} if method == "PATCH" else {}
            answer = await api.call(method, f"{CLIENTS}/{id}", by=ADMIN, headers=ANYHOW, **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, id)


async def test_applications_are_for_those_who_may_see_or_change_them(api):
    await api.signed_in("zoë@example.org")
    await api.call("POST", "/api/v1/roles", by=ADMIN, json={"name": "clerk", "permissions": ["clients:read"]})
    await api.signed_in("clerk@example.org", "clerk")
    made = (await register(api)).json()
    path = f"{CLIENTS}/{made['client_id']}"
    for read in (CLIENTS, path):
        assert (await api.call("GET", read)).status_code == 401
        assert (await api.call("GET", read, by="zoë@example.org")).status_code == 403
        assert (await api.call("GET", read, by="clerk@example.org")).status_code == 200
    for by in ("zoë@example.org", "clerk@example.org"):
        for attempt in (
            register(api, by=by),
            change(api, made, by=by, client_name="X"),
            rotate(api, made, by=by),
            api.call("DELETE", path, by=by, headers=ANYHOW),
        ):
            assert "clients:write" in problem(await attempt, 403, "forbidden")["detail"]


async def test_R08_a_trusted_application_needs_everything_everywhere(api):
    role = {"name": "clerk", "permissions": ["clients:*", "users:*"]}
    await api.call("POST", "/api/v1/roles", by=ADMIN, json=role)
    await api.signed_in("clerk@example.org", "clerk")
    strong = (await register(api, trusted=True)).json()
    made = (await register(api, by="clerk@example.org")).json()
    for attempt in (
        register(api, by="clerk@example.org", trusted=True),
        register(api, by="clerk@example.org", scope="openid hexward"),
        change(api, made, by="clerk@example.org", scope="hexward"),
        change(api, strong, by="clerk@example.org", redirect_uris=["https://evil.example/"]),
        rotate(api, strong, by="clerk@example.org"),
    ):
        assert "*:*" in problem(await attempt, 403, "forbidden")["detail"]
    assert (await register(api, scope="openid hexward")).status_code == 201


async def test_lists_go_on_where_they_ended_and_are_searched_by_name(api):
    for n in range(5):
        await register(api, client_name=f"Shop {n}")
        api.clock.move(SECOND)
    await register(api, client_name="Zoë’s Reports")
    page = await api.call("GET", f"{CLIENTS}?limit=2&q=shop", by=ADMIN)
    names = [c["client_name"] for c in page.json()["items"]]
    while (cursor := page.json()["next_cursor"]) is not None:
        assert f"cursor={cursor}" in page.headers["link"]
        page = await api.call("GET", f"{CLIENTS}?limit=2&q=shop&cursor={cursor}", by=ADMIN)
        names += [c["client_name"] for c in page.json()["items"]]
    assert names == [f"Shop {n}" for n in range(5)]
    found = (await api.call("GET", f"{CLIENTS}?q=ZOË", by=ADMIN)).json()["items"]
    assert [c["client_name"] for c in found] == ["Zoë’s Reports"]
    await api.a_user("li@example.org")
    foreign = (await api.call("GET", "/api/v1/users?limit=1", by=ADMIN)).json()["next_cursor"]
    answer = await api.call("GET", f"{CLIENTS}?cursor={foreign}", by=ADMIN)
    assert [e["code"] for e in answer.json()["errors"]] == ["cursor_malformed"]


async def test_the_trail_tells_what_was_changed_and_what_ended(api):
    made = (await register(api)).json()
    assert (await change(api, made, enabled=False)).json()["enabled"] is False
    events = (await api.call("GET", "/api/v1/audit-events?action=client.updated", by=ADMIN)).json()["items"]
    assert [(e["subject"], e["details"]) for e in events] == [
        (f"client:{made['client_id']}", {"fields": "enabled", "families_ended": 0})
    ]
