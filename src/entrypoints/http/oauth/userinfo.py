"""The userinfo endpoint (OpenID Connect Core 5.3)."""

from typing import Any

from dishka import FromDishka
from litestar import HttpMethod, Request, Response, route

from application.oauth.claims import UserInfo
from domain.errors import OAuthError
from entrypoints.http.actor import bearer, header
from entrypoints.http.oauth.errors import NO_STORE


@route("/oauth2/userinfo", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200, include_in_schema=False)
async def userinfo(request: Request[Any, Any, Any], info: FromDishka[UserInfo]) -> Response[dict[str, Any]]:
    """Claims about the person of the bearer token, which comes in the header only (RFC 6750, 2.1; RFC 9700, 4.3.2)."""
    if request.scope["query_string"] or await request.body():
        raise OAuthError("invalid_request", "send the access token in the Authorization header, and nothing else")
    return Response(dict(await info(bearer(header(request, b"authorization")))), headers=NO_STORE)
