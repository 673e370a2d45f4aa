"""The exit check as one table: whatever was given to an application before somebody was shut out stops there.

Everything is given first, then the change happens, and then it is used: what counts is the moment of use.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from http_world import ADMIN
from relying_party import Application, Person, a_person, an_application, claims, fields, parameters

ORDERS = "https://orders.example.org"

GOES_ON = "goes on"
GRANT = (400, "invalid_grant")  # RFC 6749, 5.2
CLIENT = (401, "invalid_client")  # RFC 6749, 5.2
TOKEN = (401, "invalid_token")  # RFC 6750, 3.1
INACTIVE = (200, "inactive")  # RFC 7662, 2.2
LOGIN = (303, "login_required")  # OpenID Connect Core 3.1.2.6
PAGE = (400, "page")  # RFC 6749, 4.1.2.1: told to the person, and never by a redirect

COLUMNS = (
    "nothing", "user suspended", "user deleted", "password changed", "session ended", "signed out everywhere",
    "client disabled", "client deleted",
)  # fmt: skip
TABLE = {
    "code": (GOES_ON, GRANT, GRANT, GRANT, GRANT, GRANT, CLIENT, CLIENT),
    "refresh token": (GOES_ON, GRANT, GRANT, GRANT, GRANT, GRANT, CLIENT, CLIENT),
    "offline refresh token": (GOES_ON, GRANT, GRANT, GRANT, GOES_ON, GRANT, CLIENT, CLIENT),
    "client credentials": (GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, CLIENT, CLIENT),
    "userinfo": (GOES_ON, TOKEN, TOKEN, TOKEN, TOKEN, TOKEN, TOKEN, TOKEN),
    "introspection of an access token": (GOES_ON, *[INACTIVE] * 7),
    "introspection of a refresh token": (GOES_ON, *[INACTIVE] * 5, CLIENT, CLIENT),
    "introspection of a service's token": (*[GOES_ON] * 6, INACTIVE, INACTIVE),
    "authorization without a page": (GOES_ON, *[LOGIN] * 5, PAGE, PAGE),
    "consent that was waiting": (GOES_ON, *[PAGE] * 7),
}
"""What is used, and what becomes of it after each change. Offline access outlives the browser's session, and nothing
else (OpenID Connect Core 11); an application's own tokens are no person's."""

CASES = [(exit, change, row[n]) for exit, row in TABLE.items() for n, change in enumerate(COLUMNS)]


@dataclass
class Given:
    """All that an application was given, and the service that is asked about it."""

    api: Any
    zoe: Person
    app: Application
    keeper: Application
    code: str
    tokens: dict[str, Any]
    offline: dict[str, Any]
    own: dict[str, Any]
    waiting: dict[str, str]

    @property
    def user(self):
        return claims(self.tokens["id_token"])["sub"]


@pytest.fixture
async def given(api):
    zoe = await a_person(api)
    app = await an_application(
        api,
        grant_types=["authorization_code", "refresh_token", "client_credentials"],
        scope="openid offline_access orders:read",
        audiences=[ORDERS],
        introspection=True,
    )
    keeper = await an_application(
        api, redirect_uris=[], grant_types=["client_credentials"], scope="", audiences=[ORDERS], introspection=True
    )
    tokens = await app.tokens(zoe, scope="openid")
    offline = await app.tokens(zoe, scope="openid offline_access")
    own = (await app.post("/oauth2/token", {"grant_type": "client_credentials"})).json()
    page = await zoe.follow(await zoe.browser.get(app.request(scope="openid", prompt="consent")))
    code = await app.code(zoe, scope="openid")
    return Given(api, zoe, app, keeper, code, tokens, offline, own, fields(page.text))


# --------------------------------------------------------------------------------------------------------- what happens


async def change(given, what):
    user, client = f"/api/v1/users/{given.user}", f"/api/v1/clients/{given.app.id}"
    at_any_version = {"If-Match": "*"}
    match what:
        case "nothing":
            return
        case "session ended":
            await given.zoe.send(await given.zoe.browser.get("/account"), "/oauth2/logout-confirm")
            return
        case "user suspended":
            asked = ("POST", f"{user}/suspend", {})
        case "user deleted":
            asked = ("DELETE", user, {"headers": at_any_version})
        case "password changed":
            asked = ("POST", f"{user}/password", {"json": {"password": "quite another pass phrase"}})
        case "signed out everywhere":
            asked = ("DELETE", f"{user}/sessions", {})
        case "client disabled":
            asked = ("PATCH", client, {"headers": at_any_version, "json": {"enabled": False}})
        case "client deleted":
            asked = ("DELETE", client, {"headers": at_any_version})
    method, path, options = asked
    answer = await given.api.call(method, path, by=ADMIN, **options)
    assert answer.status_code in (200, 204), answer.text


EXITS = {
    "code": lambda given: given.app.exchange(given.code),
    "refresh token": lambda given: given.app.refresh(given.tokens["refresh_token"]),
    "offline refresh token": lambda given: given.app.refresh(given.offline["refresh_token"]),
    "client credentials": lambda given: given.app.post("/oauth2/token", {"grant_type": "client_credentials"}),
    "userinfo": lambda given: given.app.userinfo(given.tokens["access_token"]),
    "introspection of an access token": lambda given: introspected(given.keeper, given.tokens["access_token"]),
    "introspection of a refresh token": lambda given: introspected(given.app, given.tokens["refresh_token"]),
    "introspection of a service's token": lambda given: introspected(given.keeper, given.own["access_token"]),
    "authorization without a page": lambda given: given.zoe.browser.get(
        given.app.request(scope="openid", prompt="none")
    ),
    "consent that was waiting": lambda given: given.zoe.browser.post("/consent", data=given.waiting | ALLOW),
}
ALLOW = {"decision": "allow"}


def introspected(by, token):
    return by.post("/oauth2/introspect", {"token": token})


def outcome(answer):
    """The answer in the words of the table."""
    if answer.headers["content-type"].startswith("text/html") and answer.status_code == 400:
        assert "location" not in answer.headers
        return PAGE
    if answer.status_code == 303:
        told = parameters(answer.headers["location"])
        assert ("error" in told) is not ("code" in told)
        return (303, told["error"]) if "error" in told else GOES_ON
    body = answer.json()
    if answer.status_code == 200:
        return INACTIVE if body == {"active": False} else GOES_ON
    assert not {"access_token", "id_token", "refresh_token", "sub"} & body.keys()
    return answer.status_code, body["error"]


@pytest.mark.parametrize(("exit", "what", "expected"), CASES, ids=[f"{e}-{w}" for e, w, _ in CASES])
async def test_whoever_is_shut_out_gets_nothing(given, exit, what, expected):
    await change(given, what)
    assert outcome(await EXITS[exit](given)) == expected


@pytest.mark.parametrize("exit", ["code", "refresh token", "offline refresh token", "userinfo"])
async def test_reactivating_a_person_brings_nothing_back(given, exit):
    await change(given, "user suspended")
    assert (await given.api.call("POST", f"/api/v1/users/{given.user}/reactivate", by=ADMIN)).status_code == 200
    assert outcome(await EXITS[exit](given)) in (GRANT, TOKEN)


@pytest.mark.parametrize("exit", ["refresh token", "offline refresh token"])
async def test_enabling_an_application_again_brings_no_refresh_token_back(given, exit):
    await change(given, "client disabled")
    enabled = {"json": {"enabled": True}, "headers": {"If-Match": "*"}}
    path = f"/api/v1/clients/{given.app.id}"
    assert (await given.api.call("PATCH", path, by=ADMIN, **enabled)).status_code == 200
    assert outcome(await EXITS[exit](given)) == GRANT


def test_the_table_is_complete():
    assert TABLE.keys() == EXITS.keys()
    assert all(len(row) == len(COLUMNS) for row in TABLE.values())
    assert {expected for _, change, expected in CASES if change == "nothing"} == {GOES_ON}
