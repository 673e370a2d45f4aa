"""What every exchange has, whatever happens inside: request id, security headers, no-store, one log line."""

import ipaddress
import random
import re
import time
from typing import cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from domain.policies import Origin

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_USER_AGENT_MAX = 256
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
POLICY = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

log = structlog.get_logger("hexward.http")


class Envelope:
    """ASGI middleware around the whole application, error answers included."""

    def __init__(self, app: ASGIApp, trusted_proxies: tuple[Network, ...], secure: bool) -> None:
        self._app = app
        self._trusted = trusted_proxies
        self._fixed = (*SECURITY_HEADERS, *((HSTS,) if secure else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        if scope["type"] != ScopeType.HTTP:  # lifespan; there are no websockets
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        state = scope.setdefault("state", {})
        state["correlation_id"] = request_id
        state["origin"] = Origin(
            door="rest",
            address=self._address(scope, headers),
            correlation_id=request_id,
            user_agent=headers.get(b"user-agent", b"").decode("latin-1")[:_USER_AGENT_MAX] or None,
        )
        began = time.perf_counter()
        status = 0
        head = scope["method"] == "HEAD"
        inner = cast(HTTPScope, {**scope, "method": "GET"}) if head else scope  # RFC 9110, 9.3.2: GET without its body

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message["headers"])
                names = {name for name, _ in own}
                own.extend(header for header in self._fixed if header[0] not in names)
                own.append((b"x-request-id", request_id.encode()))
                if b"content-security-policy" not in names:
                    own.append((b"content-security-policy", POLICY))
                if b"cache-control" not in names:
                    own.append((b"cache-control", b"no-store"))
                message["headers"] = own
            elif head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            await self._app(inner, receive, with_headers)
        finally:
            tell = log.debug if scope["path"].startswith("/health/") else log.info  # probes come every second
            tell(
                "request",
                method=scope["method"],
                path=ascii(scope["path"])[1:-1],  # no control character may reach a terminal or begin a line
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 2),
                request_id=request_id,
            )

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


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's id if it is one that cannot forge a log line, the trace's, or a fresh one."""
    given = headers.get(b"x-request-id", b"")
    if _REQUEST_ID.fullmatch(given):
        return given.decode()
    trace = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    if trace:
        return trace.group(1).decode()
    return f"{random.getrandbits(128):032x}"  # no secret, and asking the system for one is slow
