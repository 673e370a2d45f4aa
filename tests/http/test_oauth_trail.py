"""What the OAuth endpoints tell the audit trail: each step once, with who it was about, and no secret."""

from datetime import timedelta

import pytest

from application.oauth.sampling import REFUSALS_TOLD, REFUSALS_WINDOW
from domain.audit import Action
from domain.ports import AuditQuery
from domain.scopes import EVERYWHERE
from http_world import ADMIN, a_world
from relying_party import CALLBACK, a_browser, a_person, an_application, claims


async def told(api, *actions):
    items = (await api.call("GET", "/api/v1/audit-events?limit=200", by=ADMIN)).json()["items"]
    return [event for event in reversed(items) if event["action"] in actions]


async def test_a_sign_in_for_an_application_is_told_step_by_step(clock):
    async with a_world(clock) as api:
        zoe, app = await a_person(api), await an_application(api)
        code = await app.code(zoe)
        tokens = (await app.exchange(code)).json()
        await app.post("/oauth2/revoke", {"token": tokens["refresh_token"]})
        steps = (Action.CONSENT_GRANTED, Action.CODE_ISSUED, Action.CODE_REDEEMED, Action.TOKEN_REVOKED)
        events = await told(api, *steps)
        assert [event["action"] for event in events] == list(steps)
        user, session = (claims(tokens["id_token"])[name] for name in ("sub", "sid"))
        assert [event["actor"] for event in events] == [f"user:{user}"] * 3 + [f"client:{app.id}"]
        assert [event["subject"] for event in events] == [f"client:{app.id}"] * 3 + [f"session:{session}"]
        for secret in (code, app.secret, app.verifier, *map(str, tokens.values())):
            assert not secret.startswith("ey") or secret not in str(events)
            assert secret in ("Bearer", "300", "openid profile email") or secret not in str(events)


async def test_tokens_of_a_service_are_counted_and_told_of_now_and_then(clock):
    async with a_world(clock) as api:
        app = await an_application(api, redirect_uris=[], grant_types=["client_credentials"], scope="orders:read")
        for _ in range(5):
            await app.post("/oauth2/token", {"grant_type": "client_credentials"})
        [first] = await told(api, Action.CLIENT_TOKENS)
        assert (first["actor"], first["details"]) == (f"client:{app.id}", {"issued": 1})

        clock.move(timedelta(hours=1))
        await api.login(ADMIN)
        await app.post("/oauth2/token", {"grant_type": "client_credentials"})
        assert [event["details"] for event in await told(api, Action.CLIENT_TOKENS)] == [{"issued": 1}, {"issued": 5}]


# ------------------------------------------------------------------------- authorization requests that are turned away


@pytest.mark.parametrize(
    ("changes", "reason", "known"),
    [
        ({"client_id": "nobody"}, "client_unknown", False),
        ({"client_id": "\x00' OR '1'='1"}, "client_unknown", False),
        ({"client_id": None}, "invalid_request", False),
        ({"client_id": "hexward-pages"}, "client_built_in", False),
        ({"redirect_uri": "https://evil.example/callback"}, "redirect_uri_mismatch", True),
        ({"redirect_uri": CALLBACK + "/../evil"}, "redirect_uri_mismatch", True),
        ({"redirect_uri": None}, "redirect_uri_missing", True),
        ({"state": ["a", "b"]}, "parameter_repeated", True),
        ({"state": "x" * 5000}, "invalid_request", False),
        ({"response_type": "token"}, "unsupported_response_type", True),
        ({"response_mode": "form_post"}, "invalid_request", True),
        ({"code_challenge": None, "code_challenge_method": None}, "code_challenge_missing", True),
        ({"code_challenge_method": "plain"}, "code_challenge_method_unsupported", True),
        ({"request_uri": "http://169.254.169.254/latest"}, "request_uri_not_supported", True),
        ({"request": "e30.e30."}, "request_not_supported", True),
        ({"scope": "nothing:here"}, "invalid_scope", True),
        ({"resource": "https://unknown.example"}, "invalid_target", True),
        ({"id_token_hint": "e30.e30.e30"}, "id_token_hint_forged", True),
        ({"claims": "["}, "invalid_request", True),
    ],
)
async def test_a_request_that_is_turned_away_is_told_once_with_the_reason_and_nothing_it_sent(
    api, changes, reason, known
):
    app, stranger = await an_application(api), a_browser(api)
    answer = await stranger.browser.get(app.request(**changes))
    assert answer.status_code in (303, 400)
    [event] = await told(api, Action.AUTHORIZATION_REFUSED)
    assert (event["outcome"], event["reason"], event["actor"]) == ("refused", reason, "anonymous")
    assert event["details"] == {}
    if known:
        assert event["subject"] == f"client:{app.id}"
    elif reason != "client_built_in":
        assert event["subject"] is None
    assert event["address"]
    assert event["correlation_id"] == answer.headers["x-request-id"]
    assert "evil" not in str(event)


async def test_a_request_that_is_no_request_is_told_of_as_well(api):
    stranger = a_browser(api)
    for content, kind in ((b"{}", "application/json"), (b"a=%FF", "application/x-www-form-urlencoded")):
        answer = await stranger.browser.post("/oauth2/authorize", content=content, headers={"content-type": kind})
        assert answer.status_code == 400
    assert (await stranger.browser.get("/oauth2/authorize?a=%FF")).status_code == 400
    assert [event["reason"] for event in await told(api, Action.AUTHORIZATION_REFUSED)] == ["invalid_request"] * 3


async def test_a_request_by_post_that_is_turned_away_is_told_once(api):
    stranger = a_browser(api)
    await stranger.follow(await stranger.browser.post("/oauth2/authorize", data={"client_id": "nobody"}))
    assert [event["reason"] for event in await told(api, Action.AUTHORIZATION_REFUSED)] == ["client_unknown"]


@pytest.mark.parametrize(("gone", "reason"), [(False, "client_disabled"), (True, "client_unknown")])
async def test_an_application_that_was_turned_off_is_told_of_and_so_is_one_on_its_way_through_the_pages(
    api, gone, reason
):
    zoe, app = await a_person(api), await an_application(api)
    page = await zoe.follow(await zoe.browser.get(app.request()))
    path, by = f"/api/v1/clients/{app.id}", {"by": ADMIN, "headers": {"If-Match": "*"}}
    await (api.call("DELETE", path, **by) if gone else api.call("PATCH", path, json={"enabled": False}, **by))
    assert (await zoe.browser.get(app.request())).status_code == 400
    assert (await zoe.sign_in(page)).status_code == 400
    events = await told(api, Action.AUTHORIZATION_REFUSED)
    assert [event["reason"] for event in events] == [reason] * 2
    assert {event["subject"] for event in events} == {None if gone else f"client:{app.id}"}


async def test_nobody_is_turned_away_who_only_asks_whether_somebody_is_signed_in_or_who_is_denied(api):
    zoe, app = await a_person(api), await an_application(api)
    await zoe.browser.get(app.request(prompt="none"))
    await zoe.sign_in()
    await zoe.browser.get(app.request(prompt="none"))
    await zoe.answer(await zoe.follow(await zoe.browser.get(app.request())), "deny")
    assert await told(api, Action.AUTHORIZATION_REFUSED) == []
    assert len(await told(api, Action.CONSENT_REFUSED)) == 1


@pytest.mark.parametrize(
    ("action", "more"),
    [
        (Action.CLIENT_REFUSED, {"client_id": "nobody"}),
        (Action.CODE_REFUSED, {"grant_type": "authorization_code", "code": "made-up"}),
    ],
)
async def test_nobody_fills_the_trail_at_the_token_endpoint(clock, action, more):
    async with a_world(clock) as api:
        app = await an_application(api, token_endpoint_auth_method="none")
        for _ in range(REFUSALS_TOLD + 20):
            assert (await app.post("/oauth2/token", more)).status_code in (400, 401)
        async with api.store.transaction():
            stored = (await api.store.audit.page(AuditQuery((EVERYWHERE,), action=action, limit=1_000))).items
        assert len(stored) == REFUSALS_TOLD
        clock.move(REFUSALS_WINDOW)
        await app.post("/oauth2/token", more)
        assert (await told(api, action))[-1]["details"]["untold"] == 20
