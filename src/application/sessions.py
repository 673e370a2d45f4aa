"""Tokens of a session: how they are made, renewed and unmade, and who they stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

from application.audit import Trail
from application.authority import LiveAuthority
from application.keys import KeyRing
from application.repetition import safe_to_repeat
from domain.audit import Action, Outcome
from domain.authorization import ACR_SINGLE_FACTOR
from domain.clients import API_SCOPE, FIRST_PARTY, Client, ClientId
from domain.errors import Forbidden, InvalidGrant, NotAuthenticated, Unavailable
from domain.policies import Actor, Facts, Origin
from domain.ports import AccessTokens, Clock, Families, Secrets, Sessions, Transaction
from domain.roles import Rules, global_roles
from domain.sessions import (
    EndReason,
    Family,
    Refused,
    Repeated,
    Rotated,
    Session,
    SessionId,
    exit_refusal,
    rotate,
)
from domain.tokens import (
    AccessClaims,
    RefreshToken,
    TokenSet,
    audience_of,
    read_refresh_token,
    write_refresh_token,
)
from domain.users import UserStatus

Issuer = NewType("Issuer", str)
"""The public address that tokens are issued under, from settings and never from a request."""

REFUSED_REFRESH = "the refresh token is not valid"


@dataclass(frozen=True, slots=True)
class IssueTokens:
    """Writes the tokens of a family as it stands: roles and authority are those of this moment."""

    ring: KeyRing
    access_tokens: AccessTokens
    authority: LiveAuthority
    secrets: Secrets
    issuer: Issuer

    async def ready(self, now: datetime) -> Rules:
        """What `__call__` needs, to be asked for before anything is used up for it; raises Unavailable."""
        rules = await self.authority.rules()  # as fresh as decisions are, and with them the keys
        self.ring.require_ready(now)
        return rules

    def __call__(
        self, family: Family, session: Session, client: Client, facts: Facts, rules: Rules, now: datetime
    ) -> TokenSet:
        """An access token and a refresh token; raises InvalidGrant if the family's own key was revoked.

        Waits for nothing: once a token has been used up, its successor must get out.
        """
        return TokenSet(
            access_token=self.access_token(family, session, client, facts, rules, now),
            expires_in=int(client.access_token_lifetime.total_seconds()),
            scope=family.scope,
            refresh_token=self.refresh_token(family, now),
        )

    def access_token(
        self, family: Family, session: Session, client: Client, facts: Facts, rules: Rules, now: datetime
    ) -> str:
        """The access token of a person (RFC 9068)."""
        claims = AccessClaims(
            issuer=self.issuer,
            user_id=facts.user_id,
            audience=audience_of(self.issuer, family.audience, family.scope.split()),
            client_id=client.id,
            scope=family.scope,
            issued_at=now,
            expires_at=now + client.access_token_lifetime,
            token_id=self.secrets.uuid(now),
            session_id=session.id,
            auth_time=session.auth_time,
            acr=ACR_SINGLE_FACTOR,
            amr=session.amr,
            roles=global_roles(facts.grants, now),
            authv=(facts.authv, rules.version),
            claims=family.claims,
        )
        return self.access_tokens.sign(claims, now)

    def refresh_token(self, family: Family, now: datetime) -> str:
        """The refresh token of the family's present generation; raises InvalidGrant if its own key was revoked."""
        key = self.ring.refresh_key(family.key_id, now)
        if key is None:
            raise InvalidGrant(REFUSED_REFRESH)
        return write_refresh_token(RefreshToken(family.id, family.counter, family.epoch, family.key_id), key)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A family moved on, with all that its tokens tell of."""

    family: Family
    session: Session
    client: Client
    facts: Facts
    rules: Rules


def anything(_: Family) -> None:
    """Nothing more is asked of a family."""


@dataclass(frozen=True, slots=True)
class RefreshSession:
    """Exchanges a refresh token for its successor and a new access token, race-free (domain.sessions.rotate)."""

    sessions: Sessions
    families: Families
    issue: IssueTokens
    ring: KeyRing
    trail: Trail
    clock: Clock
    transaction: Transaction

    async def __call__(self, presented: str, origin: Origin) -> TokenSet:
        """Any number of parallel or retried calls with one token get one successor, the same for all.

        Raises InvalidGrant for anything that is not the current token or, within the grace, the one before.
        """
        moved = await self.rotated(presented, FIRST_PARTY, origin)
        now = self.clock.now()
        return self.issue(moved.family, moved.session, moved.client, moved.facts, moved.rules, now)

    @safe_to_repeat
    async def rotated(
        self, presented: str, client_id: ClientId, origin: Origin, check: Callable[[Family], None] = anything
    ) -> Refreshed:
        """The family of the token, moved on; only for the client it belongs to (RFC 6749, 10.4). `check` may refuse
        what is asked of the family, by raising, before anything is used up. Raises InvalidGrant likewise."""
        now = self.clock.now()
        rules = await self.issue.ready(now)
        token = read_refresh_token(presented, lambda id: self.ring.refresh_key(id, now))
        async with self.transaction.alone():  # as each statement sees what is committed, one around both adds nothing
            found = await self.families.standing(token.family_id)
            if found is None or found.family.epoch != self.ring.epoch:
                raise InvalidGrant(REFUSED_REFRESH)
            family, session, client, facts = found.family, found.session, found.client, found.facts
            refusal = exit_refusal(facts.status, session, client, now, family.rotated_at)
            if client.id != client_id:
                refusal = "client_mismatch"
            if refusal is None:
                check(family)
            moved = await self._advance(family, token, origin, now) if refusal is None else None
        if moved is None:
            async with self.transaction():
                moved = await self._settle(family, token, origin, now, refusal)
        if moved is None:  # raised after the commit: a replay must stay revoked
            raise InvalidGrant(REFUSED_REFRESH)
        return Refreshed(moved, session, client, facts, rules)

    async def _advance(self, family: Family, token: RefreshToken, origin: Origin, now: datetime) -> Family | None:
        """The one that comes first."""
        key_id = self.ring.active_refresh_key(now)
        event = self.trail.event(origin, Action.REFRESHED, f"user:{family.user_id}", f"session:{family.session_id}")
        return await self.families.advance(token.family_id, token.counter, key_id, now, event)

    async def _settle(
        self, family: Family, token: RefreshToken, origin: Origin, now: datetime, refusal: str | None
    ) -> Family | None:
        """All others: the same successor within the grace, else None, with what that means stored."""
        if refusal is None:
            decided = await self._decide(token, now)
            if isinstance(decided, Family):  # told apart in the trail: a thief may be quick, too
                await self._record(decided, Action.REFRESHED, Outcome.SUCCESS, "repeated", origin)
                return decided
            refusal = decided
        await self._record(family, Action.REFRESH_REFUSED, Outcome.REFUSED, refusal, origin)
        return None

    async def _decide(self, token: RefreshToken, now: datetime) -> Family | str:
        locked = await self.families.locked(token.family_id)
        if locked is None:
            return "family_unknown"
        match rotate(locked, token.counter, self.ring.active_refresh_key(now), now):
            case Repeated(same):
                return same
            case Rotated():  # cannot be: `advance` says Rotated exactly when `rotate` does
                raise Unavailable("the refresh was not decided; try again")
            case Refused(ended, reason):
                if ended != locked:
                    await self.families.save(ended)
                    await self.sessions.end([locked.session_id], now, EndReason(reason))
                return reason

    async def _record(self, family: Family, action: Action, outcome: Outcome, reason: str, origin: Origin) -> None:
        await self.trail.record_at_door(
            origin,
            action,
            actor=f"user:{family.user_id}",
            subject=f"session:{family.session_id}",
            outcome=outcome,
            reason=reason,
        )


@dataclass(frozen=True, slots=True)
class Authenticate:
    """A bearer token becomes an Actor, with live facts: what the token says of roles is never believed."""

    access_tokens: AccessTokens
    authority: LiveAuthority
    clock: Clock

    async def __call__(self, token: str, origin: Origin) -> Actor:
        """Raises NotAuthenticated for a token that does not verify or whose user, client or session has ended, and
        Forbidden (`insufficient_scope`) for one that was given for something else (RFC 6750, 3.1)."""
        now = self.clock.now()
        await self.authority.ensure_fresh()  # a key that was revoked a moment ago verifies nothing
        claims = self.access_tokens.verify(token, now)
        facts, session_id = await self.holder(claims, now)
        if API_SCOPE not in claims.scopes:
            raise Forbidden(f"the token lacks the scope {API_SCOPE}", code="insufficient_scope")
        return Actor.from_token(facts, await self.authority.rules(), now, session_id, origin)

    async def holder(self, claims: AccessClaims, now: datetime) -> tuple[Facts, SessionId]:
        """The person behind verified claims, as they are now; raises NotAuthenticated."""
        if claims.user_id is None or claims.session_id is None:
            raise NotAuthenticated("the token is not one of a person", code="token_of_client")
        facts = await self.authority.facts(claims.user_id)
        if facts is None or facts.status is not UserStatus.ACTIVE:
            raise NotAuthenticated("the account is not active", code="account_not_active")
        client = await self.authority.client(claims.client_id)
        if client is None or client.refusal() is not None:
            raise NotAuthenticated("the application is disabled", code="client_disabled")
        if not await self.authority.session_open(claims.session_id, now):
            raise NotAuthenticated("the session has ended", code="session_ended")
        return facts, claims.session_id


@dataclass(frozen=True, slots=True)
class SignOut:
    """Ends a session, its refresh tokens and its access tokens, before it answers."""

    sessions: Sessions
    families: Families
    ring: KeyRing
    authority: LiveAuthority
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor) -> None:
        """End the actor's own session; doing it twice is no error."""
        if actor.session_id is not None:
            await self._end(SessionId(actor.session_id), actor.label, actor.origin)

    @safe_to_repeat
    async def by_refresh_token(self, presented: str, origin: Origin) -> None:
        """End the session of a refresh token; unknown and ended ones are no error (RFC 7009, 2.2)."""
        now = self.clock.now()
        await self.authority.ensure_fresh()
        try:
            token = read_refresh_token(presented, lambda id: self.ring.refresh_key(id, now))
        except InvalidGrant:
            return
        async with self.transaction.reading():
            family = await self.families.find(token.family_id)
        if family is not None:
            await self._end(family.session_id, f"user:{family.user_id}", origin)

    async def _end(self, id: SessionId, actor: str, origin: Origin) -> None:
        async with self.transaction():
            if not await self.sessions.end([id], self.clock.now(), EndReason.SIGNED_OUT):
                return  # it never was, has ended, or somebody else was faster
            await self.trail.record_at_door(
                origin, Action.SIGN_OUT, actor=actor, subject=f"session:{UUID(str(id))}", reason=EndReason.SIGNED_OUT
            )
