"""From a bearer token to an Actor, the only way in for whoever wants more than to sign in."""

from typing import Any

from dishka import Provider, Scope, provide
from litestar import Request

from application.sessions import Authenticate
from domain.errors import NotAuthenticated
from domain.policies import Actor, Origin


class Callers(Provider):
    """Who calls, from where: resolved per request, when a handler asks for it."""

    scope = Scope.REQUEST

    @provide
    def origin(self, request: Request) -> Origin:  # type: ignore[type-arg]  # dishka's key is the bare class
        """Where the request came from, as the envelope saw it."""
        origin: Origin = request.scope["state"]["origin"]
        return origin

    @provide
    async def actor(self, request: Request, origin: Origin, authenticate: Authenticate) -> Actor:  # type: ignore[type-arg]  # as above
        """The holder of the bearer token; raises NotAuthenticated."""
        return await authenticate(bearer(header(request, b"authorization")), origin)


def header(request: Request[Any, Any, Any], name: bytes) -> list[str]:
    """All values of a header. `request.headers` would read all the others as well."""
    return [value.decode("latin-1") for key, value in request.scope["headers"] if key == name]


def bearer(headers: list[str]) -> str:
    """The token of the one Authorization header (RFC 6750, 2.1); raises NotAuthenticated."""
    if not headers:
        raise NotAuthenticated("an access token is needed: Authorization: Bearer ...", code="token_missing")
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("the Authorization header is not one bearer token", code="token_malformed")
    return token.strip()
