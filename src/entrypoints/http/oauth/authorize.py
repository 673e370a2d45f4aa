"""The authorization endpoint (RFC 6749, 3.1): where applications send browsers."""

from typing import Any
from urllib.parse import urlencode

from dishka import FromDishka
from litestar import HttpMethod, Request, Response, route

from application.oauth.authorization import Authorize
from domain.errors import OAuthError
from domain.policies import Origin
from entrypoints.http.oauth.forms import form, query
from entrypoints.http.pages.login import follow
from entrypoints.http.pages.visits import Visit, see_other


@route("/oauth2/authorize", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200, include_in_schema=False)
async def authorize(
    request: Request[Any, Any, Any],
    visit: FromDishka[Visit],
    origin: FromDishka[Origin],
    authorization: FromDishka[Authorize],
) -> Response[Any]:
    """By GET or POST (OpenID Connect Core 3.1.2.1). Another site's POST brings no cookie along, so it goes on by GET,
    which does."""
    by_post = request.method == "POST"
    try:
        asked = await form(request, lenient=True) if by_post else query(request, lenient=True)
    except OAuthError as error:
        await authorization.unreadable(error, origin)
        raise
    if by_post:
        return see_other(f"/oauth2/authorize?{urlencode(asked.pairs())}")
    return follow(await authorization.begin(asked, visit.browser, origin))
