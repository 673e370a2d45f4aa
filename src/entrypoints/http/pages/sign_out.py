"""Signing out: asked for by an application, or on the account page."""

from typing import Any
from urllib.parse import urlencode

from dishka import FromDishka
from litestar import HttpMethod, Request, Response, get, post, route

from application.oauth.logout import Logout
from domain.authorization import Parameters
from domain.policies import Origin
from entrypoints.http.oauth.forms import form, query, read
from entrypoints.http.pages.cookies import Jar
from entrypoints.http.pages.rendering import Pages
from entrypoints.http.pages.visits import PageForm, Visit, see_other, source

LOGGED_OUT = "/logged-out"
_KEPT = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")


@route("/oauth2/logout", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200, include_in_schema=False)
async def end_session(
    request: Request[Any, Any, Any],
    visit: FromDishka[Visit],
    origin: FromDishka[Origin],
    logout: FromDishka[Logout],
    jar: FromDishka[Jar],
    pages: FromDishka[Pages],
) -> Response[Any]:
    """RP-initiated logout, by GET or POST as authorization is. Whoever does not show to come from an application of
    the person is asked first."""
    if request.method == "POST":
        return see_other(f"/oauth2/logout?{urlencode((await form(request)).pairs())}")
    parameters = query(request)
    leaving = await logout.read(parameters, visit.browser)
    after = leaving.return_to or LOGGED_OUT
    if visit.browser is None:
        return see_other(after)
    if leaving.known:
        await logout.sign_out(visit.browser, origin)
        return visit.show(see_other(after), jar.signed_out())
    page = pages.sign_out(
        visit.language(parameters.get("ui_locales", "").split()),
        visit.form_token,
        request=_text(parameters),
        client_name=None if leaving.client is None else leaving.client.name,
        form_targets=() if leaving.return_to is None else (source(leaving.return_to),),
    )
    return visit.show(page)


@post("/oauth2/logout-confirm", status_code=200, include_in_schema=False)
async def confirm_sign_out(
    given: FromDishka[PageForm],
    visit: FromDishka[Visit],
    origin: FromDishka[Origin],
    logout: FromDishka[Logout],
    jar: FromDishka[Jar],
) -> Response[Any]:
    """The answer of the person, or the button of the account page."""
    leaving = await logout.read(read(given.get("request", "").encode()), visit.browser)
    if visit.browser is not None:
        await logout.sign_out(visit.browser, origin)
    return visit.show(see_other(leaving.return_to or LOGGED_OUT), jar.signed_out())


@get(LOGGED_OUT, include_in_schema=False)
async def logged_out(visit: FromDishka[Visit], pages: FromDishka[Pages]) -> Response[Any]:
    """Where nobody is sent elsewhere."""
    return visit.show(pages.logged_out(visit.language()))


def _text(parameters: Parameters) -> str:
    """The request as a form carries it."""
    return urlencode({name: parameters[name] for name in _KEPT if name in parameters})
