"""What the OAuth endpoints tell the audit trail: each step once, with who it was about, and no secret."""

from datetime import timedelta

from domain.audit import Action
from http_world import ADMIN, a_world
from relying_party import a_person, an_application, claims


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
