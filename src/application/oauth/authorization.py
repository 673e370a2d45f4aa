"""The authorization endpoint: from a request, by way of sign-in and consent, to a code (RFC 6749, 4.1)."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from application.audit import Trail
from application.authority import LiveAuthority
from application.browser import Browser
from application.oauth.sampling import Refusals
from application.oauth.tickets import Ticket, Tickets
from application.repetition import safe_to_repeat
from application.sessions import Issuer
from domain.audit import Action, Outcome
from domain.authorization import (
    ACR_SINGLE_FACTOR,
    CODE_LIFETIME,
    AuthorizationRequest,
    Parameters,
    ReturnAddress,
    answer,
    read_request,
    repeated,
    return_address,
)
from domain.clients import Client, ClientId
from domain.consents import Consent
from domain.errors import OAuthError
from domain.one_time import OneTimeKind, OneTimeValue, one_time_hash
from domain.policies import Origin
from domain.ports import Clients, Clock, Consents, IdTokens, OneTimeValues, Secrets, Sessions, Transaction, Users
from domain.sessions import exit_refusal

CODE_BYTES = 32
_ROUTINE = frozenset({"login_required", "consent_required", "access_denied"})
"""What prompt=none is there to ask, and what a person decides, which is told as consent: nobody was turned away."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Send the browser back to the application, with a code or an error."""

    location: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignInNeeded:
    """Somebody has to sign in first; `choosing` where the one who has may go on instead."""

    ticket: str
    request: AuthorizationRequest
    choosing: bool = False


@dataclass(frozen=True, slots=True)
class ConsentNeeded:
    """The person has to be asked."""

    ticket: str
    request: AuthorizationRequest


type Step = Answer | SignInNeeded | ConsentNeeded


@dataclass(frozen=True, slots=True)
class Authorize:
    """Takes a request one step further, as often as it takes.

    What is wrong with client or redirect URI raises OAuthError, for a page of ours; all else is told by an Answer. The
    audit trail hears of either first.
    """

    users: Users
    sessions: Sessions
    clients: Clients
    consents: Consents
    codes: OneTimeValues
    id_tokens: IdTokens
    authority: LiveAuthority
    tickets: Tickets
    refused: Refusals
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction
    issuer: Issuer

    async def begin(self, parameters: Parameters, browser: Browser | None, origin: Origin) -> Step:
        """A request that has just come."""
        if parameters.repeated:
            return await self._refusal(await self._known_to(parameters, origin), repeated(), origin)
        signed_in_at = None if browser is None else browser.session.auth_time
        ticket = Ticket(dict(parameters), parameters.resources, self.clock.now(), signed_in_at)
        return await self.go_on(ticket, browser, origin)

    async def unreadable(self, error: OAuthError, origin: Origin) -> None:
        """A request that was none."""
        await self._turned_away(None, error, origin)

    async def again(self, ticket: str, browser: Browser | None, origin: Origin, *, chosen: bool = False) -> Step:
        """A request that was here before; raises Invalid (`ticket_expired`)."""
        read = self.tickets.read(ticket, self.clock.now())
        return await self.go_on(read.go_on() if chosen else read, browser, origin)

    async def go_on(self, ticket: Ticket, browser: Browser | None, origin: Origin) -> Step:
        """Whatever comes next."""
        to = await self._known_to(ticket.request(), origin)
        try:
            request = read_request(to, ticket.request())
            self._require_acr(request)
            if (needed := self._sign_in_needed(request, ticket, browser)) is not None:
                return needed
            if browser is None:
                raise RuntimeError("nobody is signed in")
            if await self._asks(request, browser) and "none" in request.prompt:
                raise OAuthError("consent_required", "the person has to be asked first")
            if await self._asks(request, browser):
                return ConsentNeeded(self.tickets.write(ticket), request)
            return await self._code(request, browser, origin)
        except OAuthError as error:
            return await self._refusal(to, error, origin)

    async def decide(self, ticket: str, browser: Browser, origin: Origin, *, allow: bool) -> Step:
        """What the person answers at the consent page."""
        read = self.tickets.read(ticket, self.clock.now())
        to = await self._known_to(read.request(), origin)
        try:
            request = read_request(to, read.request())
            if (needed := self._sign_in_needed(request, read.go_on(), browser)) is not None:
                return needed
            await self._record(request, browser, origin, allow=allow)
            if not allow:
                raise OAuthError("access_denied", "the person did not allow it")
            return await self._code(request, browser, origin)
        except OAuthError as error:
            return await self._refusal(to, error, origin)

    async def _to(self, parameters: Parameters) -> ReturnAddress:
        return return_address(await self._client(parameters), parameters)

    async def _client(self, parameters: Parameters) -> Client | None:
        return await self.authority.client(ClientId(parameters.required("client_id")))

    async def _known_to(self, parameters: Parameters, origin: Origin) -> ReturnAddress:
        """Where the answer goes, or the refusal told."""
        client = None
        try:
            client = await self._client(parameters)
            return return_address(client, parameters)
        except OAuthError as error:
            await self._turned_away(client, error, origin)
            raise

    async def _refusal(self, to: ReturnAddress, error: OAuthError, origin: Origin) -> Answer:
        if error.why not in _ROUTINE:
            await self._turned_away(to.client, error, origin)
        told = {"error": error.reason_code, "error_description": error.message}
        return Answer(answer(to, self.issuer, told))

    async def _turned_away(self, client: Client | None, error: OAuthError, origin: Origin) -> None:
        subject = None if client is None else f"client:{client.id}"
        await self.refused.tell(Action.AUTHORIZATION_REFUSED, error.why, origin, subject=subject)

    def _require_acr(self, request: AuthorizationRequest) -> None:
        """OpenID Connect Core 5.5.1.1: an essential acr that cannot be had is an error."""
        if request.claims.acr and ACR_SINGLE_FACTOR not in request.claims.acr:
            raise OAuthError("unmet_authentication_requirements", "no sign-in here reaches that acr")

    def _sign_in_needed(
        self, request: AuthorizationRequest, ticket: Ticket, browser: Browser | None
    ) -> SignInNeeded | None:
        """OpenID Connect Core 3.1.2.3. A sign-in that came after the request satisfies whatever it asks."""
        meant = self._who_is_meant(request)
        fresh = browser is not None and ticket.since(browser.session.auth_time)
        now = self.clock.now()
        if browser is None or not meant <= {str(browser.user.id)}:
            needed, choosing = True, False
        elif "login" in request.prompt or request.stale(browser.session.auth_time, now):
            needed, choosing = not fresh, False
        else:
            needed = choosing = "select_account" in request.prompt and not (fresh or ticket.chosen)
        if not needed:
            return None
        if "none" in request.prompt:
            raise OAuthError("login_required", "the person has to sign in")
        return SignInNeeded(self.tickets.write(ticket), request, choosing)

    def _who_is_meant(self, request: AuthorizationRequest) -> set[object]:
        """Whom a hint or a claim names, if any does (3.1.2.1 and 5.5)."""
        meant: set[object] = set() if request.claims.subject is None else {request.claims.subject}
        if request.id_token_hint is not None:
            hint = self.id_tokens.hint(request.id_token_hint)
            if hint is None:
                raise OAuthError("invalid_request", "the id_token_hint is none of ours", why="id_token_hint_forged")
            meant.add(hint.get("sub"))
        return meant

    async def _asks(self, request: AuthorizationRequest, browser: Browser) -> bool:
        if request.client.trusted and "consent" not in request.prompt:
            return False
        if "consent" in request.prompt:
            return True
        async with self.transaction.reading():
            consent = await self.consents.find(browser.user.id, request.client.id)
        return consent is None or not consent.covers(request.to_consent)

    @safe_to_repeat
    async def _record(self, request: AuthorizationRequest, browser: Browser, origin: Origin, *, allow: bool) -> None:
        """What the person said, with its event."""
        now = self.clock.now()
        user, client = browser.user.id, request.client.id
        async with self.transaction():
            if allow:  # and what was allowed before stays: unless it is taken back at this moment
                await self.consents.save(Consent(user, client, frozenset(request.to_consent), now, now))
            await self.trail.record_at_door(
                origin,
                Action.CONSENT_GRANTED if allow else Action.CONSENT_REFUSED,
                actor=f"user:{user}",
                subject=f"client:{client}",
                outcome=Outcome.SUCCESS if allow else Outcome.REFUSED,
                reason=None if allow else "access_denied",
                details={"scope": " ".join(request.to_consent)},
            )

    @safe_to_repeat
    async def _code(self, request: AuthorizationRequest, browser: Browser, origin: Origin) -> Answer:
        """A code for all that was asked, bound to whoever may redeem it (RFC 6749, 4.1.2)."""
        now = self.clock.now()
        code = base64.urlsafe_b64encode(self.secrets.token(CODE_BYTES)).rstrip(b"=").decode()
        async with self.transaction():
            user = await self.users.locked(browser.user.id)  # orders this against suspension
            session = await self.sessions.find(browser.session.id)
            client = await self.clients.held(request.client.id)
            refusal = exit_refusal(user.status if user else None, session, client, now)
            if refusal is not None:
                raise OAuthError("access_denied", "the session has ended", why=refusal)
            await self.codes.add(
                OneTimeValue(
                    OneTimeKind.AUTHORIZATION_CODE,
                    one_time_hash(code),
                    created_at=now,
                    expires_at=now + CODE_LIFETIME,
                    client_id=request.client.id,
                    user_id=browser.user.id,
                    session_id=browser.session.id,
                    details=_details(request, browser.session.auth_time),
                )
            )
            await self.trail.record_at_door(
                origin,
                Action.CODE_ISSUED,
                actor=f"user:{browser.user.id}",
                subject=f"client:{request.client.id}",
                details={"scope": " ".join(request.scopes)},
            )
        return Answer(answer(request.to, self.issuer, {"code": code}))


def _details(request: AuthorizationRequest, auth_time: datetime) -> Mapping[str, Any]:
    """What the code is good for; read by `application.oauth.grants`."""
    return {
        "redirect_uri": request.to.redirect_uri,
        "explicit": request.to.explicit,
        "scopes": list(request.scopes),
        "audience": list(request.audience),
        "nonce": request.nonce,
        "challenge": request.code_challenge,
        "auth_time": auth_time.timestamp(),
        "userinfo": list(request.claims.userinfo),
        "id_token": list(request.claims.id_token),
        "asks_auth_time": request.max_age is not None,
    }
