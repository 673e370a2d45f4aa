"""Every operation behaves alike: a walk over the route table, and proof that it sees what does not."""

from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Annotated

import httpx
import msgspec
import pytest
from litestar import Response, asgi, get, patch, post
from litestar.params import HeaderParameter, JSONBody
from litestar.types import Receive, Scope, Send

from entrypoints.http.app import create_app
from entrypoints.http.problems import HttpProblem, described
from entrypoints.settings import Settings
from http_walk import BESIDE, OTHER_SHAPES, Call, Description, Exchange, Walk
from http_world import ADMIN, PASSWORD, a_world
from relying_party import a_browser, a_person, an_application

_numbers = count(1)


@pytest.fixture
async def api(clock):
    """Whoever likes may register, or that operation could only be refused."""
    async with a_world(clock, REGISTRATION="open") as world:
        yield world


NEW = "another long enough pass phrase"


# ------------------------------------------------------------------------------- how each operation is called: add here


def just(json=None, **headers):
    """Needs nothing prepared."""

    async def way(api):
        return Call(json=json, headers=headers)

    return way


def on_a_user(json=None, state=None, **more):
    """On a user of its own, after the call to `state`."""

    async def way(api):
        user = await api.a_user(f"walked{next(_numbers)}@example.org")
        if state is not None:
            assert (await api.call("POST", f"/api/v1/users/{user['id']}/{state}", by=ADMIN)).status_code == 200
        return Call({"user_id": user["id"], **more.get("path", {})}, json, more.get("headers", {}))

    return way


async def a_new_user(api):
    return Call(json={"email": f"walked{next(_numbers)}@example.org", "password": NEW, "roles": ["user"]})


async def a_new_role(api):
    return Call(json={"name": f"walked-{next(_numbers)}", "permissions": ["docs:read"], "parents": ["user"]})


async def a_role(api):
    call = await a_new_role(api)
    assert (await api.call("POST", "/api/v1/roles", by=ADMIN, json=call.json)).status_code == 201
    return Call({"name": call.json["name"]}, headers={"If-Match": '"1"'})


async def a_role_to_change(api):
    return replace(await a_role(api), json={"description": "Reads."})


async def a_new_grant(api):
    user = await api.a_user(f"walked{next(_numbers)}@example.org")
    return Call(json={"subject": {"id": user["id"]}, "role": "manager", "scope": "org/acme"})


async def a_grant(api):
    call = await a_new_grant(api)
    answer = await api.call("POST", "/api/v1/grants", by=ADMIN, json=call.json)
    return Call({"grant_id": answer.json()["id"]})


async def a_session(api):
    email = f"walked{next(_numbers)}@example.org"
    await api.signed_in(email)
    return Call(json={"refresh_token": api.tokens[email]["refresh_token"]}, by=email)


async def my_session(api):
    email = f"walked{next(_numbers)}@example.org"
    await api.signed_in(email)
    [session] = (await api.call("GET", "/api/v1/me/sessions", by=email)).json()["items"]
    return Call({"session_id": session["id"]}, by=email)


async def a_session_of_mine(api):
    return replace(await my_session(api), path={})


async def a_session_of_a_user(api):
    user = await api.signed_in(f"walked{next(_numbers)}@example.org")
    [session] = (await api.call("GET", f"/api/v1/users/{user['id']}/sessions", by=ADMIN)).json()["items"]
    return Call({"user_id": user["id"], "session_id": session["id"]})


async def my_password(api):
    email = f"walked{next(_numbers)}@example.org"
    await api.signed_in(email)
    return Call(json={"current_password": PASSWORD, "new_password": NEW}, by=email)


async def my_profile(api):
    email = f"walked{next(_numbers)}@example.org"
    await api.signed_in(email)
    return Call(json={"display_name": "Walked"}, headers={"If-Match": '"1"'}, by=email)


async def a_new_client(api):
    uris = {"redirect_uris": ["https://shop.example.org/callback"], "audiences": ["https://api.example.org"]}
    return Call(json={"client_name": "Walked", **uris, "scope": "openid", "access_token_lifetime": 60})


async def a_client(api):
    call = await a_new_client(api)
    answer = await api.call("POST", "/api/v1/clients", by=ADMIN, json=call.json)
    assert answer.status_code == 201, answer.text
    return Call({"client_id": answer.json()["client_id"]}, headers={"If-Match": '"1"'})


async def a_client_to_change(api):
    changes = {"client_name": "Changed", "scope": "openid email", "require_pkce": None, "audiences": ["urn:a"]}
    return replace(await a_client(api), json=changes)


async def a_client_with_a_secret(api):
    return replace(await a_client(api), json={"overlap_seconds": 60}, headers={})


async def a_key(api):
    answer = await api.call("POST", "/api/v1/keys/rotate", by=ADMIN, json={"use": "refresh"})
    return Call({"key_id": answer.json()["id"]})


VERSION = {"headers": {"If-Match": '"1"'}}
WAYS = {
    "GET /": just(),
    "GET /docs": just(),
    "GET /openapi.json": just(),
    "GET /.well-known/openid-configuration": just(),
    "GET /.well-known/oauth-authorization-server": just(),
    "GET /health": just(),
    "GET /health/live": just(),
    "GET /health/ready": just(),
    "GET /oauth2/jwks": just(),
    "POST /api/v1/auth/login": just({"email": ADMIN, "password": PASSWORD}),
    "POST /api/v1/auth/refresh": a_session,
    "POST /api/v1/auth/logout": a_session,
    "POST /api/v1/auth/register": just({"email": "walker@example.org", "password": NEW}),
    "GET /api/v1/me": just(),
    "PATCH /api/v1/me": my_profile,
    "POST /api/v1/me/password": my_password,
    "GET /api/v1/me/permissions": just(),
    "GET /api/v1/me/sessions": just(),
    "DELETE /api/v1/me/sessions": a_session_of_mine,
    "DELETE /api/v1/me/sessions/{session_id}": my_session,
    "GET /api/v1/users": just(),
    "POST /api/v1/users": a_new_user,
    "GET /api/v1/users/{user_id}": on_a_user(),
    "PATCH /api/v1/users/{user_id}": on_a_user({"display_name": "Walked", "username": None}, **VERSION),
    "DELETE /api/v1/users/{user_id}": on_a_user(**VERSION),
    "POST /api/v1/users/{user_id}/suspend": on_a_user(),
    "POST /api/v1/users/{user_id}/reactivate": on_a_user(state="suspend"),
    "POST /api/v1/users/{user_id}/password": on_a_user({"password": NEW}),
    "GET /api/v1/users/{user_id}/permissions": on_a_user(),
    "GET /api/v1/users/{user_id}/sessions": on_a_user(),
    "DELETE /api/v1/users/{user_id}/sessions": on_a_user(),
    "DELETE /api/v1/users/{user_id}/sessions/{session_id}": a_session_of_a_user,
    "GET /api/v1/users/{user_id}/roles": on_a_user(),
    "PUT /api/v1/users/{user_id}/roles/{role}": on_a_user({"expires_at": None}, path={"role": "manager"}),
    "DELETE /api/v1/users/{user_id}/roles/{role}": on_a_user(path={"role": "manager"}),
    "GET /api/v1/roles": just(),
    "POST /api/v1/roles": a_new_role,
    "GET /api/v1/roles/{name}": a_role,
    "PATCH /api/v1/roles/{name}": a_role_to_change,
    "DELETE /api/v1/roles/{name}": a_role,
    "GET /api/v1/permissions": just(),
    "GET /api/v1/grants": just(),
    "POST /api/v1/grants": a_new_grant,
    "GET /api/v1/grants/{grant_id}": a_grant,
    "DELETE /api/v1/grants/{grant_id}": a_grant,
    "GET /api/v1/clients": just(),
    "POST /api/v1/clients": a_new_client,
    "GET /api/v1/clients/{client_id}": a_client,
    "PATCH /api/v1/clients/{client_id}": a_client_to_change,
    "DELETE /api/v1/clients/{client_id}": a_client,
    "POST /api/v1/clients/{client_id}/rotate-secret": a_client_with_a_secret,
    "GET /api/v1/keys": just(),
    "POST /api/v1/keys/rotate": just({"use": "sign"}),
    "POST /api/v1/keys/{key_id}/revoke": a_key,
    "GET /api/v1/audit-events": just(),
}
"""What prepares and fills each operation, so that it succeeds. A new operation has to be added here."""


# ------------------------------------------------------------------------------------------------------------ the walk


async def test_every_operation_of_every_route_keeps_the_discipline(api):
    walk = Walk(api, api.client._transport.app, WAYS)
    faults = await walk()
    assert not faults, "\n".join(faults)
    assert walk.calls > 20 * len(WAYS)


async def test_what_applications_are_answered_is_as_described(api):
    """The operations of OTHER_SHAPES, which the walk only sees refuse."""
    description = Description((await api.call("GET", "/openapi.json")).json())
    app = await an_application(api, introspection=True, post_logout_redirect_uris=["https://app.example.org/bye"])
    zoe = await a_person(api)
    seen, faults = set(), []

    def look(answer):
        request = answer.request
        operation = description.operation(request.method, request.url.path)
        exchange = Exchange(operation, description, answer, request.method)
        faults.extend(f"{operation} {fault}" for check in BESIDE for fault in check(exchange))
        if answer.status_code < 400:
            seen.add(f"{request.method} {request.url.path} {answer.status_code}")
        return answer

    look(await zoe.browser.get(app.request()))
    look(await zoe.browser.post("/oauth2/authorize", data={"client_id": app.id}))
    tokens = look(await app.exchange(await app.code(zoe))).json()
    tokens = look(await app.refresh(tokens["refresh_token"])).json()
    for token in (tokens["access_token"], tokens["refresh_token"], "x"):
        look(await app.post("/oauth2/introspect", {"token": token}))
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    for method in ("GET", "POST"):
        look(await api.client.request(method, "/oauth2/userinfo", headers=bearer))
        look(await api.client.request(method, "/oauth2/userinfo"))
        look(await api.call(method, "/oauth2/userinfo", by=ADMIN))
    look(await app.post("/oauth2/token", {"grant_type": "authorization_code", "code": "x"}))
    look(await app.post("/oauth2/revoke", {"token": tokens["access_token"]}))
    look(await api.client.get("/oauth2/authorize", headers={"Host": "127.0.0.1"}))
    look(await zoe.browser.get("/oauth2/logout"))
    look(await zoe.browser.post("/oauth2/logout", data={"client_id": app.id}))
    look(await a_browser(api).browser.get("/oauth2/logout"))
    assert not faults, "\n".join(faults)
    described = {
        f"{method} {path} {status}"
        for path in OTHER_SHAPES
        for method in description.methods(path)
        for status in description.operation(method, path).described["responses"]
        if status < "4"
    }
    assert described - seen == {"GET /oauth2/logout 307"}  # as authorization


async def test_the_table_names_no_operation_that_is_gone(api):
    app = api.client._transport.app
    there = {f"{method} {route.path_format}" for route in app.routes for method in route.methods}
    assert WAYS.keys() <= there


# ----------------------------------------------------------------------------------- what the walk says of the careless


class Thing(msgspec.Struct):
    """What the careless routes take and answer."""

    name: str


@get("/api/v1/careless", include_in_schema=False, sync_to_thread=False)
def undescribed() -> Thing:
    return Thing("x")


@get("/api/v1/careless", sync_to_thread=False)
def described_in_another_shape() -> Response[Thing]:
    return Response({"nom": "x"}, headers={"X-Content-Type-Options": "sniff"})


@get("/api/v1/careless", sync_to_thread=False)
def fails_in_plain_text() -> Response[Thing]:
    return Response("no token", status_code=401, media_type="text/plain")


@patch("/api/v1/careless", sync_to_thread=False, responses=described(401, 403))
def changes_without_a_version(data: JSONBody[Thing]) -> Thing:
    return data


@post("/api/v1/careless", status_code=202, sync_to_thread=False, security=[{}], responses=described())
def answers_as_it_likes(data: JSONBody[Thing]) -> Response[Thing]:
    return Response(data, status_code=203)


@post("/api/v1/careless", status_code=201, sync_to_thread=False, security=[{}], responses=described())
def answers_with_what_was_sent(data: JSONBody[Thing]) -> Thing:
    raise HttpProblem(422, "careless", f"{data.name} is no name")


@get("/api/v1/careless", sync_to_thread=False, responses=described(401, 403))
def lets_everybody_in() -> Thing:
    return Thing("x")


@post("/api/v1/careless", status_code=201, sync_to_thread=False, security=[{}], responses=described())
def forgets_the_key(
    data: JSONBody[Thing],
    key: Annotated[str | None, HeaderParameter(name="Idempotency-Key", required=False)] = None,
) -> Thing:
    return Thing(f"{data.name}{next(_numbers)}")


@asgi("/careless", is_mount=True, copy_scope=True)
async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


@pytest.mark.parametrize(
    ("route", "sentences"),
    [
        (undescribed, {"GET /api/v1/careless is neither described nor on the list of undescribed routes"}),
        (mounted, {"GET /careless is neither described nor on the list of undescribed routes"}),
        (
            described_in_another_shape,
            {
                "(as it should be) answers 200 with a body that does not fit",
                "(as it should be) answers 200 with x-content-type-options: ['sniff']",
            },
        ),
        (
            fails_in_plain_text,
            {
                "(without token) answers 401, which is not described",
                "(without token) answers 401 as text/plain; charset=utf-8, not as a problem",
                "(as it should be) answers 401, not 200",
            },
        ),
        (
            changes_without_a_version,
            {
                "changes a resource and asks for no If-Match",
                "(without token) answers 200, not 401",
                "(with a body with an unknown member) answers 200, not 422",
            },
        ),
        (answers_as_it_likes, {"(with a key) answers 203, which is not described"}),
        (answers_with_what_was_sent, {"(with NUL in name) answers 422 with what was sent"}),
        (
            forgets_the_key,
            {
                "gives another answer to the same key and body",
                "(with the same key and another body) answers 201, not 422",
            },
        ),
        (
            lets_everybody_in,
            {"(without token) answers 200, not 401", "(without the right) answers 200, not 403 or 404"},
        ),
    ],
    ids=lambda value: getattr(getattr(value, "fn", None), "__name__", ""),
)
async def test_a_route_without_the_discipline_is_seen(api, route, sentences):
    async with beside(api, route) as careless:
        [path] = [r.path_format for r in careless.app.routes if "careless" in r.path_format]
        ways = {
            f"{method} {path}": just({"name": "x"} if method != "GET" else None) for method in ("GET", "POST", "PATCH")
        }
        faults = await Walk(careless.api, careless.app, {**WAYS, **ways}, only=path)()
    for sentence in sentences:
        assert [f for f in faults if sentence in f], "\n".join(faults)


async def test_an_operation_that_nobody_can_call_is_seen(api):
    ways = {name: way for name, way in WAYS.items() if name != "GET /api/v1/keys"}
    faults = await Walk(api, api.client._transport.app, ways, only="/api/v1/keys")()
    assert faults == ["GET /api/v1/keys is not in the table of ways to call each operation: say there how"]


@asynccontextmanager
async def beside(api, route):
    """The real application with one route more, on the same store."""
    app = create_app(api.container, await api.container.get(Settings))
    app.register(route)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield SimpleNamespace(app=app, api=replace(api, client=client))
