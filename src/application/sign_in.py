"""Sign-in with a password, at the API and in a browser."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NewType

from application.audit import Trail
from application.keys import KeyRing
from application.repetition import safe_to_repeat
from application.sessions import IssueTokens
from application.turns import Tries, Turn, Turns
from domain.audit import Action, Outcome
from domain.clients import FIRST_PARTY, PAGES, Client, ClientId
from domain.credentials import PASSWORD_MAX, PasswordCredential
from domain.errors import Forbidden, InvalidGrant, Unavailable
from domain.policies import Facts, Origin
from domain.ports import (
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
from domain.sessions import (
    SESSION_LIFETIME,
    EndReason,
    Family,
    FamilyId,
    Session,
    SessionId,
    exit_refusal,
    surplus,
)
from domain.tokens import TokenSet
from domain.users import User, UserStatus

FirstPartySignIn = NewType("FirstPartySignIn", bool)
"""Whether people may sign in with a password at this API itself."""

REFUSED_SIGN_IN = "the e-mail address, username or password is not right"
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
class Opened:
    """What a sign-in has opened; a browser's session has no family of its own."""

    family: Family | None
    session: Session
    client: Client
    facts: Facts


@dataclass(frozen=True, slots=True)
class SignIn:
    """Password sign-in of a person: at the API, acting as the built-in first-party client, or in a browser."""

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
        opened = await self._proven(identifier, password, origin, FIRST_PARTY)
        family = opened.family
        if family is None:
            raise RuntimeError("a sign-in at the API has a family")
        return self.issue(family, opened.session, opened.client, opened.facts, rules, self.clock.now())

    async def in_browser(
        self, identifier: str, password: str, origin: Origin, present: SessionId | None = None
    ) -> Session:
        """A session of a browser, without tokens. `present` is the one it has: the same person's goes on with the new
        time of sign-in (OpenID Connect Core 2, `auth_time`), anybody else's ends. Raises as above, but Forbidden."""
        return (await self._proven(identifier, password, origin, PAGES, present)).session

    async def _proven(
        self, identifier: str, password: str, origin: Origin, client_id: ClientId, present: SessionId | None = None
    ) -> Opened:
        key = self.ring.account_key(identifier)
        began = self.clock.monotonic()
        with self.tries.one_of(key):
            opened, waited = await self._try(identifier, password, key, origin, client_id, present)
        if opened is None:
            await self.floor.fill_up(began, waited)
            raise InvalidGrant(REFUSED_SIGN_IN, code="invalid_credentials")
        return opened

    async def _try(
        self,
        identifier: str,
        password: str,
        key: bytes,
        origin: Origin,
        client_id: ClientId,
        present: SessionId | None,
    ) -> tuple[Opened | None, float]:
        """What a right password opened, or None with the failure counted; and how long it waited for a thread."""
        user, stored, turn = await self._look_up(identifier, key)
        try:
            fresh_hash, waited = await self._compare(user, stored, password)
        except Unavailable:
            await self.turns.give_back(key, turn)
            raise
        opened = None
        if user is not None and stored is not None and fresh_hash is not None:
            opened = await self._open_session(user, stored, fresh_hash, key, origin, client_id, present)
        if opened is None:
            await self._count_failure(user, key, origin)
        return opened, waited

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
        self,
        user: User,
        compared: PasswordCredential,
        fresh_hash: str,
        key: bytes,
        origin: Origin,
        client_id: ClientId,
        present: SessionId | None,
    ) -> Opened | None:
        """Everything a sign-in stores, in one transaction, or None if the account changed since the comparison."""
        now = self.clock.now()
        async with self.transaction():
            locked = await self.users.locked(user.id)  # orders this sign-in against suspension and password changes
            stored = await self.credentials.password(user.id)
            facts = await self.users.facts(user.id)
            client = await self.clients.find(client_id)
            if locked is None or facts is None or stored is None or client is None or stored.hash != compared.hash:
                return None
            session = self._session(user, client, origin, now)
            if exit_refusal(facts.status, session, client, now) is not None:
                return None
            if fresh_hash != stored.hash:
                await self.credentials.set_password(replace(stored, hash=fresh_hash))
            session = await self._stored(session, user, present, now)
            family = self._family(session, client, now) if client_id == FIRST_PARTY else None
            if family is not None:
                await self.families.add(family)
            await self.failures.clear(key)
            await self.users.record_sign_in(user.id, now)
            await self.trail.record_at_door(
                origin, Action.SIGN_IN, actor=f"user:{user.id}", subject=f"session:{session.id}", details={"amr": "pwd"}
            )
        return Opened(family, session, client, facts)

    async def _stored(self, fresh: Session, user: User, present: SessionId | None, now: datetime) -> Session:
        """The fresh session, or the browser's own as it goes on."""
        held = None if present is None else await self.sessions.locked(present)
        if held is not None and held.refusal(now) is None and held.user_id == user.id:
            going_on = replace(held, auth_time=now, amr=fresh.amr, last_used_at=now)
            await self.sessions.save(going_on)
            return going_on
        if held is not None:
            await self.sessions.end([held.id], now, EndReason.REPLACED)
        await self._make_room(user, now)
        await self.sessions.add(fresh)
        return fresh

    async def _make_room(self, user: User, now: datetime) -> None:
        own = [session for session in await self.sessions.open_of(user.id) if not session.offline]
        await self.sessions.end([session.id for session in surplus(own)], now, EndReason.TOO_MANY)

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
        id = FamilyId(self.secrets.uuid(now))
        return Family.begun(id, session, client, self.ring.active_refresh_key(now), self.ring.epoch, now)

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
