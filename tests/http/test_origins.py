"""Names of this host, web pages of other origins, traces, and bounds on callers."""

import re
from datetime import timedelta

import pytest

from domain.limits import Quota
from entrypoints.http import limits
from http_world import ADMIN, problem, served

APP = "https://app.example.com"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


# ---------------------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST.", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "id.example.com",
     "hexward.identity.svc:8000", "app.localhost"],
)  # fmt: skip
async def test_the_names_of_this_server_are_answered_to(clock, host):
    own = {"PUBLIC_URL": "https://id.example.com", "TRUSTED_HOSTS": "hexward.identity.svc"}
    async with served(clock, **own) as (_, client):
        assert (await client.get("/docs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "id.example.com.evil.example", "localhost.evil.example", "0x7f.1"])
async def test_a_name_that_somebody_points_here_is_not(clock, host):
    async with served(clock, PUBLIC_URL="https://id.example.com") as (_, client):
        body = problem(await client.get("/api/v1/me", headers={"Host": host}), 421, "host_unknown")
        assert "HEXWARD_TRUSTED_HOSTS" in body["detail"]
        assert host not in str(body)
        assert (await client.get("/health/live", headers={"Host": host})).status_code == 200, "probes have any name"


async def test_every_name_will_do_where_the_operator_says_so(clock):
    async with served(clock, TRUSTED_HOSTS="*") as (_, client):
        assert (await client.get("/docs", headers={"Host": "anything.example"})).status_code == 200


@pytest.mark.parametrize("headers", [[("Host", "")], [("Host", "a b")], [("Host", "localhost"), ("Host", "evil")]])
async def test_a_host_header_that_is_none_is_refused(api, headers):
    problem(await api.client.get("/docs", headers=headers), 400, "host_malformed")


# ----------------------------------------------------------------------------------------------------------------- CORS


async def test_pages_of_allowed_origins_may_read_answers_and_headers(clock):
    async with served(clock, CORS_ORIGINS=f"{APP}, http://localhost:5173") as (_, client):
        for path in ("/api/v1/me", "/oauth2/jwks", "/nope"):
            answer = await client.get(path, headers={"Origin": APP})
            assert answer.headers["access-control-allow-origin"] == APP
            assert answer.headers["vary"] == "origin"
            assert "ETag" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers


async def test_pages_of_other_origins_may_not(clock):
    async with served(clock, CORS_ORIGINS=APP) as (_, client):
        for origin in ("https://evil.example", f"{APP}.evil.example", f"{APP}:8443", "null", None):
            answer = await client.get("/api/v1/me", headers={} if origin is None else {"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "origin", "or a cache would give one page the answer of another"


async def test_without_the_setting_no_answer_speaks_of_origins(api):
    answer = await api.call("GET", "/api/v1/me", by=ADMIN, headers={"Origin": APP})
    assert not {"vary", "access-control-allow-origin"} & set(answer.headers)


async def test_a_preflight_is_answered_before_any_token_is_asked_for(clock):
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
    async with served(clock, CORS_ORIGINS=APP) as (_, client):
        answer = await client.options("/api/v1/me", headers={"Origin": APP, **asked})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers.get_list("access-control-allow-origin") == [APP], "browsers refuse it when it comes twice"
        assert answer.headers.get_list("vary") == ["origin"]
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        accepted = answer.headers["access-control-allow-headers"].lower()
        for name in ("authorization", "content-type", "if-match", "idempotency-key", "traceparent"):
            assert name in accepted
        answer = await client.options("/api/v1/me", headers={"Origin": "https://evil.example", **asked})
        assert answer.status_code == 204
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("origins", [APP, "*"])
async def test_what_browsers_are_led_to_is_for_no_script_of_another_page(clock, origins):
    async with served(clock, CORS_ORIGINS=origins) as (_, client):
        for path in ("/oauth2/authorize", "/oauth2/authorize/", "/oauth2/logout", "/login", "/consent", "/account"):
            for answer in (
                await client.get(path, headers={"Origin": APP}),
                await client.post(path, headers={"Origin": APP}),
                await client.options(path, headers={"Origin": APP, "Access-Control-Request-Method": "GET"}),
            ):
                assert not [name for name in answer.headers if name.startswith("access-control-")]
        answer = await client.get("/.well-known/openid-configuration", headers={"Origin": APP})
        assert answer.headers["access-control-allow-origin"] in (APP, "*")


async def test_any_origin_will_do_where_the_operator_says_so(clock):
    async with served(clock, CORS_ORIGINS="*") as (_, client):
        answer = await client.get("/api/v1/me", headers={"Origin": "https://whoever.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        asked = {"Origin": "https://whoever.example", "Access-Control-Request-Method": "GET"}
        answer = await client.options("/api/v1/me", headers=asked)
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]


# --------------------------------------------------------------------------------------------------------------- traces


async def test_a_trace_goes_on_in_the_answer_with_a_span_of_our_own(api):
    answer = await api.call("GET", "/health/live", headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"})
    version, trace, span, flags = answer.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert re.fullmatch("[0-9a-f]{16}", span)
    assert span != "1" * 16
    assert "traceparent" not in (await api.call("GET", "/health/live")).headers


async def test_what_is_logged_on_the_way_has_the_ids_of_the_request(api, caplog, capsys):
    headers = {"traceparent": f"00-{TRACE}-{'1' * 16}-01", "X-Request-ID": "mine"}
    await api.call("GET", "/api/v1/me", by=ADMIN, headers=headers)
    line = next(line for line in capsys.readouterr().out.splitlines() if "/api/v1/me" in line)
    assert "request_id" in line
    assert "mine" in line
    assert TRACE in line


# ------------------------------------------------------------------------------------------------------------- the rate


@pytest.fixture
def few(monkeypatch):
    quotas = {"sign-in": Quota("sign-in", limit=2, seconds=60), "api": Quota("api", limit=3, seconds=60)}
    monkeypatch.setattr(limits, "QUOTAS", quotas)


async def test_every_answer_says_what_is_left(few, clock):
    async with served(clock) as (_, client):
        for left in (2, 1, 0):
            answer = await client.get("/api/v1/me")
            assert answer.headers["ratelimit-policy"] == '"api";q=3;w=60'
            assert answer.headers["ratelimit"].startswith(f'"api";r={left};t=')


async def test_whoever_asks_too_often_is_told_how_long_to_wait_and_then_gets_through(few, clock):
    async with served(clock) as (_, client):
        for _ in range(3):
            await client.get("/api/v1/me")
        refused = await client.get("/api/v1/me")
        problem(refused, 429, "rate_limited")
        wait = int(refused.headers["retry-after"])
        assert wait == 20
        clock.move(timedelta(seconds=wait))
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_sign_in_has_a_quota_of_its_own_and_probes_have_none(few, clock):
    async with served(clock, prepared=True) as (_, client):
        doors = ("/api/v1/auth/login", "/login", "/api/v1/auth/login", "/login")
        statuses = [(await client.post(door, json={})).status_code for door in doors]
        assert statuses == [422, 400, 429, 429]
        assert (await client.get("/api/v1/me")).status_code == 401
        for _ in range(10):
            answer = await client.get("/health/live")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_callers_are_told_apart_by_address_or_network(one, other, same):
    assert (limits.caller(one) == limits.caller(other)) is same


async def test_limits_can_be_turned_off(few, clock):
    async with served(clock, RATE_LIMITS="off") as (_, client):
        answers = [await client.get("/api/v1/me") for _ in range(5)]
        assert {a.status_code for a in answers} == {401}
        assert "ratelimit" not in answers[0].headers
