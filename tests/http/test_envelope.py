"""What every exchange has, whatever happens inside."""

import re

import pytest

from domain import ports
from entrypoints.http.app import BODY_MAX
from http_world import ADMIN, PASSWORD, problem, served
from wired import instead

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LOGIN = "/api/v1/auth/login"


# ------------------------------------------------------------------------------------------------------------------ ids


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 128])
async def test_a_request_id_is_taken_over(api, given):
    answer = await api.call(
        "GET", "/api/v1/me", headers={"X-Request-ID": given, "traceparent": f"00-{TRACE}-{'1' * 16}-01"}
    )
    assert answer.headers.get_list("x-request-id") == [given]
    problem(answer, 401, "token_missing")


async def test_one_that_could_forge_a_log_line_is_replaced(api):
    seen = set()
    for given in ("", "a b", "x" * 129, "a\tb", "é", "a;b", "<b>", "a\x0bb"):
        answer = await api.call("GET", "/health/live", headers={"X-Request-ID": given.encode("latin-1")})
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in seen)


async def test_a_trace_gives_its_id_and_a_malformed_one_does_not(api):
    answer = await api.call("GET", "/health/live", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert answer.headers["x-request-id"] == TRACE
    for trace in (TRACE.upper(), TRACE[1:], f"{TRACE}\n"):
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01".encode()}
        assert (await api.call("GET", "/health/live", headers=headers)).headers["x-request-id"] != trace


# -------------------------------------------------------------------------------------------------------------- headers


async def test_every_answer_has_the_security_headers_errors_and_redirects_too(api):
    answers = [
        await api.call("GET", "/health/live"),
        await api.call("GET", "/api/v1/me", by=ADMIN),
        await api.call("GET", "/api/v1/me"),
        await api.call("GET", "/no/such/page"),
        await api.call("PUT", "/api/v1/me", by=ADMIN),
        await api.call("POST", LOGIN, content=b"{", headers={"Content-Type": "application/json"}),
        await api.call("GET", "/"),
        await api.call("GET", "/docs"),
        await api.call("GET", "/oauth2/jwks"),
        await api.call("OPTIONS", "/api/v1/me"),
    ]
    for answer in answers:
        for name, value in {
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }.items():
            assert answer.headers.get_list(name) == [value], answer.request.url
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "geolocation=()" in answer.headers["permissions-policy"]
        assert len(answer.headers.get_list("cache-control")) == 1
        assert "strict-transport-security" not in answer.headers
        assert "server" not in answer.headers
    public = {a.request.url.path for a in answers if a.headers["cache-control"] != "no-store"}
    assert public == {"/docs", "/oauth2/jwks"}


async def test_behind_https_browsers_are_told_to_stay_there(clock):
    async with served(clock, PUBLIC_URL="https://id.example.org") as (_, client):
        for path in ("/health/live", "/no/such/page"):
            answer = await client.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


# ------------------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "198.51.100.1\r\nX-Evil: 1", "10.0.0.1"),
    ],
)
async def test_a_forwarded_address_is_believed_from_trusted_proxies_only(clock, peer, forwarded, address):
    async with served(clock, peer=peer, prepared=True, TRUSTED_PROXIES="10.0.0.0/8,fd00::/8") as (store, client):
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded.encode()}
        body = {"email": ADMIN, "password": PASSWORD}
        assert (await client.post(LOGIN, json=body, headers=headers)).status_code == 200
        async with store.transaction():
            user = await store.users.by_login(ADMIN)
            [session] = await store.sessions.open_of(user.id)
        assert session.address == address


# ---------------------------------------------------------------------------------------------------- paths and methods


async def test_a_trailing_slash_makes_no_difference(api):
    for path in ("/api/v1/users", "/api/v1/me", "/api/v1/roles/admin", "/health/ready", "/docs", "/oauth2/jwks"):
        plain, slashed = await api.call("GET", path, by=ADMIN), await api.call("GET", f"{path}/", by=ADMIN)
        assert (plain.status_code, slashed.status_code) == (200, 200), path
        assert plain.content == slashed.content


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v1", "/api/v1/nope", "/api/v2/users", "/api/v1/users/x/y", "/%00", "/..%2f"]
)
async def test_what_is_not_there_is_a_problem_that_echoes_nothing(api, path):
    body = problem(await api.call("GET", path, by=ADMIN), 404, "not_found")
    assert "nope" not in str(body)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/users", {"GET", "POST"}),
        ("POST", "/api/v1/me", {"GET", "PATCH"}),
        ("GET", LOGIN, {"POST"}),
        ("DELETE", "/oauth2/jwks", {"GET"}),
        ("POST", "/health/live", {"GET"}),
        ("BREW", "/api/v1/users", {"GET", "POST"}),
    ],
)
async def test_a_method_that_is_not_there_names_those_that_are(api, method, path, allowed):
    answer = await api.call(method, path, by=ADMIN)
    problem(answer, 405, "method_not_allowed")
    assert {m.strip() for m in answer.headers["allow"].split(",")} - {"OPTIONS", "HEAD"} == allowed


async def test_head_is_get_without_the_body(api):
    for path in ("/health/live", "/oauth2/jwks", "/api/v1/me", "/docs"):
        full, head = await api.call("GET", path, by=ADMIN), await api.call("HEAD", path, by=ADMIN)
        assert (head.status_code, head.content) == (full.status_code, b""), path
        for name in ("content-type", "content-length", "etag", "cache-control"):
            assert head.headers.get(name) == full.headers.get(name), path


# --------------------------------------------------------------------------------------------------------------- bodies


async def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(api):
    big = b'{"email":"' + b"x" * BODY_MAX + b'","password":"p"}'

    async def chunks():
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    for content in (big, chunks()):
        problem(await api.call("POST", LOGIN, content=content, headers=headers), 413, "content_too_large")


async def test_a_lie_about_the_length_helps_nobody(api):
    headers = {"Content-Type": "application/json", "Content-Length": str(BODY_MAX + 1)}
    problem(await api.call("POST", LOGIN, content=b"{}", headers=headers), 413, "content_too_large")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"]
)
async def test_a_body_of_another_kind_is_refused(api, kind):
    body = b'{"email":"root@example.org","password":"a long enough pass phrase"}'
    problem(await api.call("POST", LOGIN, content=body, headers={"Content-Type": kind}), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", None])
async def test_json_is_json_however_it_is_written(api, kind):
    body = b'{"email":"root@example.org","password":"a long enough pass phrase"}'
    headers = {} if kind is None else {"Content-Type": kind}
    assert (await api.call("POST", LOGIN, content=body, headers=headers)).status_code == 200


async def test_a_body_that_is_not_one_json_document_is_a_problem(api):
    headers = {"Content-Type": "application/json"}
    for body, status in [(b'{"password":"p"}{}', 400), (b"\xef\xbb\xbf{}", 400), (b"nul", 400), (b"[" * 50_000, 422)]:
        answer = await api.call("POST", LOGIN, content=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), body[:20]
    twice = b'{"email":"nobody@example.org","email":"root@example.org","password":"a long enough pass phrase"}'
    assert (await api.call("POST", LOGIN, content=twice, headers=headers)).status_code == 200, "the last one wins"


# -------------------------------------------------------------------------------------------------------------- defects


async def test_a_defect_is_a_500_that_tells_nothing_but_where_to_look(clock, caplog):
    class Broken:
        """A port with a defect."""

        def __getattr__(self, name):
            raise RuntimeError(f"SELECT password FROM users WHERE {name} = 'hunter2'")

    async with served(clock, instead(ports.SignInFailures, Broken()), prepared=True) as (_, client):
        answer = await client.post(LOGIN, json={"email": ADMIN, "password": PASSWORD})
        body = problem(answer, 500, "internal_error")
        for inner in ("SELECT", "hunter2", "RuntimeError", "Traceback", ".py", ADMIN, PASSWORD):
            assert inner not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert body["correlation_id"]
    told = [r for r in caplog.records if "unexpected error" in r.getMessage()]
    assert len(told) == 1
    assert "hunter2" in str(told[0].exc_info[1])


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer")],
        [("Authorization", "Basic cm9vdDpyb290")],
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
        [("Authorization", "")],
    ],
)
async def test_an_authorization_that_is_not_one_bearer_token_is_refused(api, headers):
    answer = await api.client.get("/api/v1/me", headers=headers)
    problem(answer, 401, "token_malformed")
    assert answer.headers["www-authenticate"] == 'Bearer realm="hexward", error="invalid_token"'
