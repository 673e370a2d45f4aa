"""First-party sign-in: login, refresh, logout."""

from typing import Any

import msgspec
from dishka import FromDishka
from litestar import Controller, Request, Response, post
from litestar.params import JSONBody

from application.sessions import Authenticate, RefreshSession, SignOut
from application.sign_in import SignIn
from domain.errors import Invalid
from domain.policies import Origin
from domain.tokens import TokenSet
from entrypoints.http.actor import bearer
from entrypoints.http.problems import described
from entrypoints.http.texts import Text


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Who signs in: `email` or `username`, and the password."""

    password: Text
    email: Text | None = None
    username: Text | None = None


class Refresh(msgspec.Struct, forbid_unknown_fields=True):
    """The refresh token to exchange; it is used up."""

    refresh_token: Text


class Tokens(msgspec.Struct, frozen=True):
    """A token response (RFC 6749, 5.1). `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    scope: str


def _reply(tokens: TokenSet) -> Response[Tokens]:
    if tokens.refresh_token is None:
        raise RuntimeError("a first-party sign-in always gives a refresh token")
    content = Tokens(tokens.access_token, "Bearer", tokens.expires_in, tokens.refresh_token, tokens.scope)
    return Response(content, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


class SessionsController(Controller):
    """The built-in public client `hexward-api`."""

    path = "/auth"
    tags = ["Sign-in"]
    security: list[dict[str, list[str]]] = [{}]

    @post(
        "/login", status_code=200, summary="Sign in with a password", responses=described(400, 401, 403, 422, 429, 503)
    )
    async def login(
        self, data: JSONBody[Login], origin: FromDishka[Origin], sign_in: FromDishka[SignIn]
    ) -> Response[Tokens]:
        """Unknown accounts, wrong passwords and suspended accounts get the same answer, after the same time."""
        identifier = data.email if data.email is not None else data.username
        if identifier is None or (data.email is not None and data.username is not None):
            raise Invalid.field("/email", "send either email or username", code="missing")
        if data.email is None and "@" in identifier:
            raise Invalid.field("/username", "a username has no @", code="username_malformed")
        return _reply(await sign_in(identifier, data.password, origin))

    @post(
        "/refresh",
        hot=True,
        status_code=200,
        summary="Exchange a refresh token",
        responses=described(400, 401, 422, 503),
    )
    async def refresh(
        self, data: JSONBody[Refresh], origin: FromDishka[Origin], refresh: FromDishka[RefreshSession]
    ) -> Response[Tokens]:
        """Repeating a request within ten seconds gives the same refresh token again; replaying an older one ends
        the session."""
        return _reply(await refresh(data.refresh_token, origin))

    @post("/logout", status_code=204, summary="Sign out", responses=described(400, 401, 422, 503))
    async def logout(
        self,
        request: Request[Any, Any, Any],
        origin: FromDishka[Origin],
        sign_out: FromDishka[SignOut],
        authenticate: FromDishka[Authenticate],
        data: JSONBody[Refresh | None] = None,
    ) -> None:
        """Ends the session of the refresh token in the body or, without a body, of the bearer token."""
        if data is not None:
            await sign_out.by_refresh_token(data.refresh_token, origin)
        else:
            await sign_out(await authenticate(bearer(request.headers.getall("authorization", [])), origin))
