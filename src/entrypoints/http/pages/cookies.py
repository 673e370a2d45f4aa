"""The two cookies: who is signed in, and which browser it is.

Behind https their names begin with `__Host-`, so that no other host and no page over http can set them (RFC 6265bis,
4.1.3.2). On plain-http loopback, where browsers take no such cookie, they have plain names; `hexward doctor` says so.
"""

import secrets
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from domain.sessions import SESSION_LIFETIME
from entrypoints.http.actor import header

_MAX_HEADER = 16_384


class Jar:
    """Names, reads and makes cookies for one public address."""

    def __init__(self, public_url: str) -> None:
        self.secure = public_url.startswith("https://")
        prefix = "__Host-" if self.secure else ""
        self._session, self._browser = f"{prefix}hexward_session", f"{prefix}hexward_browser"

    def session(self, request: Request[Any, Any, Any]) -> str | None:
        """The cookie of whoever is signed in."""
        return self._read(request, self._session)

    def browser(self, request: Request[Any, Any, Any]) -> str | None:
        """What tells this browser from others."""
        return self._read(request, self._browser)

    def signed_in(self, value: str) -> Cookie:
        """Sets the first."""
        return self._cookie(self._session, value, int(SESSION_LIFETIME.total_seconds()))

    def signed_out(self) -> Cookie:
        """Takes it away."""
        return self._cookie(self._session, "", 0)

    def fresh_browser(self) -> Cookie:
        """Sets the second; it means nothing by itself."""
        return self._cookie(self._browser, secrets.token_urlsafe(24), None)

    def _cookie(self, name: str, value: str, max_age: int | None) -> Cookie:
        # Lax: an application's link brings the cookie along, another site's form does not.
        return Cookie(name, value=value, max_age=max_age, path="/", secure=self.secure, httponly=True, samesite="lax")

    def _read(self, request: Request[Any, Any, Any], name: str) -> str | None:
        given = "; ".join(header(request, b"cookie"))
        if len(given) > _MAX_HEADER:
            return None
        for part in given.split(";"):  # not SimpleCookie: a cookie of somebody else may be malformed
            key, equals, value = part.strip().partition("=")
            if equals and key == name:
                return value or None
        return None
