"""Where requests may come from and go to: names of this host, and web pages of other origins (CORS)."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from entrypoints.setting_kinds import is_address
from entrypoints.settings import Settings

type Headers = list[tuple[bytes, bytes]]

ANY = "*"
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_ACCEPTED = (
    b"Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Request-ID, traceparent, tracestate"
)
_EXPOSED = (
    b"ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Request-ID, "
    b"Idempotency-Replayed"
)
_PREFLIGHT_SECONDS = b"600"
_VARY = (b"vary", b"origin")
_LED_TO = ("/oauth2/authorize", "/oauth2/logout", "/login", "/consent", "/account", "/logged-out")
"""Where browsers are led, and scripts have no business (RFC 9700, 2.6): an answer there may hold a code."""


class Hosts:
    """The names this server answers to: a page of another name that resolves to it (DNS rebinding) gets nothing.

    An IP address cannot be rebound, and is always answered to.
    """

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url).hostname or ""
        self._names = {public, settings.host.lower(), *(name.lower() for name in settings.trusted_hosts)}

    def serve(self, host: str) -> bool:
        """Whether `host`, in lower case and without a port, is meant for us."""
        return (
            ANY in self._names
            or host in self._names
            or host == "localhost"
            or host.endswith(".localhost")
            or is_address(host.strip("[]"))
        )


def named_host(values: Collection[bytes]) -> str | None:
    """The host of the one Host header, in lower case and without its port; None if there is no such thing."""
    if len(values) != 1:
        return None
    found = _HOST.fullmatch(next(iter(values)))
    return None if found is None else found.group(1).decode().lower().removesuffix(".")


class Cors:
    """Web pages of these origins may call the API with a bearer token. Cookies never come from elsewhere."""

    def __init__(self, origins: Collection[str]) -> None:
        self._any = ANY in origins
        self._origins = {origin.encode() for origin in origins}

    def headers(self, path: str, origin: bytes | None) -> Headers:
        """What an answer tells the browser of a page of that origin."""
        if not self._origins:
            return []
        if not self._allows(path, origin):
            return [_VARY]
        return [*self._allowing(origin), (b"access-control-expose-headers", _EXPOSED)]

    def preflight(self, path: str, origin: bytes | None) -> Headers:
        """What the browser is told beside that, before it sends the request itself: no header twice, or it gives up."""
        if not self._allows(path, origin):
            return []
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ACCEPTED),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]

    def _allows(self, path: str, origin: bytes | None) -> bool:
        if origin is None or path.startswith(_LED_TO):
            return False
        return self._any or origin in self._origins

    def _allowing(self, origin: bytes | None) -> Headers:
        if self._any or origin is None:
            return [(b"access-control-allow-origin", b"*")]
        return [(b"access-control-allow-origin", origin), _VARY]
