"""The walk over every route: what one call must look like, whatever the operation is.

It starts from the route table, not from the description, and calls each operation for real. Faults are collected as
sentences, so that one run tells all of them.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from litestar import Litestar

from domain.audit import Outcome
from domain.ports import AuditQuery
from domain.scopes import EVERYWHERE
from http_world import ADMIN, PASSWORD, Api

NOBODY = "nobody@example.org"
PROBLEM = "application/problem+json"
MARK = "zq7mark"
"""Stands in everything that is sent to be refused, and in no refusal."""

UNDESCRIBED_ROUTES = {
    "/": "leads a browser to the page",
    "/docs": "the description for people",
    "/openapi.json": "the description itself",
}
OTHER_SHAPES = {
    "/oauth2/token": "errors after RFC 6749, 5.2",
    "/oauth2/introspect": "errors after RFC 7662, 2.3, which are those of RFC 6749",
    "/oauth2/revoke": "errors after RFC 7009, 2.2.1, likewise",
    "/oauth2/userinfo": "errors after RFC 6750, 3",
    "/oauth2/authorize": "RFC 6749, 4.1.2.1: redirects, and a page where there is nowhere to go",
    "/oauth2/logout": "OpenID Connect RP-Initiated Logout, 2 and 4: likewise",
}
"""Described operations whose answers other standards decide about. They keep the rest of the discipline."""
PEOPLE = dict.fromkeys(
    (
        "/oauth2/logout-confirm", "/login", "/consent", "/logged-out", "/account", "/account/profile",
        "/account/password", "/account/sessions/end", "/account/sessions/end-all", "/account/applications/revoke",
        "/assets/hexward.css", "/assets/logo",
    ),
    "pages for people",
)  # fmt: skip
"""Routes that no program has to do with, and no description is about. They keep the rest of the discipline, too."""
FRAMEWORK_ROUTES = "/openapi"
"""The framework's own pages below it answer 404, which the walk asks for."""
UNIVERSAL_ANSWERS = {
    204: "OPTIONS, which is no operation",
    405: "no operation either: the path has others",
    421: "no server: it goes by other names",
}
PUBLIC_TO_CACHES = {
    "/", "/docs", "/openapi.json", "/oauth2/jwks", "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server", "/assets/hexward.css", "/assets/logo",
}  # fmt: skip
NO_RIGHT_NEEDED = {
    "GET /api/v1/me": "one's own profile",
    "PATCH /api/v1/me": "one's own profile",
    "GET /api/v1/grants": "one's own grants are always seen",
    "POST /api/v1/auth/logout": "one's own session",
    "POST /api/v1/me/password": "one's own password, with proof",
    "GET /api/v1/me/permissions": "one's own permissions",
    "GET /api/v1/me/sessions": "one's own sessions",
    "DELETE /api/v1/me/sessions": "one's own sessions",
    "DELETE /api/v1/me/sessions/{session_id}": "one's own session",
}
NO_VERSION = {
    **{
        f"DELETE /api/v1/{whose}/sessions{which}": "a session is opened and ended, and has no versions"
        for whose in ("me", "users/{user_id}")
        for which in ("", "/{session_id}")
    },
    "PUT /api/v1/users/{user_id}/roles/{role}": "idempotent: the same again changes nothing",
    "DELETE /api/v1/users/{user_id}/roles/{role}": "idempotent: taking away what is not held is no error",
    "DELETE /api/v1/grants/{grant_id}": "a grant is made and revoked, and has no versions",
}
"""Changes of a resource that ask for no If-Match, each with its reason."""
KNOWN_CODES = set(
    re.findall(
        r"^\| `(\w+)` \| (\d{3}) \|",
        (Path(__file__).parents[1] / "docs/reference/errors.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
TAKES_ANYTHING = {
    "POST /api/v1/auth/logout": "a token that is none has no session left to end (RFC 7009, 2.2)",
    "DELETE /api/v1/users/{user_id}/roles/{role}": "what nobody can hold is not held",
}
"""What answers 204 to a name or token of nothing, each with its reason."""
CHANGES_A_RESOURCE = {"PUT", "PATCH", "DELETE"}


@dataclass(frozen=True)
class Call:
    """How an operation is called so that it succeeds: what fills its path, its body, who calls."""

    path: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    by: str = ADMIN


type Prepare = Callable[[Api], Awaitable[Call]]


@dataclass(frozen=True)
class Operation:
    """One method of one route, with what the description says of it (None: nothing)."""

    method: str
    path: str
    described: Mapping[str, Any] | None
    secured: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def parameter(self, name: str) -> Mapping[str, Any] | None:
        given = (self.described or {}).get("parameters", ())
        return next((p for p in given if p["name"].lower() == name.lower()), None)

    @property
    def takes_a_body(self) -> bool:
        return "requestBody" in (self.described or {})


class Description:
    """The OpenAPI document, asked for operations and shapes."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def operation(self, method: str, path: str) -> Operation:
        described = self._document["paths"].get(path, {}).get(method.lower())
        security = (described or {}).get("security", self._document.get("security", []))
        return Operation(method, path, described, described is not None and {} not in security)

    def methods(self, path: str) -> set[str]:
        verbs = {"get", "post", "put", "patch", "delete"}
        return {verb.upper() for verb in verbs & self._document["paths"].get(path, {}).keys()}

    @cached_property
    def has_rate_limits(self) -> bool:
        return "RateLimit" in self._document["components"].get("headers", {})

    def resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in value:
            found: Any = self._document
            for step in value["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            value = found
        return value

    def misfits(self, schema: Mapping[str, Any], instance: Any) -> list[str]:
        """What of the instance does not fit."""
        key = json.dumps(schema)
        if key not in self._validators:
            whole = {**schema, "components": self._document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        errors = self._validators[key].iter_errors(instance)
        return [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in errors]


# ----------------------------------------------------------------------------------------------- what each answer has


@dataclass(frozen=True)
class Exchange:
    """One call and its answer."""

    operation: Operation
    description: Description
    answer: httpx.Response
    method: str

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def path(self) -> str:
        return self.operation.path


def is_described(exchange: Exchange) -> Iterator[str]:
    described = exchange.operation.described
    if described is None or exchange.method not in (exchange.operation.method, "HEAD"):
        if exchange.status not in UNIVERSAL_ANSWERS and described is not None:
            yield f"answers {exchange.status} to a method that is not its own"
        return
    answer = described["responses"].get(str(exchange.status))
    if answer is None:
        yield f"answers {exchange.status}, which is not described"
        return
    yield from _headers_fit(exchange, answer.get("headers", {}))
    if exchange.method != "HEAD":
        yield from _body_fits(exchange, answer.get("content", {}))


def _headers_fit(exchange: Exchange, described: Mapping[str, Any]) -> Iterator[str]:
    for name, reference in described.items():
        header = exchange.description.resolved(reference)
        value = exchange.answer.headers.get(name)
        if value is None:
            if header.get("required"):
                yield f"answers {exchange.status} without {name}"
        elif (pattern := header["schema"].get("pattern")) and not re.fullmatch(pattern, value):
            yield f"answers {exchange.status} with a malformed {name}"


def _body_fits(exchange: Exchange, content: Mapping[str, Any]) -> Iterator[str]:
    kind = exchange.answer.headers.get("content-type", "").partition(";")[0]
    if not content:
        if exchange.answer.content:
            yield f"has a body with {exchange.status}, of which nothing is described"
    elif kind not in content:
        yield f"answers {exchange.status} as {kind or 'nothing'}, described as {' or '.join(content)}"
    elif "json" in kind:
        for misfit in exchange.description.misfits(content[kind]["schema"], exchange.answer.json()):
            yield f"answers {exchange.status} with a body that does not fit: {misfit}"


def is_a_whole_problem(exchange: Exchange) -> Iterator[str]:
    if exchange.status < 400 or exchange.method == "HEAD":
        return
    kind = exchange.answer.headers.get("content-type")
    if kind != PROBLEM:
        if not (exchange.status == 503 and exchange.path.startswith("/health")):
            yield f"answers {exchange.status} as {kind}, not as a problem"
        return
    body = exchange.answer.json()
    if (body.get("code"), str(exchange.status)) not in KNOWN_CODES:
        yield f"answers {exchange.status} with code {body.get('code')}, which is not on the page of errors"
    if (body.get("status"), body.get("type")) != (exchange.status, f"urn:hexward:problem:{body.get('code')}"):
        yield f"answers {exchange.status} with another status or type in the body"
    if not body.get("title") or not body.get("detail"):
        yield f"answers {exchange.status} without a title or detail"
    if body.get("correlation_id") != exchange.answer.headers.get("x-request-id"):
        yield f"answers {exchange.status} with a correlation id that is not the request id"
    if not body.keys() <= {"type", "title", "status", "code", "detail", "correlation_id", "errors"}:
        yield f"answers {exchange.status} with members that a problem has not"


def has_the_common_headers(exchange: Exchange) -> Iterator[str]:
    headers = exchange.answer.headers
    for name, value in SECURITY.items():
        if headers.get_list(name) != [value]:
            yield f"answers {exchange.status} with {name}: {headers.get_list(name)}"
    for name in ("content-security-policy", "permissions-policy", "x-request-id", "cache-control"):
        if len(headers.get_list(name)) != 1:
            yield f"answers {exchange.status} with {name}: {headers.get_list(name)}"
    cacheable = exchange.path in PUBLIC_TO_CACHES and exchange.status < 400
    if "no-store" not in headers.get("cache-control", "") and not cacheable:
        yield f"answers {exchange.status} with cache-control: {headers.get('cache-control')}"


def tells_nothing(exchange: Exchange) -> Iterator[str]:
    """No secret comes back, and of what is refused nothing at all."""
    said = exchange.answer.text + str(exchange.answer.headers)
    sent = exchange.answer.request.headers.get("authorization", "").partition(" ")[2]
    if PASSWORD in said or (len(sent) > 20 and sent in said):
        yield f"answers {exchange.status} with a secret"
    if exchange.status >= 400 and MARK in said:
        yield f"answers {exchange.status} with what was sent"
    for inner in ("Traceback", "SELECT ", "$argon2", "litestar", "msgspec"):
        if inner in said:
            yield f"answers {exchange.status} with {inner}"


def has_rate_limits(exchange: Exchange) -> Iterator[str]:
    if not exchange.description.has_rate_limits or not exchange.path.startswith("/api/v1/"):
        return
    for name in ("RateLimit", "RateLimit-Policy"):
        if name not in exchange.answer.headers and exchange.method == exchange.operation.method:
            yield f"answers {exchange.status} without {name}"


BESIDE = (is_described, has_the_common_headers)
"""What is asked of OTHER_SHAPES and PEOPLE, too."""
CHECKS = (is_described, is_a_whole_problem, has_the_common_headers, tells_nothing, has_rate_limits)


# ------------------------------------------------------------------------------------------------------------ the walk


@dataclass
class Walk:
    """Goes over all operations of an application, or of `only` one path, and writes down what is wrong."""

    api: Api
    app: Litestar
    ways: Mapping[str, Prepare]
    only: str | None = None
    faults: list[str] = field(default_factory=list)
    calls: int = 0

    async def __call__(self) -> list[str]:
        """The faults of every route."""
        await self.api.signed_in(NOBODY)
        self.description = Description((await self.api.call("GET", "/openapi.json")).json())
        for path, methods in sorted(self._routes().items()):
            if self.only not in (None, path):
                continue
            if path in OTHER_SHAPES or path in PEOPLE:
                await self._path(path, methods)
                for method in sorted(methods):
                    await self._beside(self.description.operation(method, path))
                continue
            if path.startswith(FRAMEWORK_ROUTES) and path not in UNDESCRIBED_ROUTES:
                await self._framework(path)
                continue
            await self._path(path, methods)
            for method in sorted(methods):
                await self._operation(self.description.operation(method, path))
        return self.faults

    def _routes(self) -> dict[str, set[str]]:
        """Path templates and their methods; bare ASGI takes any, so those are meant that are described, or GET."""
        found: dict[str, set[str]] = {}
        for route in self.app.routes:
            methods = getattr(route, "methods", None) or self.description.methods(route.path_format) or {"GET"}
            found.setdefault(route.path_format, set()).update(methods - {"OPTIONS", "HEAD"})
        return found

    def fault(self, operation: Operation, sentence: str) -> None:
        self.faults.append(f"{operation} {sentence}")

    async def call(
        self, operation: Operation, call: Call, expected: set[int], said: str, **more: Any
    ) -> httpx.Response:
        """Call the operation, and write down what is wrong with the answer. `more` changes the call."""
        method = more.pop("method", operation.method)
        path = more.pop("path", None) or filled(operation.path, call.path) + more.pop("suffix", "")
        options: dict[str, Any] = {"by": call.by, "headers": {**call.headers, **more.pop("headers", {})}}
        if call.json is not None and "content" not in more:
            options["json"] = call.json
        answer = await self.api.call(method, path, **{**options, **more})
        self.calls += 1
        exchange = Exchange(operation, self.description, answer, method)
        for check in CHECKS:
            for sentence in check(exchange):
                self.fault(operation, f"({said}) {sentence}")
        if answer.status_code not in expected:
            self.fault(operation, f"({said}) answers {answer.status_code}, not {' or '.join(map(str, expected))}")
        return answer

    async def _beside(self, operation: Operation) -> None:
        """Whatever is sent, there is an answer, with what every answer has, and never a fault of ours."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        tries: list[tuple[str, dict[str, Any]]] = [
            ("nothing", {}),
            ("JSON", {"json": {"token": MARK}}),
            ("no form", {"content": b"\xff=%zz&" + MARK.encode(), "headers": form}),
            ("a form", {"content": f"token={MARK}&ticket={MARK}", "headers": form}),
            ("parameters twice", {"content": f"token={MARK}&token=x", "headers": form}),
            ("too many parameters", {"content": "&".join(f"p{n}=1" for n in range(200)), "headers": form}),
            ("too much", {"content": b"a=" + b"x" * 2_000_000, "headers": form}),
            ("a query", {"params": {"ticket": MARK, "access_token": MARK, "client_id": MARK}}),
            ("a forged token", {"headers": {"Authorization": f"Bearer {MARK}"}}),
            ("a forged secret", {"headers": {"Authorization": "Basic !!!", **form}, "content": "grant_type=x"}),
        ]
        if (operation.described is None) != (operation.path in PEOPLE):
            self.fault(operation, "is described, and stands on the list of pages, or neither")
        for said, sent in tries:
            if operation.method == "GET":
                sent.pop("content", None), sent.pop("json", None)
            answer = await self.api.client.request(operation.method, operation.path, **sent)
            self.calls += 1
            exchange = Exchange(operation, self.description, answer, operation.method)
            faults = [fault for check in BESIDE for fault in check(exchange)]
            if answer.status_code >= 500:
                faults.append(f"answers {answer.status_code}")
            if MARK in answer.text and answer.headers.get("content-type", "").startswith("application/json"):
                faults.append("echoes what was sent")
            for sentence in faults:
                self.fault(operation, f"({said}) {sentence}")

    async def _framework(self, path: str) -> None:
        operation = self.description.operation("GET", path)
        await self.call(operation, Call(), {404}, "a page of the framework", path=filled(path, {"path": "x"}))

    async def _path(self, path: str, methods: set[str]) -> None:
        """Wrong methods and OPTIONS, once for a path."""
        operation = self.description.operation(min(methods), path)
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        names = re.findall(r"\{(\w+)\}", path)
        call = Call(dict.fromkeys(names, "00000000-0000-7000-8000-000000000000"))
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - methods:
            answer = await self.call(operation, call, {405}, f"as {method}", method=method)
            if {m.strip() for m in answer.headers.get("allow", "").split(",")} != allowed:
                self.fault(operation, f"(as {method}) allows {answer.headers.get('allow')}, not {sorted(allowed)}")
        for query in ("", f"?{MARK}=1"):
            answer = await self.call(operation, call, {204}, "as OPTIONS", method="OPTIONS", suffix=query)
            if {m.strip() for m in answer.headers.get("allow", "").split(",")} != allowed:
                self.fault(operation, f"(as OPTIONS) allows {answer.headers.get('allow')}, not {sorted(allowed)}")

    async def _operation(self, operation: Operation) -> None:
        if operation.described is None and operation.path not in UNDESCRIBED_ROUTES:
            self.fault(operation, "is neither described nor on the list of undescribed routes")
            return
        if str(operation) not in self.ways:
            self.fault(operation, "is not in the table of ways to call each operation: say there how")
            return
        call = await self.ways[str(operation)](self.api)
        before = await self._changes()
        for step in STEPS:
            await step(self, operation, call)
        if await self._changes() != before:
            self.fault(operation, "has changed something while it refused")
        for step in LAST_STEPS:
            await step(self, operation, call)

    async def _changes(self) -> list[str]:
        """What the trail says was changed; sign-ins are not meant."""
        async with self.api.store.transaction():
            found = (await self.api.store.audit.page(AuditQuery((EVERYWHERE,), limit=200))).items
        actions = [f"{e.action} {e.id}" for e in found if e.outcome is Outcome.SUCCESS]
        return [a for a in actions if not a.startswith("session.started")]


def filled(path: str, values: Mapping[str, str]) -> str:
    """The path with its parameters filled in."""
    return re.sub(r"\{(\w+)\}", lambda match: values[match.group(1)], path)


def nothing(operation: Operation, refusals: set[int]) -> set[int]:
    """What may be answered to a name of nothing."""
    return refusals | {204} if str(operation) in TAKES_ANYTHING else refusals


# ----------------------------------------------------------------------------------- steps: every one expects a refusal


async def without_token(walk: Walk, operation: Operation, call: Call) -> None:
    if operation.secured:
        await walk.call(operation, call, {401}, "without token", by=None)
        await walk.call(
            operation, call, {401}, "with a forged token", by=None, headers={"Authorization": f"Bearer {MARK}"}
        )
        await walk.call(operation, call, {401}, "with a slash, without token", by=None, suffix="/")


async def without_right(walk: Walk, operation: Operation, call: Call) -> None:
    if operation.secured and str(operation) not in NO_RIGHT_NEEDED:
        await walk.call(operation, call, {403, 404}, "without the right", by=NOBODY)


async def without_version(walk: Walk, operation: Operation, call: Call) -> None:
    if operation.parameter("If-Match") is None:
        if operation.method in CHANGES_A_RESOURCE and str(operation) not in NO_VERSION:
            walk.fault(operation, "changes a resource and asks for no If-Match")
        return
    bare = Call(call.path, call.json, {}, call.by)
    await walk.call(operation, bare, {428}, "without If-Match")
    for tag in ('"999999"', 'W/"1"', '"1", "2"', f'"{MARK}"', ""):
        await walk.call(operation, bare, {412}, f"with If-Match {tag}", headers={"If-Match": tag})


async def with_a_wrong_body(walk: Walk, operation: Operation, call: Call) -> None:
    if not operation.takes_a_body:
        return
    right = json.dumps(call.json).encode()
    kind = {"Content-Type": "application/json"}
    deep = b"[" * 100_000
    bodies: list[tuple[str, bytes, dict[str, str], set[int]]] = [
        ("over the limit", b'{"' + MARK.encode() * 160_000 + b'":1}', kind, {413}),
        ("malformed", b"{" + MARK.encode(), kind, {400}),
        ("no UTF-8", b'{"' + MARK.encode() + b'": "\xff"}', kind, {400, 422}),
        ("of another kind", right, {"Content-Type": "text/plain"}, {415}),
        ("with an unknown member", json.dumps({**(call.json or {}), MARK: MARK}).encode(), kind, {422}),
        ("that is a list", b"[]", kind, {422}),
        ("that is a text", f'"{MARK}"'.encode(), kind, {422}),
        ("nested too deeply", b'{"' + MARK.encode() + b'":' + deep, kind, {400, 422}),
    ]
    for said, content, headers, expected in bodies:
        await walk.call(operation, call, expected, f"with a body {said}", content=content, headers=headers)
    for name in call.json or {}:
        odd = {**call.json, name: {MARK: MARK}}
        await walk.call(operation, call, {422}, f"with an odd {name}", json=odd)
        if isinstance(call.json[name], str):
            for said, text in (
                ("NUL", f"{MARK}\0"),
                ("a lone surrogate", f"{MARK}\ud800"),
                ("2000 characters", "x" * 2000),
            ):
                odd = json.dumps({**call.json, name: text}).encode()
                wrong = {403} if name == "current_password" else set()  # any text may be tried
                expected = nothing(operation, {400, 401, 404, 422} | wrong)
                await walk.call(operation, call, expected, f"with {said} in {name}", content=odd, headers=kind)


async def with_an_unknown_parameter(walk: Walk, operation: Operation, call: Call) -> None:
    if operation.path.startswith("/api/v1/"):
        for query in (f"?{MARK}={MARK}", "?limit=1&limit=1", "?%00=%ff", f"?{MARK}"):
            await walk.call(operation, call, {422}, f"with {query}", suffix=query)
    for parameter in (operation.described or {}).get("parameters", ()):
        if parameter["in"] == "query":
            for value in (f"{MARK}%00", f"{MARK}%ff%fe", MARK * 300):
                answer = await walk.call(
                    operation,
                    call,
                    {200, 400, 404, 422},
                    f"with an odd {parameter['name']}",
                    suffix=f"?{parameter['name']}={value}",
                )
                if answer.status_code == 200 and operation.method != "GET":
                    walk.fault(operation, f"takes any {parameter['name']}")


async def with_an_id_that_is_none(walk: Walk, operation: Operation, call: Call) -> None:
    for name in call.path:
        for value in (
            MARK,
            "%00",
            "%ff",
            "a%2Fb",
            "..%2F..",
            "%2e%2e",
            "%E2%80%AE",
            "x" * 6000,
            "-",
            "a%0d%0aX-Evil:1",
        ):
            odd = filled(operation.path, {**call.path, name: value})
            expected = nothing(operation, {400, 404, 405, 422})
            answer = await walk.call(operation, call, expected, f"with {value[:20]} for {name}", path=odd)
            if "x-evil" in answer.headers:
                walk.fault(operation, "lets a header in through its path")


async def with_a_long_header(walk: Walk, operation: Operation, call: Call) -> None:
    if operation.secured:
        for token in (MARK * 2000, f"{MARK}.{MARK}.{MARK}", "\x00", "é"):
            headers = {"Authorization": b"Bearer " + token.encode("latin-1")}
            await walk.call(operation, call, {401}, "with an odd token", by=None, headers=headers)


STEPS = (
    without_token,
    without_right,
    without_version,
    with_a_wrong_body,
    with_an_unknown_parameter,
    with_an_id_that_is_none,
    with_a_long_header,
)


# ------------------------------------------------------------------------------- last steps: the call that is answered


async def repeated_with_a_key(walk: Walk, operation: Operation, call: Call) -> None:
    """Idempotency-Key: the same again is the same answer and no second change; another body is refused."""
    if operation.parameter("Idempotency-Key") is None:
        return
    key = {"Idempotency-Key": f"walk-{walk.calls}"}
    first = await walk.call(operation, call, {200, 201, 202, 204}, "with a key", headers=key)
    changes = await walk._changes()
    again = await walk.call(operation, call, {first.status_code}, "with the same key again", headers=key)
    if again.content != first.content:
        walk.fault(operation, "gives another answer to the same key and body")
    if await walk._changes() != changes:
        walk.fault(operation, "changes something twice for one key")
    other = Call(call.path, {**(call.json or {}), MARK: MARK}, call.headers, call.by)
    await walk.call(operation, other, {422}, "with the same key and another body", headers=key)


async def as_it_should_be(walk: Walk, operation: Operation, call: Call) -> None:
    described = (operation.described or {}).get("responses", {"200": None, "302": None})
    expected = {int(status) for status in described if status.startswith(("2", "30"))}
    if operation.parameter("Idempotency-Key") is not None:
        return  # called already, and some calls can be made once only
    if operation.method == "GET":
        await _read(walk, operation, call, expected)
    else:
        await walk.call(operation, call, expected, "as it should be")


async def _read(walk: Walk, operation: Operation, call: Call, expected: set[int]) -> None:
    whole = await walk.call(operation, call, expected, "as it should be")
    head = await walk.call(operation, call, {whole.status_code}, "as HEAD", method="HEAD")
    if head.content:
        walk.fault(operation, "has a body as HEAD")
    slash = await walk.call(
        operation, call, {whole.status_code}, "with a slash", suffix="/" if operation.path != "/" else ""
    )
    if slash.content != whole.content and not operation.path.startswith("/health"):
        walk.fault(operation, "answers otherwise with a slash")
    for name in ("content-type", "content-length", "etag", "cache-control", "link"):
        if head.headers.get(name) != whole.headers.get(name) and not operation.path.startswith("/health"):
            walk.fault(operation, f"has another {name} as HEAD")


LAST_STEPS = (repeated_with_a_key, as_it_should_be)
