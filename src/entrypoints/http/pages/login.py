"""The sign-in page."""

from typing import Any

from dishka import FromDishka
from litestar import Controller, Request, Response, get, post

from application.browser import Browsers
from application.oauth.authorization import Answer, Authorize, ConsentNeeded, SignInNeeded, Step
from application.sign_in import SignIn
from domain.authorization import CARRIED_MAX
from domain.errors import InvalidGrant, TooManyAttempts, Unavailable
from domain.policies import Origin
from entrypoints.http.oauth.forms import query
from entrypoints.http.pages.cookies import Jar
from entrypoints.http.pages.rendering import AccountView, Pages
from entrypoints.http.pages.visits import SignInForm, Visit, form_targets, see_other

ACCOUNT = "/account"


def follow(step: Step) -> Response[Any]:
    """Where the browser goes for the next step."""
    match step:
        case Answer(location):
            return see_other(location)
        case SignInNeeded(ticket):
            return see_other(f"/login?ticket={ticket}")
        case ConsentNeeded(ticket):
            return see_other(f"/consent?ticket={ticket}")


class LoginController(Controller):
    """Sign-in, for an application that asked or for the account page."""

    path = "/login"
    include_in_schema = False

    @get("/")
    async def show_login(
        self,
        request: Request[Any, Any, Any],
        visit: FromDishka[Visit],
        origin: FromDishka[Origin],
        authorize: FromDishka[Authorize],
        pages: FromDishka[Pages],
    ) -> Response[Any]:
        """The form; who is signed in already goes on, unless the application wants it otherwise."""
        asked = query(request, longest=CARRIED_MAX)
        ticket = asked.get("ticket")
        if ticket is None:
            return _page(pages, visit, None) if visit.browser is None else see_other(ACCOUNT)
        known = None if "switch" in asked else visit.browser  # whoever it is wants to be somebody else
        step = await authorize.again(ticket, known, origin)
        return _page(pages, visit, step) if isinstance(step, SignInNeeded) else follow(step)

    @post("/", status_code=200)
    async def sign_in(
        self,
        form: FromDishka[SignInForm],
        visit: FromDishka[Visit],
        origin: FromDishka[Origin],
        browsers: FromDishka[Browsers],
        sign_in: FromDishka[SignIn],
        authorize: FromDishka[Authorize],
        jar: FromDishka[Jar],
        pages: FromDishka[Pages],
    ) -> Response[Any]:
        """Sign in and go on to where it was asked for; or the form again, and why."""
        given, ticket = form.given, form.given.get("ticket")
        if form.genuine and "continue" in given and ticket is not None and visit.browser is not None:
            return follow(await authorize.again(ticket, visit.browser, origin, chosen=True))
        step = None if ticket is None else await authorize.again(ticket, None, origin)  # what the form is for
        present = visit.browser.session.id if visit.browser is not None else None
        name = given.get("identifier", "")
        if not form.genuine:
            problem = "expired" if visit.fresh is None else "cookies"
            return _page(pages, visit, step, 400, identifier=name, problem=problem)
        try:
            session = await sign_in.in_browser(name, given.get("password", ""), origin, present)
        except InvalidGrant:
            return _page(pages, visit, step, 401, identifier=name, problem="credentials")
        except TooManyAttempts as error:
            return _page(pages, visit, step, 429, identifier=name, problem="too_many", retry_after=error.retry_after)
        except Unavailable as error:
            return _page(pages, visit, step, 503, identifier=name, problem="busy", retry_after=error.retry_after)
        cookie = browsers.cookie(session)
        if ticket is None:
            return visit.show(see_other(ACCOUNT), jar.signed_in(cookie))
        browser = await browsers.signed_in(cookie)
        return visit.show(follow(await authorize.again(ticket, browser, origin)), jar.signed_in(cookie))


def _page(pages: Pages, visit: Visit, step: Step | None, status: int = 200, **more: Any) -> Response[Any]:
    """The form for what was asked."""
    asking = step if isinstance(step, SignInNeeded) else None
    request = None if asking is None else asking.request
    if request is not None:
        more.setdefault("identifier", request.login_hint or "")
    if asking is not None and asking.choosing and visit.browser is not None:
        user = visit.browser.user
        more["continue_as"] = AccountView(user.display_name or "", user.email)
    response = pages.login(
        visit.language(() if request is None else request.locales),
        visit.form_token,
        "" if asking is None else asking.ticket,
        client_name=None if request is None else request.client.name,
        form_targets=form_targets(request),
        **more,
    )
    response.status_code = status
    if "retry_after" in more:
        response.headers["Retry-After"] = str(more["retry_after"])
    return visit.show(response)
