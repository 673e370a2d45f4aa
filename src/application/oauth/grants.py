"""The token endpoint: what a client gets for a code, a refresh token, or itself (RFC 6749, 4.1.3, 4.4 and 6).

Each grant ends at the one exit check (`domain.sessions.exit_refusal`, or `Client.refusal` where there is no person),
asked about what is stored now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from application.audit import Trail
from application.keys import KeyRing
from application.oauth.authentication import AuthenticateClient, Basic
from application.oauth.claims import IssueIdToken, claims_of
from application.oauth.sampling import IssueCounts, Refusals
from application.repetition import safe_to_repeat
from application.sessions import Issuer, IssueTokens, Refreshed, RefreshSession
from domain.audit import Action, Outcome
from domain.authorization import ClaimsRequest, Parameters, granted_audience, verifies
from domain.clients import API_SCOPE, IDENTITY_SCOPES, OFFLINE_ACCESS, OPENID, Client, GrantType
from domain.errors import InvalidGrant, OAuthError
from domain.one_time import OneTimeKind, OneTimeValue, one_time_hash
from domain.policies import Facts, Origin
from domain.ports import (
    AccessTokens,
    Clients,
    Clock,
    Consents,
    Families,
    OneTimeValues,
    Secrets,
    Sessions,
    Transaction,
    Users,
)
from domain.roles import Rules, global_roles
from domain.sessions import EndReason, Family, FamilyId, Session, SessionId, exit_refusal, surplus
from domain.tokens import AccessClaims, TokenSet, audience_of
from domain.users import User

REFUSED_CODE = "the authorization code is not valid"
UNKNOWN_CODE = "code_unknown"
"""Why a code is refused that was never issued, or long ago: anybody can make one up."""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code was exchanged for."""

    family: Family
    session: Session
    client: Client
    user: User
    facts: Facts
    value: OneTimeValue


@dataclass(frozen=True, slots=True)
class ExchangeCode:
    """A code for tokens, once (RFC 6749, 4.1.3); a second time ends what the first one made (4.1.2 and 10.5)."""

    users: Users
    sessions: Sessions
    families: Families
    clients: Clients
    consents: Consents
    codes: OneTimeValues
    issue: IssueTokens
    issue_id_token: IssueIdToken
    ring: KeyRing
    refused: Refusals
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction

    async def __call__(self, client: Client, parameters: Parameters, origin: Origin) -> TokenSet:
        """Raises OAuthError (`invalid_grant`, `invalid_request`, `invalid_target`)."""
        code = parameters.required("code")
        rules = await self.issue.ready(self.clock.now())
        outcome = await self._redeem(client, code, parameters, origin)
        if outcome == UNKNOWN_CODE:
            await self.refused.tell(Action.CODE_REFUSED, outcome, origin, actor=f"client:{client.id}")
        if not isinstance(outcome, Redeemed):  # raised after the commit: a replay must stay known
            raise OAuthError("invalid_grant", REFUSED_CODE)
        return self._tokens(outcome, parameters, rules)

    def _tokens(self, made: Redeemed, parameters: Parameters, rules: Rules) -> TokenSet:
        now = self.clock.now()
        family, scopes = made.family, made.family.scope.split()
        narrowed = _narrowed(family, made.client, parameters)
        access_token = self.issue.access_token(narrowed, made.session, made.client, made.facts, rules, now)
        id_token = None
        if OPENID in scopes:
            named = made.value.details.get("id_token", ())
            claims = claims_of(made.user, global_roles(made.facts.grants, now), (), named)
            nonce = made.value.details.get("nonce")
            id_token = self.issue_id_token(made.client, made.session, access_token, now, nonce=nonce, claims=claims)
        may_refresh = GrantType.REFRESH_TOKEN in made.client.grant_types
        return TokenSet(
            access_token,
            int(made.client.access_token_lifetime.total_seconds()),
            family.scope,
            self.issue.refresh_token(family, now) if may_refresh else None,
            id_token,
        )

    @safe_to_repeat
    async def _redeem(self, client: Client, code: str, parameters: Parameters, origin: Origin) -> Redeemed | str:
        """Everything that a code stores, in one transaction; or why not, with what that means stored."""
        hash = one_time_hash(code)
        now = self.clock.now()
        async with self.transaction():
            value = await self.codes.find(OneTimeKind.AUTHORIZATION_CODE, hash)
            if value is None:
                return UNKNOWN_CODE
            if value.client_id != client.id:  # nor is it used up: it belongs to somebody else
                return await self._refused(value, client, "code_of_another_client", origin)
            refusal = _unfit(value, parameters)
            _narrowed_audience(client, value, parameters)  # raises, and the code can be tried again
            family_id = FamilyId(self.secrets.uuid(now))
            if not await self.codes.redeem(OneTimeKind.AUTHORIZATION_CODE, hash, now, family_id):
                return await self._replayed(client, hash, now, origin)
            if refusal is not None:
                return await self._refused(value, client, refusal, origin)
            return await self._open(client, value, family_id, now, origin)

    async def _open(
        self, client: Client, value: OneTimeValue, family_id: FamilyId, now: datetime, origin: Origin
    ) -> Redeemed | str:
        """The exit check on what is stored now, held until the commit; then the client's session and its family."""
        if value.user_id is None or value.session_id is None:
            raise RuntimeError("a code belongs to a person and a session")
        user = await self.users.locked(value.user_id)
        browser = await self.sessions.locked(value.session_id)
        held = await self.clients.held(client.id)
        facts = await self.users.facts(value.user_id)
        refusal = exit_refusal(facts.status if facts else None, browser, held, now)
        if refusal is not None or user is None or browser is None or held is None or facts is None:
            return await self._refused(value, client, refusal or "session_unknown", origin)
        if not _registered_for(held, value):
            return await self._refused(value, client, "registration_narrowed", origin)
        consent = await self.consents.find(user.id, client.id)
        if not held.trusted and (consent is None or not consent.covers(_scopes_of(value))):
            return await self._refused(value, client, "consent_withdrawn", origin)
        session = await self._session(held, browser, value, origin, now)
        family = self._family(family_id, session, held, value, now)
        await self.families.add(family)
        await self.trail.record_at_door(
            origin,
            Action.CODE_REDEEMED,
            actor=f"user:{user.id}",
            subject=f"client:{client.id}",
            details={"session": str(session.id), "scope": family.scope},
        )
        return Redeemed(family, session, held, user, facts, value)

    async def _session(
        self, client: Client, browser: Session, value: OneTimeValue, origin: Origin, now: datetime
    ) -> Session:
        """What the client has of the browser's session: the one it has already, or a new one. With offline_access, and
        a refresh token to use it with, one of its own (OpenID Connect Core 11)."""
        offline = OFFLINE_ACCESS in value.details["scopes"] and GrantType.REFRESH_TOKEN in client.grant_types
        auth_time = datetime.fromtimestamp(value.details["auth_time"], UTC)
        if not offline:
            known = await self.sessions.open_child(browser.id, client.id)
            if known is not None:
                going_on = replace(known, auth_time=auth_time, amr=browser.amr, last_used_at=now)
                await self.sessions.save(going_on)
                return going_on
        else:
            there = [s for s in await self.sessions.open_at(browser.user_id, client.id) if s.offline]
            await self.sessions.end([s.id for s in surplus(there)], now, EndReason.TOO_MANY)
        session = Session(
            id=SessionId(self.secrets.uuid(now)),
            user_id=browser.user_id,
            client_id=client.id,
            created_at=now,
            auth_time=auth_time,
            amr=browser.amr,
            last_used_at=now,
            expires_at=now + client.family_lifetime if offline else browser.expires_at,
            address=browser.address,
            user_agent=browser.user_agent,
            parent_id=None if offline else browser.id,
            offline=offline,
        )
        await self.sessions.add(session)
        return session

    def _family(self, id: FamilyId, session: Session, client: Client, value: OneTimeValue, now: datetime) -> Family:
        family = Family.begun(id, session, client, self.ring.active_refresh_key(now), self.ring.epoch, now)
        granted = value.details
        return replace(
            family,
            scope=" ".join(granted["scopes"]),
            audience=tuple(granted["audience"]),
            claims=tuple(granted["userinfo"]),
        )

    async def _replayed(self, client: Client, hash: bytes, now: datetime, origin: Origin) -> str:
        """It was used before, or is too old. What it made ends: whoever was first may have been the thief."""
        value = await self.codes.find(OneTimeKind.AUTHORIZATION_CODE, hash)
        if value is None or value.used_at is None:
            return await self._refused(value, client, "code_expired", origin)
        family = None if value.made is None else await self.families.find(FamilyId(value.made))
        if family is not None:
            await self.sessions.end([family.session_id], now, EndReason.CODE_REPLAYED)
        return await self._refused(value, client, "code_replayed", origin)

    async def _refused(self, value: OneTimeValue | None, client: Client, reason: str, origin: Origin) -> str:
        owner = None if value is None or value.user_id is None else f"user:{value.user_id}"
        await self.trail.record_at_door(
            origin,
            Action.CODE_REFUSED,
            actor=f"client:{client.id}",
            subject=owner,
            outcome=Outcome.REFUSED,
            reason=reason,
        )
        return reason


def _unfit(value: OneTimeValue, parameters: Mapping[str, str]) -> str | None:
    """Why a code is not for this request, or None: bound to redirect URI and PKCE (PARITY R03)."""
    given = parameters.get("redirect_uri")
    if given != value.details["redirect_uri"] and (given is not None or value.details["explicit"]):
        return "redirect_uri_mismatch"  # RFC 6749, 4.1.3
    if not verifies(value.details["challenge"], parameters.get("code_verifier")):
        return "code_verifier_mismatch"
    return None


def _scopes_of(value: OneTimeValue) -> set[str]:
    """What a code is for, with the scopes that stand for claims asked for by name: as the person was asked."""
    named = ClaimsRequest(tuple(value.details["userinfo"]), tuple(value.details["id_token"]))
    return {*value.details["scopes"], *named.scopes}


def _registered_for(client: Client, value: OneTimeValue) -> bool:
    """Whether the client may still have all that the code is for. What is taken away ends the refresh tokens that there
    are; a code that was out at that moment would bring it back for as long as they live."""
    granted = value.details
    return (
        GrantType.AUTHORIZATION_CODE in client.grant_types
        and client.redirects_to(granted["redirect_uri"])
        and _scopes_of(value) <= set(client.scopes)
        and set(granted["audience"]) <= set(client.audiences)
    )


def _narrowed_audience(client: Client, value: OneTimeValue, parameters: Parameters) -> None:
    """RFC 8707, 2.2: what is asked for here lies within what was granted."""
    granted = set(value.details["audience"])
    if not granted >= set(parameters.resources):
        raise OAuthError("invalid_target", "a resource that was not granted")
    granted_audience(client, parameters.resources)


def _narrowed(family: Family, client: Client, parameters: Parameters) -> Family:
    """The family as this one access token is to see it; the family itself stays as it was granted."""
    if not parameters.resources:
        return family
    return replace(family, audience=granted_audience(client, parameters.resources))


@dataclass(frozen=True, slots=True)
class ExchangeRefreshToken:
    """A refresh token for its successor (RFC 6749, 6), within what was granted."""

    refresh: RefreshSession
    issue: IssueTokens
    issue_id_token: IssueIdToken
    clock: Clock

    async def __call__(self, client: Client, parameters: Parameters, origin: Origin) -> TokenSet:
        """Raises OAuthError (`invalid_grant`, `invalid_scope`, `invalid_target`)."""
        presented = parameters.required("refresh_token")

        def check(family: Family) -> None:
            _narrowed_scope(family, parameters)
            if not set(family.audience) >= set(parameters.resources):
                raise OAuthError("invalid_target", "a resource that was not granted")

        try:
            moved = await self.refresh.rotated(presented, client.id, origin, check)
        except InvalidGrant as error:
            raise OAuthError("invalid_grant", error.message) from None
        return self._tokens(moved, parameters)

    def _tokens(self, moved: Refreshed, parameters: Parameters) -> TokenSet:
        now = self.clock.now()
        scope = _narrowed_scope(moved.family, parameters)
        narrowed = replace(_narrowed(moved.family, moved.client, parameters), scope=scope)
        access_token = self.issue.access_token(narrowed, moved.session, moved.client, moved.facts, moved.rules, now)
        id_token = None
        if OPENID in scope.split():  # OpenID Connect Core 12.2: as the first one, without the nonce
            id_token = self.issue_id_token(moved.client, moved.session, access_token, now)
        lifetime = int(moved.client.access_token_lifetime.total_seconds())
        return TokenSet(access_token, lifetime, scope, self.issue.refresh_token(moved.family, now), id_token)


def _narrowed_scope(family: Family, parameters: Mapping[str, str]) -> str:
    """RFC 6749, 6: never more than was granted."""
    asked = parameters.get("scope")
    if asked is None:
        return family.scope
    granted = family.scope.split()
    if not set(asked.split()) <= set(granted):
        raise OAuthError("invalid_scope", "a scope that was not granted")
    return " ".join(dict.fromkeys(asked.split())) or family.scope


@dataclass(frozen=True, slots=True)
class IssueToClient:
    """A token for a client itself (RFC 6749, 4.4). Nothing is stored but, now and then, how many there were."""

    access_tokens: AccessTokens
    counts: IssueCounts
    clock: Clock
    secrets: Secrets
    issuer: Issuer

    async def __call__(self, client: Client, parameters: Parameters, origin: Origin) -> TokenSet:
        """Raises OAuthError (`invalid_scope`, `invalid_target`), Unavailable."""
        now = self.clock.now()
        scope = " ".join(_own_scopes(client, parameters.get("scope")))
        audience = granted_audience(client, parameters.resources)
        claims = AccessClaims(
            issuer=self.issuer,
            user_id=None,
            audience=audience_of(self.issuer, audience, ()),
            client_id=client.id,
            scope=scope,
            issued_at=now,
            expires_at=now + client.access_token_lifetime,
            token_id=self.secrets.uuid(now),
        )
        token = self.access_tokens.sign(claims, now)
        await self.counts.count(client.id, origin)
        return TokenSet(token, int(client.access_token_lifetime.total_seconds()), scope)


def _own_scopes(client: Client, asked: str | None) -> list[str]:
    """What a client may have for itself: nothing that tells of people or acts for them. All of it, unless it asks."""
    allowed = [scope for scope in client.scopes if scope not in IDENTITY_SCOPES and scope != API_SCOPE]
    if asked is None:
        return allowed
    wanted = list(dict.fromkeys(asked.split()))
    if not set(wanted) <= set(allowed):
        raise OAuthError("invalid_scope", "a scope that this application may not have for itself")
    return wanted


@dataclass(frozen=True, slots=True)
class Token:
    """The token endpoint (RFC 6749, 3.2): who asks, and for which grant."""

    authenticate: AuthenticateClient
    code: ExchangeCode
    refresh: ExchangeRefreshToken
    client_credentials: IssueToClient

    async def __call__(self, parameters: Parameters, basic: Basic | None, origin: Origin) -> TokenSet:
        """Raises OAuthError (RFC 6749, 5.2; RFC 8707, 2), Unavailable."""
        client = await self.authenticate(parameters, basic, origin)
        try:
            grant = GrantType(parameters.required("grant_type"))
        except ValueError:
            raise OAuthError("unsupported_grant_type", "there is no such grant type here") from None
        if grant not in client.grant_types:
            raise OAuthError("unauthorized_client", "this application is not registered for this grant type")
        match grant:
            case GrantType.AUTHORIZATION_CODE:
                return await self.code(client, parameters, origin)
            case GrantType.REFRESH_TOKEN:
                return await self.refresh(client, parameters, origin)
            case GrantType.CLIENT_CREDENTIALS:
                return await self.client_credentials(client, parameters, origin)
