"""How what pages ask for is made."""

from typing import Any
from urllib.parse import urlencode

from dishka import Provider, Scope, provide
from litestar import Request

from application.browser import Browsers
from domain.authorization import CARRIED_MAX, Parameters
from domain.errors import NotAuthenticated
from domain.policies import Origin
from entrypoints.http.actor import header
from entrypoints.http.oauth.forms import form, read
from entrypoints.http.pages.account import AccountPage
from entrypoints.http.pages.cookies import Jar
from entrypoints.http.pages.rendering import Pages
from entrypoints.http.pages.visits import FormExpired, PageForm, SignedIn, SignInForm, Visit
from entrypoints.settings import Settings

_FROM_OURSELVES = {"same-origin", "none"}


class PageParts(Provider):
    """What pages ask for: visits and forms once a request, the rest once."""

    scope = Scope.REQUEST

    account_page = provide(AccountPage, scope=Scope.APP)

    @provide(scope=Scope.APP)
    def pages(self, settings: Settings) -> Pages:
        """In the operator's colours."""
        return Pages(settings)

    @provide(scope=Scope.APP)
    def jar(self, settings: Settings) -> Jar:
        """The cookies of the public address."""
        return Jar(settings.public_url)

    @provide
    async def visit(self, request: Request, browsers: Browsers, jar: Jar) -> Visit:  # type: ignore[type-arg]  # dishka's key is the bare class
        """The visit as it came."""
        cookie, key = jar.session(request), jar.browser(request)
        browser = await browsers.signed_in(cookie)
        fresh = None if key else jar.fresh_browser()
        token = browsers.form_token(key or (fresh.value if fresh and fresh.value else ""), cookie if browser else None)
        return Visit(browser, token, ", ".join(header(request, b"accept-language")), fresh)

    @provide
    async def page_form(self, request: Request, visit: Visit, browsers: Browsers, jar: Jar) -> PageForm:  # type: ignore[type-arg]  # as above
        """Raises FormExpired."""
        given = await form(request, longest=CARRIED_MAX)
        cookie = jar.session(request) if visit.browser else None
        if _foreign(request) or not browsers.is_form_token(given.get("form_token", ""), jar.browser(request), cookie):
            raise FormExpired(_afresh(request.scope["path"], given))
        return PageForm(given)

    @provide
    async def sign_in_form(self, request: Request, visit: Visit, browsers: Browsers, jar: Jar) -> SignInForm:  # type: ignore[type-arg]  # as above
        """Whoever has signed in in another tab meanwhile may still send the form of this one."""
        given = await form(request, longest=CARRIED_MAX)
        token, key = given.get("form_token", ""), jar.browser(request)
        cookie = jar.session(request) if visit.browser else None
        known = browsers.is_form_token(token, key, cookie) or browsers.is_form_token(token, key, None)
        return SignInForm(given, genuine=known and not _foreign(request))

    @provide
    async def signed_in(self, visit: Visit, browsers: Browsers, origin: Origin) -> SignedIn:
        """Raises NotAuthenticated, which leads to the sign-in page."""
        if visit.browser is None:
            raise NotAuthenticated("sign in first", code="sign_in_first")
        return SignedIn(visit, visit.browser, await browsers.actor(visit.browser, origin))


def _foreign(request: Request[Any, Any, Any]) -> bool:
    """Whether the page of another site sent this; browsers that do not tell are believed (Fetch Metadata)."""
    site = header(request, b"sec-fetch-site")
    return bool(site) and site[0] not in _FROM_OURSELVES


def _afresh(path: str, given: Parameters) -> str:
    """Where the page of a form can be had again."""
    if path.startswith("/account/"):
        return "/account"
    if path == "/oauth2/logout-confirm":
        return f"/oauth2/logout?{urlencode(read(given.get('request', '').encode(), longest=CARRIED_MAX).pairs())}"
    return f"{path}?{urlencode({'ticket': given['ticket']})}" if "ticket" in given else "/account"
