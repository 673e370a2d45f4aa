"""Sign-in, refresh, sign-out: the ways a token is made and unmade."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NewType
from uuid import UUID

from application.audit import Trail
from application.authority import LiveAuthority
from application.keys import KeyRing
from application.repetition import safe_to_repeat
from application.turns import Tries, Turn, Turns
from domain.audit import Action, Outcome
from domain.clients import FIRST_PARTY, Client
from domain.credentials import PASSWORD_MAX, PasswordCredential
from domain.errors import Forbidden, InvalidGrant, NotAuthenticated, Unavailable
from domain.policies import Actor, Facts, Origin
from domain.ports import (
    AccessTokens,
    Clients,
    Clock,
    Credentials,
    Families,
    PasswordHasher,
    Secrets,
    Sessions,
    SignInFailures,
    Transaction,
    Users,
)
from domain.roles import Rules, global_roles
from domain.sessions import (
    SESSION_LIFETIME,
    SESSIONS_PER_USER,
    EndReason,
    Family,
    FamilyId,
    Refused,
    Repeated,
    Rotated,
    Session,
    SessionId,
    exit_refusal,
    rotate,
)
from domain.tokens import AccessClaims, RefreshToken, TokenSet, read_refresh_token, write_refresh_token
from domain.users import User, UserStatus

Issuer = NewType("Issuer", str)
"""The public address that tokens are issued under, from settings and never from a request."""

FirstPartySignIn = NewType("FirstPartySignIn", bool)
"""Whether people may sign in with a password at this API itself."""

FIRST_PARTY_SCOPE = "hexward"
ACR_SINGLE_FACTOR = "1"
REFUSED_SIGN_IN = "the e-mail address, username or password is not right"
REFUSED_REFRESH = "the refresh token is not valid"


@dataclass(frozen=True, slots=True)
class IssueTokens:
    """Writes the token set of a family as it stands: roles and authority are those of this moment."""

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
        """Raises InvalidGrant if the family's own key was revoked.

        Waits for nothing: once a token has been used up, its successor must get out.
        """
        claims = AccessClaims(
            issuer=self.issuer,
            subject=facts.user_id,
            audience=(self.issuer,),
            client_id=client.id,
            scope=FIRST_PARTY_SCOPE,
            issued_at=now,
            expires_at=now + client.access_token_lifetime,
            token_id=self.secrets.uuid(now),
            session_id=session.id,
            auth_time=session.auth_time,
            acr=ACR_SINGLE_FACTOR,
            amr=session.amr,
            roles=global_roles(facts.grants, now),
            authv=(facts.authv, rules.version),
        )
        key = self.ring.refresh_key(family.key_id, now)
        if key is None:
            raise InvalidGrant(REFUSED_REFRESH)
        return TokenSet(
            access_token=self.access_tokens.sign(claims, now),
            expires_in=int(client.access_token_lifetime.total_seconds()),
            refresh_token=write_refresh_token(
                RefreshToken(family.id, family.counter, family.epoch, family.key_id), key
            ),
            scope=FIRST_PARTY_SCOPE,
        )


FLOOR = 0.5
"""Seconds that a failed comparison takes at least: more than bcrypt at its usual cost."""
LONGEST_FLOOR = 2.0
FLOOR_WINDOW = 300.0


class Floor:
    """Failed comparisons all take the same time: at least `FLOOR`, and longer than any seen lately.

    A foreign hash (bcrypt) costs several times ours; without the floor, time tells which accounts have one, and
    which exist at all (PARITY R07). Waiting for a thread is not part of it: that tells of others, not of the account.
    A comparison raises the floor for those after it and never for itself, or its own cost would show in its own time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._slowest = self._slowest_before = 0.0  # in this window of time, and in the one before

    async def fill_up(self, began: float, waited: float) -> None:
        """Wait for what a refusal is short of, and learn from it. It began at `began` (monotonic), and `waited` seconds
        of it for a thread; all the rest counts, for looking up an account that exists takes longer, too."""
        spent = self._clock.monotonic() - began - waited
        floor = self._seconds()
        self._learn(spent)
        await self._clock.sleep(max(0.0, floor - spent))

    def _seconds(self) -> float:
        return min(max(FLOOR, 1.25 * max(self._slowest, self._slowest_before)), LONGEST_FLOOR)

    def _learn(self, spent: float) -> None:
        """What a slow moment raised is forgotten with its window; within one, the floor only rises."""
        if self._clock.monotonic() - self._began >= FLOOR_WINDOW:
            self._began, self._slowest_before, self._slowest = self._clock.monotonic(), self._slowest, 0.0
        self._slowest = max(self._slowest, spent)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Password sign-in of a person, acting as the built-in first-party client."""

    users: Users
    credentials: Credentials
    failures: SignInFailures
    sessions: Sessions
    families: Families
    clients: Clients
    hasher: PasswordHasher
    issue: IssueTokens
    ring: KeyRing
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction
    floor: Floor
    tries: Tries
    turns: Turns
    enabled: FirstPartySignIn

    async def __call__(self, identifier: str, password: str, origin: Origin) -> TokenSet:
        """Tokens of a new session.

        Raises InvalidGrant (the same for an unknown account, a wrong password and a suspended account, after the same
        time), TooManyAttempts, Overloaded, or Forbidden where first-party sign-in is turned off.
        """
        if not self.enabled:
            raise Forbidden("first-party sign-in is turned off", code="first_party_sign_in_off")
        rules = await self.issue.ready(self.clock.now())
        key = self.ring.account_key(identifier)
        began = self.clock.monotonic()
        with self.tries.one_of(key):
            family, waited = await self._try(identifier, password, key, origin)
        if family is None:
            await self.floor.fill_up(began, waited)
            raise InvalidGrant(REFUSED_SIGN_IN, code="invalid_credentials")
        return self.issue(*family, rules, self.clock.now())

    async def _try(
        self, identifier: str, password: str, key: bytes, origin: Origin
    ) -> tuple[tuple[Family, Session, Client, Facts] | None, float]:
        """What a right password opened, or None with the failure counted; and how long it waited for a thread."""
        user, stored, turn = await self._look_up(identifier, key)
        try:
            fresh_hash, waited = await self._compare(user, stored, password)
        except Unavailable:
            await self.turns.give_back(key, turn)
            raise
        family = None
        if user is not None and stored is not None and fresh_hash is not None:
            family = await self._open_session(user, stored, fresh_hash, key, origin)
        if family is None:
            await self._count_failure(user, key, origin)
        return family, waited

    @safe_to_repeat
    async def _look_up(self, identifier: str, key: bytes) -> tuple[User | None, PasswordCredential | None, Turn | None]:
        async with self.transaction():
            turn = await self.turns.take(key)
            user = await self.users.by_login(identifier)
            stored = await self.credentials.password(user.id) if user else None
        return user, stored, turn

    async def _compare(
        self, user: User | None, stored: PasswordCredential | None, password: str
    ) -> tuple[str | None, float]:
        """The hash to keep if the password is right (fresh where the stored one is outdated), else None; and how long
        the comparison waited for its turn, as far as the hasher tells."""
        if len(password) > PASSWORD_MAX:  # refused before hashing: no account can have it
            return None, 0.0
        began = self.clock.monotonic()
        verdict = await self.hasher.verify(password, stored.hash if stored else None)
        waited = max(0.0, self.clock.monotonic() - began - verdict.seconds) if verdict.seconds else 0.0
        if not verdict.matches or stored is None or user is None or user.status is not UserStatus.ACTIVE:
            return None, waited
        return await self.hasher.hash(password) if verdict.outdated else stored.hash, waited

    @safe_to_repeat
    async def _open_session(
        self, user: User, compared: PasswordCredential, fresh_hash: str, key: bytes, origin: Origin
    ) -> tuple[Family, Session, Client, Facts] | None:
        """Everything a sign-in stores, in one transaction, or None if the account changed since the comparison."""
        now = self.clock.now()
        async with self.transaction():
            locked = await self.users.locked(user.id)  # orders this sign-in against suspension and password changes
            stored = await self.credentials.password(user.id)
            facts = await self.users.facts(user.id)
            client = await self.clients.find(FIRST_PARTY)
            if locked is None or facts is None or stored is None or client is None or stored.hash != compared.hash:
                return None
            session = self._session(user, client, origin, now)
            if exit_refusal(facts.status, session, client, now) is not None:
                return None
            if fresh_hash != stored.hash:
                await self.credentials.set_password(replace(stored, hash=fresh_hash))
            await self._make_room(user, now)
            family = self._family(session, client, now)
            await self.sessions.add(session)
            await self.families.add(family)
            await self.failures.clear(key)
            await self.users.record_sign_in(user.id, now)
            await self.trail.record_at_door(
                origin, Action.SIGN_IN, actor=f"user:{user.id}", subject=f"session:{session.id}", details={"amr": "pwd"}
            )
        return family, session, client, facts

    async def _make_room(self, user: User, now: datetime) -> None:
        open_sessions = await self.sessions.open_of(user.id)
        if surplus := open_sessions[: max(0, len(open_sessions) - SESSIONS_PER_USER + 1)]:
            await self.sessions.end([s.id for s in surplus], now, EndReason.TOO_MANY)

    def _session(self, user: User, client: Client, origin: Origin, now: datetime) -> Session:
        return Session(
            id=SessionId(self.secrets.uuid(now)),
            user_id=user.id,
            client_id=client.id,
            created_at=now,
            auth_time=now,
            amr=("pwd",),
            last_used_at=now,
            expires_at=now + SESSION_LIFETIME,
            address=origin.address,
            user_agent=origin.user_agent,
        )

    def _family(self, session: Session, client: Client, now: datetime) -> Family:
        return Family(
            id=FamilyId(self.secrets.uuid(now)),
            session_id=session.id,
            user_id=session.user_id,
            client_id=client.id,
            counter=0,
            key_id=self.ring.active_refresh_key(now),
            epoch=self.ring.epoch,
            created_at=now,
            rotated_at=now,
            idle=client.family_idle,
            expires_at=now + client.family_lifetime,
        )

    @safe_to_repeat
    async def _count_failure(self, user: User | None, key: bytes, origin: Origin) -> None:
        async with self.transaction():
            await self.failures.add(key, self.clock.now())
            await self.trail.record_at_door(
                origin,
                Action.SIGN_IN_FAILED,
                subject=f"user:{user.id}" if user else None,
                outcome=Outcome.REFUSED,
                reason=_why_failed(user),
                details={"account": key.hex()},
            )


def _why_failed(user: User | None) -> str:
    if user is None:
        return "account_unknown"
    return "password_wrong" if user.status is UserStatus.ACTIVE else f"user_{user.status}"


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

    @safe_to_repeat
    async def __call__(self, presented: str, origin: Origin) -> TokenSet:
        """Any number of parallel or retried calls with one token get one successor, the same for all.

        Raises InvalidGrant for anything that is not the current token or, within the grace, the one before.
        """
        now = self.clock.now()
        rules = await self.issue.ready(now)
        token = read_refresh_token(presented, lambda id: self.ring.refresh_key(id, now))
        async with self.transaction.alone():  # as each statement sees what is committed, one around both adds nothing
            found = await self.families.standing(token.family_id)
            if found is None or found.family.epoch != self.ring.epoch:
                raise InvalidGrant(REFUSED_REFRESH)
            family, session, client, facts = found.family, found.session, found.client, found.facts
            refusal = exit_refusal(facts.status, session, client, now, family.rotated_at)
            moved = await self._advance(family, token, origin, now) if refusal is None else None
        if moved is None:
            async with self.transaction():
                moved = await self._settle(family, token, origin, now, refusal)
        if moved is None:  # raised after the commit: a replay must stay revoked
            raise InvalidGrant(REFUSED_REFRESH)
        return self.issue(moved, session, client, facts, rules, self.clock.now())

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
        """Raises NotAuthenticated for a token that does not verify or whose user, client or session has ended."""
        now = self.clock.now()
        await self.authority.ensure_fresh()  # a key that was revoked a moment ago verifies nothing
        claims = self.access_tokens.verify(token, now)
        facts = await self.authority.facts(claims.subject)
        if facts is None or facts.status is not UserStatus.ACTIVE:
            raise NotAuthenticated("the account is not active", code="account_not_active")
        client = await self.authority.client(claims.client_id)
        if client is None or not client.enabled:
            raise NotAuthenticated("the application is disabled", code="client_disabled")
        if not await self.authority.session_open(claims.session_id, now):
            raise NotAuthenticated("the session has ended", code="session_ended")
        return Actor.from_token(facts, await self.authority.rules(), now, claims.session_id, origin)


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
