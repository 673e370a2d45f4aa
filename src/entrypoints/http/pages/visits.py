"""One visit of a browser to a page: who it is, which language it reads, and whether a form is one of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NewType
from urllib.parse import urlsplit

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.middleware import ASGIMiddleware
from litestar.response import Redirect
from litestar.types import ASGIApp, Receive, Scope, Send

from application.browser import Browser
from domain.authorization import AuthorizationRequest, Parameters
from domain.errors import Invalid
from domain.policies import Actor
from entrypoints.http.actor import header
from entrypoints.http.options import answer_options
from entrypoints.http.pages.texts import language

SEE_OTHER: Literal[303] = 303

PageForm = NewType("PageForm", Parameters)
"""What a form of ours has sent: made for this browser and for who is signed in there. Every POST of a page asks for it,
and so cannot be made by another site's page (CSRF)."""


class FormExpired(Invalid):
    """A form that was made for another browser or session, or that the page of another site sends. `again` is where it
    can be had afresh, a path of ours."""

    code = "form_expired"

    def __init__(self, again: str) -> None:
        super().__init__("this page is too old, or was opened for somebody else")
        self.again = again


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What the form of the sign-in page has sent. One that is not `genuine` counts for nothing: it is shown afresh."""

    given: Parameters
    genuine: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """What every page needs to know. `fresh` is the cookie to set where the browser had none."""

    browser: Browser | None
    form_token: str
    accepts: str
    fresh: Cookie | None

    def language(self, locales: Sequence[str] = ()) -> str:
        """The language to speak; an application may know what the person prefers (`ui_locales`)."""
        return language(self.accepts, locales)

    def show[T](self, response: Response[T], *cookies: Cookie) -> Response[T]:
        """The page, with the cookies it depends on."""
        response.cookies.extend([*cookies, *([self.fresh] if self.fresh else [])])
        response.headers.setdefault("Cache-Control", "no-store")
        return response


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A visit of somebody who is signed in."""

    visit: Visit
    browser: Browser
    actor: Actor


class FormBodies(ASGIMiddleware):
    """Reads the body of a form before anything asks for it: what is made for a request cannot wait for one itself."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one exchange."""
        if scope["method"] == "POST":  # type: ignore[typeddict-item]  # only HTTP comes here
            await scope["litestar_app"].request_class(scope, receive).body()  # kept in the scope
        await next_app(scope, receive, send)


def at_home(request: Request[Any, Any, Any]) -> Response[Any] | None:
    """Pages are shown at the public address only, which their cookies belong to: whoever comes by another name, such as
    an IP address, is led there."""
    if (options := answer_options(request)) is not None:
        return options
    home: str = request.app.state.public_url
    [host] = header(request, b"host") or [""]
    if request.method != "GET" or host.lower() == urlsplit(home).netloc:
        return None
    query = request.scope["query_string"].decode("latin-1")
    return Redirect(f"{home}{request.scope['path']}{'?' if query else ''}{query}", status_code=307)


def see_other(location: str) -> Response[Any]:
    """Look there next, by GET (RFC 9110, 15.4.4); a form is never sent on (RFC 9700, 4.12)."""
    return Redirect(location, status_code=SEE_OTHER, headers={"Cache-Control": "no-store"})


def form_targets(request: AuthorizationRequest | None) -> tuple[str, ...]:
    """Where a form may lead beside ourselves: browsers apply `form-action` to the redirects that follow."""
    return () if request is None else (source(request.to.redirect_uri),)


def source(uri: str) -> str:
    """The scheme of the URI as a source of a Content-Security-Policy. Not its host: `form-action` holds for all the
    redirects that follow, and where the application sends the browser on is its own business."""
    return f"{urlsplit(uri).scheme}:"
