"""What every exchange has, whatever happens inside: request id, security headers, no-store, one log line."""

import ipaddress
import logging
import math
import os
import random
import re
import time
from collections.abc import Sequence
from typing import cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from domain.policies import Origin
from entrypoints.http.limits import Limits
from entrypoints.http.origins import Cors, Hosts, named_host
from entrypoints.http.problems import MEDIA_TYPE, encoded
from entrypoints.settings import Settings

type Headers = Sequence[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_USER_AGENT_MAX = 256
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_POLICY = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_UNLESS_SET = ((b"content-security-policy", _POLICY), (b"cache-control", b"no-store"))
HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_OURS = frozenset(name for name, _ in (*SECURITY_HEADERS, HSTS, *_UNLESS_SET))

log = structlog.get_logger("hexward.http")


class Envelope:
    """ASGI middleware around the whole application, error answers included."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._trusted = settings.trusted_proxies
        secure = settings.public_url.startswith("https://")
        self._fixed = (*SECURITY_HEADERS, *((HSTS,) if secure else ()), *_UNLESS_SET)
        self._hosts, self._cors = Hosts(settings), Cors(settings.cors_origins)
        self.limits: Limits | None = None
        """What bounds callers; set when the application starts, where they are to be bounded."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        if scope["type"] != ScopeType.HTTP:  # lifespan; there are no websockets
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send, self._fixed)
        exchange.more += self._cors.headers(scope["path"], exchange.headers.get(b"origin"))
        address = self._address(scope, exchange.headers)
        exchange.note_origin(address)
        bound = structlog.contextvars.bind_contextvars(**exchange.ids)
        try:
            if not await self._refused(exchange, address):
                await self._app(exchange.inner, receive, exchange.send)
        finally:
            exchange.log()
            structlog.contextvars.reset_contextvars(**bound)

    async def _refused(self, exchange: "Exchange", address: str | None) -> bool:
        """Whether the exchange was answered here, before any routing."""
        path = exchange.scope["path"]
        if not path.startswith("/health"):  # probes come by whatever name the platform uses
            host = named_host([value for name, value in exchange.scope["headers"] if name == b"host"])
            if host is None:
                await exchange.refuse(400, "host_malformed", "send one Host header with a name and perhaps a port")
                return True
            if not self._hosts.serve(host):
                remedy = "this server does not go by that name; its operator can add it to HEXWARD_TRUSTED_HOSTS"
                await exchange.refuse(421, "host_unknown", remedy)
                return True
        if exchange.scope["method"] == "OPTIONS" and b"access-control-request-method" in exchange.headers:
            await exchange.answer(204, self._cors.preflight(path, exchange.headers.get(b"origin")), b"")
            return True
        taken = None if self.limits is None else await self.limits.take(path, address)
        if taken is None:
            return False
        allowance, told = taken
        exchange.more += told
        if not allowance.allowed:
            wait = str(math.ceil(allowance.retry_after))
            detail = "too many requests from this address; wait as long as Retry-After says"
            await exchange.refuse(429, "rate_limited", detail, [(b"retry-after", wait.encode())])
        return not allowance.allowed

    def _address(self, scope: HTTPScope, headers: dict[bytes, bytes]) -> str | None:
        """The caller's address: the nearest one in X-Forwarded-For that is no trusted proxy, if the peer is one."""
        client = scope.get("client")
        peer = client[0] if client else None
        if peer is None or not self._trusted or not self._is_trusted(peer):
            return peer
        hops = [hop.strip() for hop in headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")]
        for hop in reversed(hops):
            if _parsed(hop) is None:
                return peer
            if not self._is_trusted(hop):
                return hop
        return peer

    def _is_trusted(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(address in network for network in self._trusted)


def _door(path: str) -> str:
    """The door a request came through, as the audit trail names it."""
    if path.startswith(("/oauth2/", "/.well-known/")):
        return "oauth"
    return "rest" if path.startswith(("/api/", "/health")) else "pages"


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:  # free text, which no proxy has a reason to send
            return None
        return address.ipv4_mapped or address
    return address


class Exchange:
    """One request and its answer: the ids they share, and what every answer carries."""

    def __init__(self, scope: HTTPScope, send: Send, fixed: Headers) -> None:
        self.scope, self._send, self._fixed = scope, send, fixed
        self.headers = dict(scope["headers"])
        self.more: list[tuple[bytes, bytes]] = []
        self.head = scope["method"] == "HEAD"  # RFC 9110, 9.3.2: GET without its body
        self.inner = cast(HTTPScope, {**scope, "method": "GET"}) if self.head else scope
        self._trace = _TRACEPARENT.fullmatch(self.headers.get(b"traceparent", b""))
        self.request_id = self._request_id()
        self.ids = {"request_id": self.request_id}
        if self._trace is not None:
            self.ids["trace_id"] = self._trace[1].decode()
        self._began, self._status = time.perf_counter(), 0

    def note_origin(self, address: str | None) -> None:
        """Tell the application where the request came from."""
        state = self.scope.setdefault("state", {})
        state["correlation_id"] = self.request_id
        state["origin"] = Origin(
            door=_door(self.scope["path"]),
            address=address,
            correlation_id=self.request_id,
            user_agent=self.headers.get(b"user-agent", b"").decode("latin-1")[:_USER_AGENT_MAX] or None,
        )

    def _request_id(self) -> str:
        """The caller's id if it is one that cannot forge a log line, the trace's, or a fresh one."""
        given = self.headers.get(b"x-request-id", b"")
        if _REQUEST_ID.fullmatch(given):
            return given.decode()
        return self._trace[1].decode() if self._trace else _random_hex(128)

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, with what every answer carries."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            own = list(message["headers"])
            names = {name for name, _ in own}
            if names.isdisjoint(_OURS):
                own += self._fixed
            else:
                own += [header for header in self._fixed if header[0] not in names]
            own.append((b"x-request-id", self.request_id.encode()))
            if self._trace is not None:  # our own span of the caller's trace (W3C Trace Context, 3.2)
                own.append(
                    (b"traceparent", b"00-%b-%b-%b" % (self._trace[1], _random_hex(64).encode(), self._trace[3]))
                )
            own.extend(self.more)
            message["headers"] = own
        elif self.head and message["type"] == "http.response.body":
            message["body"] = b""
        await self._send(message)

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer without the application."""
        length = (b"content-length", str(len(body)).encode())
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, status: int, code: str, detail: str, headers: Headers = ()) -> None:
        """Answer with a problem, likewise."""
        body = encoded(status, code, detail, self.request_id)
        await self.answer(status, [*headers, (b"content-type", MEDIA_TYPE.encode())], body)

    def log(self) -> None:
        """One line an exchange."""
        level = logging.DEBUG if self.scope["path"].startswith("/health/") else logging.INFO  # probes come every second
        if not log.is_enabled_for(level):
            return
        log.log(
            level,
            "request",
            method=self.scope["method"],
            path=ascii(self.scope["path"])[1:-1],  # no control character may reach a terminal or begin a line
            status=self._status,
            ms=round((time.perf_counter() - self._began) * 1000, 2),
        )


def _random_hex(bits: int) -> str:
    """No secret, so it need not come from the system, which is slow to ask."""
    return f"{_chance.getrandbits(bits):0{bits // 4}x}"


_chance = random.Random()  # noqa: S311  # see above; of our own, for others may seed the shared one
os.register_at_fork(after_in_child=_chance.seed)  # or all workers would make the same ids
