"""The consent page: what an application asks for, and the person's answer."""

from typing import Any
from urllib.parse import urlsplit

from dishka import FromDishka
from litestar import Controller, Request, Response, get, post

from application.oauth.authorization import Authorize, ConsentNeeded
from domain.authorization import CARRIED_MAX
from domain.errors import Invalid
from domain.policies import Origin
from entrypoints.http.oauth.forms import query
from entrypoints.http.pages.login import follow
from entrypoints.http.pages.rendering import AccountView, Pages
from entrypoints.http.pages.visits import PageForm, Visit, form_targets, see_other


class ConsentController(Controller):
    """Allow or deny."""

    path = "/consent"
    include_in_schema = False

    @get("/")
    async def show_consent(
        self,
        request: Request[Any, Any, Any],
        visit: FromDishka[Visit],
        origin: FromDishka[Origin],
        authorize: FromDishka[Authorize],
        pages: FromDishka[Pages],
    ) -> Response[Any]:
        """The question, or whatever comes next where there is none."""
        ticket = query(request, longest=CARRIED_MAX).required("ticket")
        step = await authorize.again(ticket, visit.browser, origin)
        if not isinstance(step, ConsentNeeded) or visit.browser is None:
            return follow(step)
        asked, user = step.request, visit.browser.user
        target = urlsplit(asked.to.redirect_uri)
        page = pages.consent(
            visit.language(asked.locales),
            visit.form_token,
            step.ticket,
            client_name=asked.client.name,
            account=AccountView(user.display_name or "", user.email),
            scopes=asked.to_consent,
            redirect_host=target.hostname or target.scheme,
            form_targets=form_targets(asked),
        )
        return visit.show(page)

    @post("/", status_code=200)
    async def decide(
        self,
        given: FromDishka[PageForm],
        visit: FromDishka[Visit],
        origin: FromDishka[Origin],
        authorize: FromDishka[Authorize],
    ) -> Response[Any]:
        """Back to the application, with a code or the refusal."""
        ticket = given.required("ticket")
        if visit.browser is None:
            return see_other(f"/login?ticket={ticket}")
        decision = given.get("decision")
        if decision not in ("allow", "deny"):
            raise Invalid("neither allowed nor denied", code="form_expired")
        return follow(await authorize.decide(ticket, visit.browser, origin, allow=decision == "allow"))
