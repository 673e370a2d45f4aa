"""The endpoints that applications call with their own credentials: token, introspection, revocation."""

from typing import Any

import msgspec
from dishka import FromDishka
from litestar import Request, Response, post

from application.oauth.grants import Token
from application.oauth.introspection import Introspect, RevokeToken
from domain.policies import Origin
from domain.tokens import TokenSet
from entrypoints.http.oauth.errors import NO_STORE
from entrypoints.http.oauth.forms import basic, form


class TokenReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token response (RFC 6749, 5.1; OpenID Connect Core 3.1.3.3). `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None = None
    id_token: str | None = None


def token_reply(tokens: TokenSet) -> TokenReply:
    """The tokens as applications get them."""
    return TokenReply(
        tokens.access_token, "Bearer", tokens.expires_in, tokens.scope, tokens.refresh_token, tokens.id_token
    )


@post("/oauth2/token", hot=True, status_code=200, include_in_schema=False, response_headers=NO_STORE)
async def token(request: Request[Any, Any, Any], origin: FromDishka[Origin], exchange: FromDishka[Token]) -> TokenReply:
    """The token endpoint (RFC 6749, 3.2)."""
    return token_reply(await exchange(await form(request), basic(request), origin))


@post("/oauth2/introspect", hot=True, status_code=200, include_in_schema=False, response_headers=NO_STORE)
async def introspect(
    request: Request[Any, Any, Any], origin: FromDishka[Origin], introspection: FromDishka[Introspect]
) -> dict[str, Any]:
    """Token introspection (RFC 7662)."""
    return dict(await introspection(await form(request), basic(request), origin))


@post("/oauth2/revoke", status_code=200, include_in_schema=False)
async def revoke(
    request: Request[Any, Any, Any], origin: FromDishka[Origin], revocation: FromDishka[RevokeToken]
) -> Response[bytes]:
    """Token revocation (RFC 7009)."""
    await revocation(await form(request), basic(request), origin)
    return Response(b"", media_type="text/plain", headers=NO_STORE)  # None would be the JSON text `null`
