"""The fast lane: nobody outside can tell whether it or the framework answered.

A slash at the end names the same operation, and always goes to the framework.
"""

import re

import httpx
import pytest
from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException

from domain.policies import Origin
from entrypoints.http.app import BODY_MAX, create_app
from entrypoints.http.hot import Lane
from entrypoints.settings import Settings
from http_world import ADMIN
from relying_party import an_application

ME, JWKS, REFRESH = "/api/v1/me", "/oauth2/jwks", "/api/v1/auth/refresh"
TOKEN, INTROSPECT = "/oauth2/token", "/oauth2/introspect"
JSON = {"Content-Type": "application/json"}
OF_ONE_ANSWER = {"x-request-id", "date", "ratelimit"}


async def both(api, method, path, **options):
    """The answers of the lane and of the framework, without what differs between any two."""
    answers = [await api.call(method, path + slash, **options) for slash in ("", "/")]
    return [
        (
            answer.status_code,
            sorted((n, v) for n, v in answer.headers.multi_items() if n not in OF_ONE_ANSWER),
            re.sub(rb'"correlation_id":"[^"]*"', b"", answer.content),
        )
        for answer in answers
    ]


async def chunks():
    for _ in range(20):
        yield b" " * 65_536


ALIKE = [
    ("GET", ME, {"by": ADMIN}, 200),
    ("HEAD", ME, {"by": ADMIN}, 200),
    ("GET", ME, {"by": ADMIN, "params": {"x": "1"}}, 422),
    ("GET", ME, {}, 401),
    ("GET", ME, {"headers": {"Authorization": "Basic x"}}, 401),
    ("GET", ME, {"headers": {"Authorization": "Bearer x"}}, 401),
    ("PATCH", ME, {"by": ADMIN, "json": {}}, 428),
    ("POST", ME, {"by": ADMIN}, 405),
    ("OPTIONS", ME, {}, 204),
    ("GET", ME, {"by": ADMIN, "headers": {"Host": "a b"}}, 400),
    ("GET", JWKS, {}, 200),
    ("HEAD", JWKS, {}, 200),
    ("GET", JWKS, {"headers": {"If-None-Match": "*"}}, 304),
    ("GET", JWKS, {"params": {"any": "thing"}}, 200),
    ("PUT", JWKS, {}, 405),
    ("OPTIONS", JWKS, {}, 204),
    ("POST", REFRESH, {"json": {"refresh_token": "hwr_"}}, 401),
    ("POST", REFRESH, {"json": {}}, 422),
    ("POST", REFRESH, {"json": {"refresh_token": 5}}, 422),
    ("POST", REFRESH, {"json": {"refresh_token": "x", "more": 1}}, 422),
    ("POST", REFRESH, {"content": b"", "headers": JSON}, 400),
    ("POST", REFRESH, {"content": b"{", "headers": JSON}, 400),
    ("POST", REFRESH, {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
    ("POST", REFRESH, {"content": b" " * (BODY_MAX + 1), "headers": JSON}, 413),
    ("POST", REFRESH, {"content": b"{}", "headers": {**JSON, "Content-Length": str(BODY_MAX + 1)}}, 413),
    ("POST", REFRESH, {"content": b"{}", "headers": {**JSON, "Content-Length": "many"}}, 400),
    ("POST", TOKEN, {"data": {"grant_type": "client_credentials"}}, 401),
    ("POST", TOKEN, {"json": {}}, 400),
    ("POST", INTROSPECT, {"data": {"token": "x"}, "headers": {"Authorization": "Basic eDp5"}}, 401),
    ("GET", REFRESH, {}, 405),
    ("OPTIONS", REFRESH, {}, 204),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), ALIKE, ids=[f"{a[0]} {a[1]} {a[3]}" for a in ALIKE])
async def test_an_answer_is_the_framework_s_to_the_last_header(api, method, path, options, status):
    lane, framework = await both(api, method, path, **options)
    assert lane == framework
    assert lane[0] == status


async def test_a_body_in_pieces_is_refused_once_it_is_too_long(api):
    answers = [await api.call("POST", REFRESH + slash, content=chunks(), headers=JSON) for slash in ("", "/")]
    assert [a.status_code for a in answers] == [413, 413]
    assert answers[0].json()["code"] == "content_too_large"


async def test_a_service_is_answered_alike_but_for_its_tokens(api):
    app = await an_application(
        api, redirect_uris=[], grant_types=["client_credentials"], scope="orders:read", introspection=True
    )
    answers = [await app.post(TOKEN + slash, {"grant_type": "client_credentials"}) for slash in ("", "/")]
    token = answers[0].json()["access_token"]
    told = [await app.post(INTROSPECT + slash, {"token": token}) for slash in ("", "/")]
    assert told[0].content == told[1].content
    assert answers[0].json().keys() == answers[1].json().keys()
    for lane, framework in (answers, told):
        assert (lane.status_code, framework.status_code) == (200, 200)
        own = ({n: v for n, v in each.headers.items() if n not in OF_ONE_ANSWER} for each in (lane, framework))
        assert next(own) == next(own)


async def test_a_refresh_answers_alike_but_for_the_tokens(api):
    tokens = []
    headers = []
    for slash in ("", "/"):
        body = {"refresh_token": api.tokens[ADMIN]["refresh_token"]}
        answer = await api.call("POST", REFRESH + slash, json=body)
        assert answer.status_code == 200
        tokens.append(answer.json())
        headers.append({n: v for n, v in answer.headers.items() if n not in OF_ONE_ANSWER})
    assert tokens[0]["refresh_token"] == tokens[1]["refresh_token"], "repeated within the grace"
    assert tokens[0].keys() == tokens[1].keys()
    assert headers[0] == headers[1]


async def test_what_a_person_changes_is_read_back_at_once(api):
    before = await api.call("GET", ME, by=ADMIN)
    changed = await api.call(
        "PATCH", ME, by=ADMIN, json={"display_name": "Zoë"}, headers={"If-Match": before.headers["etag"]}
    )
    after = await api.call("GET", ME, by=ADMIN)
    assert after.json()["display_name"] == "Zoë"
    assert after.headers["etag"] == changed.headers["etag"] != before.headers["etag"]


async def test_the_hot_operations_do_without_the_framework(api):
    async def framework(scope, receive, send):
        raise AssertionError(f"{scope['path']} went to the framework")

    app = create_app(api.container, await api.container.get(Settings))
    lane = Lane(framework)
    await lane.open(app, api.container)

    async def served(scope, receive, send):
        await lane({**scope, "litestar_app": app, "state": {"origin": Origin()}}, receive, send)

    transport = httpx.ASGITransport(app=served)
    bearer = {"Authorization": f"Bearer {api.tokens[ADMIN]['access_token']}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        assert (await client.get(ME, headers=bearer)).status_code == 200
        assert (await client.get(JWKS)).status_code == 200
        assert (await client.post(REFRESH, json={"refresh_token": "hwr_"})).status_code == 401


class Missing:
    """Nothing makes one."""


@get("/guarded", hot=True, guards=[lambda *_: None])
async def guarded() -> None:
    """Needs more than the lane gives."""


@get("/plain", hot=True, sync_to_thread=False)
def plain() -> None:
    """Would stop the loop."""


@get("/lacking", hot=True)
async def lacking(missing: FromDishka[Missing]) -> None:
    """Asks for what nobody provides."""


@pytest.mark.parametrize("handler", [guarded, plain, lacking], ids=lambda handler: handler.fn.__name__)
async def test_a_handler_that_needs_more_stops_the_start(api, handler):
    app = Litestar([DishkaRouter("/", route_handlers=[handler])], openapi_config=None, logging_config=None)
    with pytest.raises(ImproperlyConfiguredException, match="hot"):
        await Lane(app).open(app, api.container)
