"""Ways in that an adversarial review found, each tried again as a caller would."""

import asyncio
import json
import sys
from datetime import timedelta
from itertools import chain

import pytest

from adapters.sealing import AesSealer
from application.authority import LiveAuthority
from application.keys import KeyRing
from domain.errors import Overloaded, StartRefused, Unavailable
from domain.ports import ChangeFeed, PasswordHasher, Sealer
from domain.roles import MAX_GLOBAL_GRANTS
from entrypoints.logs import _traceback
from http_world import ADMIN, PASSWORD
from wired import MASTER_KEY

ZOE, BOSS = "zoe@example.org", "boss@example.org"
WRONG = "not the right pass phrase"


async def guesses(api, email, count):
    answers = [
        await api.call("POST", "/api/v1/auth/login", json={"email": email, "password": WRONG}) for _ in range(count)
    ]
    return [answer.status_code for answer in answers]


async def test_nobody_can_name_themselves_so_that_their_sign_in_clears_the_failures_of_another(api):
    await api.signed_in(ZOE)
    await api.a_user("victim@example.org")
    patch = {"json": {"username": "victim＠example.org"}, "headers": {"If-Match": "*"}}
    assert (await api.call("PATCH", "/api/v1/me", by=ZOE, **patch)).status_code == 422
    assert await guesses(api, "victim@example.org", 6) == [401] * 5 + [429]
    await api.login(ZOE)
    assert await guesses(api, "victim@example.org", 1) == [429]


async def test_of_the_guesses_that_come_at_once_after_a_wait_one_is_tried(api):
    await api.a_user(ZOE)
    assert await guesses(api, ZOE, 6) == [401] * 5 + [429]
    api.clock.move(timedelta(seconds=2))
    many = await asyncio.gather(*(guesses(api, ZOE, 1) for _ in range(30)))
    assert sorted(chain.from_iterable(many)) == [401] + [429] * 29


async def test_who_holds_a_role_for_a_while_cannot_shorten_what_others_hold_for_ever(api):
    boss = await api.signed_in(BOSS, "admin")
    guest = await api.signed_in(ZOE)
    until = {"expires_at": (api.clock.now() + timedelta(hours=1)).isoformat()}
    assert (await api.call("PUT", f"/api/v1/users/{guest['id']}/roles/admin", by=ADMIN, json=until)).status_code == 200
    soon = {"expires_at": (api.clock.now() + timedelta(seconds=1)).isoformat()}
    path = f"/api/v1/users/{boss['id']}/roles/admin"
    assert (await api.call("PUT", path, by=ZOE, json=soon)).status_code == 403
    assert (await api.call("DELETE", path, by=ZOE)).status_code == 403
    assert (await api.call("PUT", path, by=ADMIN, json=soon)).status_code == 200


async def test_a_lapsed_grant_can_be_taken_away(api):
    user = await api.a_user(ZOE)
    until = {"expires_at": (api.clock.now() + timedelta(minutes=1)).isoformat()}
    await api.call("PUT", f"/api/v1/users/{user['id']}/roles/manager", by=ADMIN, json=until)
    api.clock.move(timedelta(minutes=2))
    assert (await api.call("DELETE", f"/api/v1/users/{user['id']}/roles/manager", by=ADMIN)).status_code == 204
    assert [g.role for g in await api.store_grants()] == ["admin"]


@pytest.mark.parametrize("use", ["sign", "refresh"])
async def test_a_waiting_key_that_is_revoked_leaves_the_active_one_in_office(api, use):
    key = (await api.call("POST", "/api/v1/keys/rotate", by=ADMIN, json={"use": use})).json()
    assert key["state"] == "next"
    revoked = await api.call("POST", f"/api/v1/keys/{key['id']}/revoke", by=ADMIN)
    assert revoked.json()["state"] == "revoked"
    api.clock.move(timedelta(minutes=30))
    await api.login(ADMIN)
    assert (await api.call("GET", "/health/ready")).status_code == 200
    again = await api.call("POST", "/api/v1/keys/rotate", by=ADMIN, json={"use": use})
    assert again.status_code == 201


async def test_a_refresh_that_could_not_be_answered_has_used_nothing_up(api):
    token = api.tokens[ADMIN]["refresh_token"]
    feed = await lost_feed(api)
    answer = await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    feed.found()
    api.clock.move(timedelta(seconds=30))
    assert (await api.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token})).status_code == 200


async def test_while_the_feed_is_lost_decisions_are_put_off_and_never_falsely_denied(api):
    feed = await lost_feed(api)
    answer = await api.call("GET", "/api/v1/users", by=ADMIN)
    assert (answer.status_code, answer.json()["code"]) in [(503, "unavailable"), (503, "authority_stale")]
    assert (await api.call("GET", "/oauth2/jwks")).status_code == 200
    assert (await api.call("GET", "/health/live")).status_code == 200
    feed.found()
    assert (await api.call("GET", "/api/v1/users", by=ADMIN)).status_code == 200


class LostFeed:
    """The feed of the world, lost until found."""

    def __init__(self, feed):
        self._read, self._feed = feed.read, feed
        self._error = Unavailable("the database does not answer")
        feed.read = self.fail

    async def fail(self):
        raise self._error

    def found(self):
        self._feed.read = self._read


async def lost_feed(api):
    feed = LostFeed(await api.container.get(ChangeFeed))
    api.clock.move(timedelta(seconds=5))
    return feed


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/roles", {"name": "odd", "description": "a\u0000b"}),
        (
            "POST",
            "/api/v1/grants",
            {"subject": {"id": "{root}"}, "role": "user", "expires_at": "9999-12-31T23:59:59-14:00"},
        ),
        ("PUT", "/api/v1/users/{root}/roles/user", {"starts_at": "0001-01-01T00:00:00+14:00"}),
        ("GET", "/api/v1/audit-events?since=0001-01-01T00:00:00%2B14:00", None),
        ("GET", "/api/v1/audit-events?until=9999-12-31T23:59:59-14:00", None),
        ("GET", "/api/v1/audit-events?actor=%00", None),
    ],
)
async def test_R18_odd_times_and_characters_are_the_callers_fault(api, method, path, body):
    root = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()["id"]
    text = json.dumps(body).replace("{root}", root) if body is not None else None
    headers = {"Content-Type": "application/json"} if text else {}
    answer = await api.call(method, path.replace("{root}", root), by=ADMIN, content=text, headers=headers)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("query", ["scpoe=org/acme", "scope=org/acme&scope=*", "at=org/acme", "scope=org/acme&x="])
async def test_a_typo_in_a_parameter_never_means_everywhere(api, query):
    user = await api.a_user(ZOE)
    path = f"/api/v1/users/{user['id']}/roles/manager?{query}"
    for method in ("PUT", "DELETE"):
        answer = await api.call(method, path, by=ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (422, "parameter_unknown")
    assert [g.role for g in await api.store_grants()] == ["admin"]


async def test_a_user_can_hold_only_so_many_grants_everywhere(api):
    user = await api.a_user(ZOE)
    for n in range(MAX_GLOBAL_GRANTS):
        await api.call("POST", "/api/v1/roles", by=ADMIN, json={"name": f"role-{n}" + "x" * 50})
        answer = await api.call("PUT", f"/api/v1/users/{user['id']}/roles/role-{n}{'x' * 50}", by=ADMIN)
        assert answer.status_code == 200
    answer = await api.call("PUT", f"/api/v1/users/{user['id']}/roles/manager", by=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_grants")
    await api.login(ZOE)
    assert (await api.call("GET", "/api/v1/me", by=ZOE)).status_code == 200


async def test_nobody_can_stand_in_the_way_of_a_deletion(api):
    user = await api.a_user(ZOE)
    squat = {"email": f"deleted-{user['id']}@Deleted.invalid"}
    assert (await api.call("POST", "/api/v1/users", by=ADMIN, json=squat)).status_code == 422
    path = f"/api/v1/users/{user['id']}"
    assert (await api.call("DELETE", path, by=ADMIN, headers={"If-Match": "*"})).status_code == 204


async def test_a_stolen_token_is_not_enough_to_keep_an_account(api):
    me = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    path = f"/api/v1/users/{me['id']}"
    password = await api.call("POST", f"{path}/password", by=ADMIN, json={"password": PASSWORD + "!"})
    email = await api.call("PATCH", path, by=ADMIN, json={"email": ZOE}, headers={"If-Match": "*"})
    assert [(a.status_code, a.json()["code"]) for a in (password, email)] == [(403, "own_account")] * 2


async def test_a_repeated_refresh_is_told_apart_in_the_trail(api):
    body = {"refresh_token": api.tokens[ADMIN]["refresh_token"]}
    for _ in range(2):
        assert (await api.call("POST", "/api/v1/auth/refresh", json=body)).status_code == 200
    events = (await api.call("GET", "/api/v1/audit-events?action=session.refreshed", by=ADMIN)).json()["items"]
    assert [e["reason"] for e in events] == ["repeated", None]


async def test_the_follower_outlives_whatever_goes_wrong(api):
    feed = await api.container.get(ChangeFeed)
    authority = await api.container.get(LiveAuthority)
    read = feed.read

    async def broken():
        raise RuntimeError("nobody thought of this")

    feed.read = broken
    async with api.store.transaction():
        await api.store.changes.rules()  # wakes it
    for _ in range(20):
        await asyncio.sleep(0.001)
    feed.read = read
    api.clock.move(timedelta(seconds=0.5))
    before = authority.age
    for _ in range(500):
        await asyncio.sleep(0.001)
        if authority.age < before:
            break
    assert authority.age < before


async def test_the_frameworks_own_pages_are_not_served(api):
    for path in ("/openapi", "/openapi/", "/openapi/openapi.json", "/schema"):
        assert (await api.call("GET", path)).status_code == 404


async def test_a_key_is_never_sealed_with_another_master_key_than_the_rest(api):
    sealer = await api.container.get(Sealer)
    right, sealer._keys = sealer._keys, AesSealer(bytes(reversed(MASTER_KEY)))._keys
    for path in ("/api/v1/keys/rotate",):
        answer = await api.call("POST", path, by=ADMIN, json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "master_key_wrong")
    sealer._keys = right
    assert (await api.call("POST", "/api/v1/keys/rotate", by=ADMIN, json={})).status_code == 201


async def test_no_empty_key_set_is_served_before_keys_are_loaded(api):
    ring = await api.container.get(KeyRing)
    held, ring._held = ring._held, ()
    answer = await api.call("GET", "/oauth2/jwks")
    assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
    ring._held = held
    assert (await api.call("GET", "/oauth2/jwks")).json()["keys"]


async def test_what_is_meant_for_operators_is_not_told_to_callers(api):
    feed = await lost_feed(api)
    feed._error = StartRefused("the login may not act as hexward_service; GRANT it")
    answer = await api.call("POST", "/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
    assert answer.status_code == 500
    assert "GRANT" not in answer.text
    feed.found()


async def test_a_try_that_was_shed_does_not_cost_its_turn(api):
    await api.a_user(ZOE)
    assert await guesses(api, ZOE, 6) == [401] * 5 + [429]
    api.clock.move(timedelta(seconds=2))
    hasher = await api.container.get(PasswordHasher)
    verify = hasher.verify

    async def full(*_):
        raise Overloaded("too many")

    hasher.verify = full
    body = {"email": ZOE, "password": PASSWORD}
    assert (await api.call("POST", "/api/v1/auth/login", json=body)).status_code == 503
    hasher.verify = verify
    assert (await api.call("POST", "/api/v1/auth/login", json=body)).status_code == 200


async def test_one_may_send_ones_own_address_unchanged(api):
    me = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()
    patch = {"json": {"email": ADMIN, "display_name": "Root"}, "headers": {"If-Match": "*"}}
    assert (await api.call("PATCH", f"/api/v1/users/{me['id']}", by=ADMIN, **patch)).status_code == 200


async def test_options_are_answered_whatever_the_parameters(api):
    assert (await api.call("OPTIONS", "/api/v1/users?x=1")).status_code == 204


async def test_a_traceback_in_the_log_quotes_nothing_that_was_to_be_stored(api):
    driver = ValueError("invalid input for query argument $1: 'SEC" + "RET third'")
    server = ValueError("Key exists\nDETAIL:  Failing row (first\nSEC" + "RET second)\nHINT:  none")
    try:
        raise server from driver
    except ValueError:
        told = _traceback(sys.exc_info())
    assert "SECRET" not in told
    assert "HINT" in told
