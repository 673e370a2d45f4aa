"""The account page: one's profile, password, devices and connected applications."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from dishka import FromDishka
from litestar import Controller, Request, Response, get, post

from application.accounts import ChangeOwnPassword
from application.authority import LiveAuthority
from application.consents import ListConsents, WithdrawConsent
from application.open_sessions import EndAllSessions, EndSession, ListSessions
from application.users import UpdateUser, UserChanges
from domain.clients import PAGES, ClientId
from domain.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, TooManyAttempts
from domain.sessions import SessionId
from domain.users import User
from entrypoints.http.oauth.forms import query
from entrypoints.http.pages.cookies import Jar
from entrypoints.http.pages.rendering import ApplicationView, Pages, ProfileView, SessionView
from entrypoints.http.pages.visits import PageForm, SignedIn, see_other

_FIELDS = ("display_name", "username", "locale")
_DONE = frozenset({"profile", "password", "session", "application"})


@dataclass(frozen=True, slots=True)
class AccountPage:
    """Puts the page together."""

    sessions: ListSessions
    authority: LiveAuthority
    consents: ListConsents
    pages: Pages

    async def __call__(
        self,
        who: SignedIn,
        *,
        notice: str | None = None,
        error: DomainError | None = None,
        typed: Mapping[str, str] | None = None,
    ) -> Response[Any]:
        """As it is now; with `error`, what somebody has just `typed` stays, to be mended."""
        fields = {f.pointer.lstrip("/"): f.code for f in error.fields} if isinstance(error, Invalid) else {}
        response = self.pages.account(
            who.visit.language(),
            who.visit.form_token,
            user=_profile(who.browser.user, typed),
            sessions=await self._sessions(who),
            applications=await self._applications(who),
            notice=notice,
            problem=None if error is None or fields else error.reason_code,
            field_errors=fields,
        )
        response.status_code = 200 if error is None else 422
        return who.visit.show(response)

    async def _sessions(self, who: SignedIn) -> list[SessionView]:
        """This device first."""
        views = [
            SessionView(
                id=str(session.id),
                device=session.user_agent or "",
                address=session.address or "",
                last_used_at=session.last_used_at,
                signed_in_at=session.auth_time,
                current=session.id == who.browser.session.id,
                application=await self._application(session.client_id),
            )
            for session in await self.sessions.own(who.actor)
        ]
        return sorted(views, key=lambda view: not view.current)

    async def _application(self, id: ClientId) -> str | None:
        """What the holder of a session is called; None for the pages themselves."""
        client = await self.authority.client(id) if id != PAGES else None
        return None if client is None else client.name

    async def _applications(self, who: SignedIn) -> list[ApplicationView]:
        return [
            ApplicationView(str(client.id), client.name, tuple(sorted(consent.scopes)), consent.granted_at)
            for consent, client in await self.consents(who.actor)
        ]


def _profile(user: User, typed: Mapping[str, str] | None) -> ProfileView:
    stored = {name: getattr(user, name) or "" for name in _FIELDS}
    shown = stored if typed is None else {name: typed.get(name, "") for name in _FIELDS}
    return ProfileView(email=user.email, **shown)


class AccountController(Controller):
    """What people can do about their own account, without an application."""

    path = "/account"
    include_in_schema = False

    @get("/")
    async def show_account(
        self, request: Request[Any, Any, Any], who: FromDishka[SignedIn], page: FromDishka[AccountPage]
    ) -> Response[Any]:
        """Everything, on one page."""
        done = query(request).get("done")
        return await page(who, notice=done if done in _DONE else None)

    @post("/profile", status_code=200)
    async def change_profile(
        self,
        given: FromDishka[PageForm],
        who: FromDishka[SignedIn],
        update: FromDishka[UpdateUser],
        page: FromDishka[AccountPage],
    ) -> Response[Any]:
        """An empty field clears what was there."""
        changes = UserChanges(frozenset(_FIELDS), **{name: given.get(name) for name in _FIELDS})
        try:
            await update.own(who.actor, None, changes)
        except (Invalid, Conflict) as error:
            return await page(who, error=error, typed=given)
        return see_other("/account?done=profile")

    @post("/password", status_code=200)
    async def change_password(
        self,
        given: FromDishka[PageForm],
        who: FromDishka[SignedIn],
        change: FromDishka[ChangeOwnPassword],
        page: FromDishka[AccountPage],
    ) -> Response[Any]:
        """With the present one as proof; all other devices are signed out."""
        try:
            await change(who.actor, given.get("current_password", ""), given.get("new_password", ""))
        except (Invalid, Conflict, Forbidden, TooManyAttempts) as error:
            return await page(who, error=error)
        return see_other("/account?done=password")

    @post("/sessions/end", status_code=200)
    async def end_session(
        self, given: FromDishka[PageForm], who: FromDishka[SignedIn], end: FromDishka[EndSession]
    ) -> Response[Any]:
        """Sign one device out; one that is gone is no error."""
        try:
            await end.own(who.actor, SessionId(UUID(given.required("session"))))
        except (NotFound, ValueError):
            return see_other("/account")
        return see_other("/account?done=session")

    @post("/sessions/end-all", status_code=200)
    async def end_all_sessions(
        self,
        given: FromDishka[PageForm],
        who: FromDishka[SignedIn],
        end: FromDishka[EndAllSessions],
        jar: FromDishka[Jar],
    ) -> Response[Any]:
        """Sign out everywhere, here as well."""
        await end.own(who.actor)
        return who.visit.show(see_other("/logged-out"), jar.signed_out())

    @post("/applications/revoke", status_code=200)
    async def disconnect(
        self, given: FromDishka[PageForm], who: FromDishka[SignedIn], withdraw: FromDishka[WithdrawConsent]
    ) -> Response[Any]:
        """Take back what an application has."""
        await withdraw(who.actor, ClientId(given.required("client_id")))
        return see_other("/account?done=application")
