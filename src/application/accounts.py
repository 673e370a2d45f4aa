"""One's own account: make one, prove to know its password, change that password."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from application.audit import Trail
from application.keys import KeyRing
from application.sign_in import Floor
from application.turns import Tries, Turn, Turns
from application.users import NewUser, PasswordRule
from domain.accounts import Registration
from domain.audit import Action, Outcome
from domain.credentials import PASSWORD_MAX, PasswordCredential
from domain.errors import Conflict, Forbidden, NotAuthenticated, Unavailable
from domain.policies import Actor, Origin
from domain.ports import Clock, Credentials, PasswordHasher, Secrets, Sessions, SignInFailures, Transaction, Users
from domain.sessions import EndReason, SessionId
from domain.users import User, UserId, UserStatus

RegistrationFloor = NewType("RegistrationFloor", Floor)
"""The time that storing a registration takes at least. Not that of sign-in: neither may slow the other down."""


@dataclass(frozen=True, slots=True)
class Registrant:
    """What people say of themselves, as it came in: they choose no role and no scope, and nothing is verified."""

    email: str
    password: str = field(repr=False)
    username: str | None = None
    display_name: str | None = None
    locale: str | None = None

    def user(self, id: UserId, now: datetime) -> User:
        """The account to be; raises Invalid."""
        return NewUser(self.email, self.password, self.username, self.display_name, self.locale).parsed(id, now)


@dataclass(frozen=True, slots=True)
class Register:
    """An account that somebody makes for themselves, where settings allow it; or nothing, without telling them.

    Whether an address or username is taken shows neither in the answer nor in its time: the password is checked and
    hashed before anything is looked up, and what the database then takes is filled up to one length.
    """

    users: Users
    credentials: Credentials
    hasher: PasswordHasher
    password_rule: PasswordRule
    registration: Registration
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction
    floor: RegistrationFloor

    async def __call__(self, registrant: Registrant, origin: Origin) -> None:
        """Raises Invalid, Forbidden (`registration_closed`, `email_domain_not_allowed`) or Overloaded."""
        now = self.clock.now()
        user = registrant.user(UserId(self.secrets.uuid(now)), now)
        self.registration.require(user.email)
        password = await self.password_rule(registrant.password, user.email, user.username, user.display_name)
        hashed = await self.hasher.hash(password)
        began = self.clock.monotonic()
        try:
            await self._add(user, hashed, origin)
        except Conflict as taken:
            await self._record_taken(user, taken.reason_code, origin)
        await self.floor.fill_up(began, 0.0)

    async def _add(self, user: User, hashed: str, origin: Origin) -> None:
        async with self.transaction():
            await self.users.add(user)
            await self.credentials.set_password(PasswordCredential(user.id, hashed, user.created_at))
            await self.trail.record_at_door(origin, Action.USER_REGISTERED, subject=f"user:{user.id}")

    async def _record_taken(self, user: User, reason: str, origin: Origin) -> None:
        """In a transaction of its own: the one that found the name taken can store nothing any more."""
        name = user.username if reason == "username_taken" and user.username is not None else user.email
        async with self.transaction():
            holder = await self.users.by_login(name)
            await self.trail.record_at_door(
                origin,
                Action.USER_REGISTERED,
                subject=f"user:{holder.id}" if holder else None,
                outcome=Outcome.REFUSED,
                reason=reason,
            )


@dataclass(frozen=True, slots=True)
class ProvePassword:
    """Whether whoever holds a token also knows the password of its account, guessed no faster than at sign-in.

    Failures count as failed sign-ins with the e-mail address do, so that a stolen token opens no second row of tries.
    """

    credentials: Credentials
    failures: SignInFailures
    hasher: PasswordHasher
    ring: KeyRing
    trail: Trail
    clock: Clock
    transaction: Transaction
    tries: Tries
    turns: Turns

    async def __call__(self, actor: Actor, user: User, password: str, action: Action) -> PasswordCredential:
        """The credential it was compared with. `action` is what the proof is for, as the trail tells of a wrong one.

        Raises Forbidden (`password_wrong`), Conflict (`password_not_set`), TooManyAttempts or Overloaded.
        """
        key = self.ring.account_key(user.email)
        with self.tries.one_of(key):
            async with self.transaction():
                turn = await self.turns.take(key)
                stored = await self.credentials.password(user.id)
            if stored is None:
                raise Conflict("this account has no password", code="password_not_set")
            if await self._matches(password, stored, key, turn):
                return stored
            await self._count_failure(actor, user, key, action)
        raise Forbidden("the current password is not right", code="password_wrong")

    async def _matches(self, password: str, stored: PasswordCredential, key: bytes, turn: Turn | None) -> bool:
        if len(password) > PASSWORD_MAX:  # refused before hashing: no account can have it
            return False
        try:
            return (await self.hasher.verify(password, stored.hash)).matches
        except Unavailable:
            await self.turns.give_back(key, turn)
            raise

    async def _count_failure(self, actor: Actor, user: User, key: bytes, action: Action) -> None:
        async with self.transaction():
            await self.failures.add(key, self.clock.now())
            await self.trail.record_at_door(
                actor.origin,
                action,
                actor=actor.label,
                subject=f"user:{user.id}",
                outcome=Outcome.REFUSED,
                reason="password_wrong",
            )


@dataclass(frozen=True, slots=True)
class ChangeOwnPassword:
    """A new password for whoever proves to know the old one. It ends all sessions but the one it is asked from."""

    users: Users
    credentials: Credentials
    failures: SignInFailures
    sessions: Sessions
    hasher: PasswordHasher
    password_rule: PasswordRule
    prove: ProvePassword
    ring: KeyRing
    trail: Trail
    clock: Clock
    transaction: Transaction

    async def __call__(self, actor: Actor, current: str, new: str) -> None:
        """Raises Invalid, Forbidden (`password_wrong`), Conflict (`password_not_set`, `password_changed`: by somebody
        who was faster), NotAuthenticated (the session has ended meanwhile), TooManyAttempts or Overloaded."""
        if actor.facts is None or actor.session_id is None:
            raise Forbidden("only whoever is signed in has a password of their own to change")
        session = SessionId(actor.session_id)
        async with self.transaction():
            user = await self.users.find(actor.facts.user_id)
        if user is None:
            raise _session_ended()
        await self.password_rule(new, user.email, user.username, user.display_name, pointer="/new_password")
        proven = await self.prove(actor, user, current, Action.PASSWORD_CHANGED)
        hashed = await self.hasher.hash(new)
        async with self.transaction():
            user = await self._held(user.id, session, proven)
            await self._replace(actor, user, session, hashed)

    async def _held(self, id: UserId, session_id: SessionId, proven: PasswordCredential) -> User:
        """The user, locked, if nothing has happened to account, session and password since they were looked at."""
        user = await self.users.locked(id)  # orders this change against sign-in, suspension and other changes
        session = await self.sessions.find(session_id)
        if user is None or user.status is not UserStatus.ACTIVE or session is None or session.ended_at is not None:
            raise _session_ended()
        stored = await self.credentials.password(id)
        if stored is None or stored.hash != proven.hash:
            raise Conflict("the password has changed meanwhile", code="password_changed")
        return user

    async def _replace(self, actor: Actor, user: User, session: SessionId, hashed: str) -> None:
        now = self.clock.now()
        await self.credentials.set_password(PasswordCredential(user.id, hashed, now))
        for name in filter(None, (user.email, user.username)):
            await self.failures.clear(self.ring.account_key(name))
        present = await self.sessions.find(session)
        kept = {session, present.parent_id} if present is not None else {session}
        others = [s.id for s in await self.sessions.open_of(user.id) if s.id not in kept]
        ended = await self.sessions.end(others, now, EndReason.PASSWORD_CHANGED)
        await self.trail.record(
            actor, Action.PASSWORD_CHANGED, f"user:{user.id}", {"sessions_ended": len(ended)}, scope=user.scope
        )


def _session_ended() -> NotAuthenticated:
    return NotAuthenticated("the session has ended", code="session_ended")
