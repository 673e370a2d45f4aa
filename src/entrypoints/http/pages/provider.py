"""How what pages ask for is made."""

from dishka import Provider, Scope, provide
from litestar import Request

from application.browser import Browsers
from domain.errors import Invalid, NotAuthenticated
from domain.policies import Origin
from entrypoints.http.actor import header
from entrypoints.http.oauth.forms import form
from entrypoints.http.pages.account import AccountPage
from entrypoints.http.pages.cookies import Jar
from entrypoints.http.pages.rendering import Pages
from entrypoints.http.pages.visits import PageForm, SignedIn, SignInForm, Visit
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
    async def sign_in_form(self, request: Request, visit: Visit, browsers: Browsers, jar: Jar) -> SignInForm:  # type: ignore[type-arg]  # as above
        """Raises Invalid (`form_expired`) for a form that the page of another site sends."""
        given = await form(request)
        site = header(request, b"sec-fetch-site")
        if site and site[0] not in _FROM_OURSELVES:
            raise _expired()
        cookie = jar.session(request) if visit.browser else None
        ours = browsers.is_form_token(given.get("form_token", ""), jar.browser(request), cookie)
        return SignInForm(given, stale=not ours)

    @provide
    async def page_form(self, sent: SignInForm) -> PageForm:
        """Raises Invalid (`form_expired`) also for a form that was made for another browser or session."""
        if sent.stale:
            raise _expired()
        return PageForm(sent.given)

    @provide
    async def signed_in(self, visit: Visit, browsers: Browsers, origin: Origin) -> SignedIn:
        """Raises NotAuthenticated, which leads to the sign-in page."""
        if visit.browser is None:
            raise NotAuthenticated("sign in first", code="sign_in_first")
        return SignedIn(visit, visit.browser, await browsers.actor(visit.browser, origin))


def _expired() -> Invalid:
    return Invalid("this page is too old, or was opened for somebody else", code="form_expired")
