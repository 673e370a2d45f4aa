"""Users: create, find, change, suspend, reactivate, delete, set a password."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from application.audit import Trail, require_any
from application.authority import Reread
from application.keys import KeyRing
from application.repetition import safe_to_repeat
from domain.audit import Action
from domain.credentials import PasswordCredential, check_password
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from domain.policies import Actor, Facts, may_control, may_grant, require
from domain.ports import (
    BreachedPasswords,
    Changes,
    Clock,
    Credentials,
    Grants,
    Page,
    PasswordHasher,
    Secrets,
    Sessions,
    SignInFailures,
    Transaction,
    UserQuery,
    Users,
)
from domain.roles import (
    GRANTS_WRITE,
    MAX_GLOBAL_GRANTS,
    USERS_READ,
    USERS_WRITE,
    Grant,
    GrantId,
    Permission,
    check_administrator_remains,
    global_roles,
)
from domain.scopes import EVERYWHERE, Scope
from domain.sessions import EndReason
from domain.users import (
    User,
    UserId,
    UserStatus,
    parse_display_name,
    parse_email,
    parse_locale,
    parse_username,
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user with the roles in force everywhere."""

    user: User
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewUser:
    """What to create, as it came in: nothing here is parsed yet."""

    email: str
    password: str | None = None
    username: str | None = None
    display_name: str | None = None
    locale: str | None = None
    roles: tuple[str, ...] = ()
    scope: str = "*"
    email_verified: bool = False

    def parsed(self, id: UserId, now: datetime) -> User:
        """The account to be: with a password active, without one invited. Raises Invalid."""
        return User(
            id=id,
            email=parse_email(self.email),
            username=None if self.username is None else parse_username(self.username),
            display_name=None if self.display_name is None else parse_display_name(self.display_name),
            locale=None if self.locale is None else parse_locale(self.locale),
            scope=Scope.parse(self.scope),
            status=UserStatus.ACTIVE if self.password is not None else UserStatus.INVITED,
            email_verified=self.email_verified,
            created_at=now,
            updated_at=now,
        )


@dataclass(frozen=True, slots=True)
class PasswordRule:
    """What is accepted as a password: the domain's rule, and not known to attackers."""

    breached: BreachedPasswords

    async def __call__(self, password: str, *context: str | None, pointer: str = "/password") -> str:
        """The password; raises Invalid."""
        check_password(password, context=[c for c in context if c], pointer=pointer)
        if await self.breached.contains(password):
            raise Invalid.field(pointer, "this password is known to attackers", code="password_breached")
        return password


@dataclass(frozen=True, slots=True)
class CreateUser:
    """A new account, with a password (active) or without (invited), and its roles: all of it or nothing."""

    users: Users
    credentials: Credentials
    grants: Grants
    reread: Reread
    changes: Changes
    hasher: PasswordHasher
    password_rule: PasswordRule
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, new: NewUser) -> Account:
        """Raises Invalid, Forbidden, or Conflict (`email_taken`, `username_taken`)."""
        now = self.clock.now()
        user = new.parsed(UserId(self.secrets.uuid(now)), now)
        require(actor.decide(USERS_WRITE, user.scope))  # before any expensive work
        hashed = None
        if new.password is not None:
            password = await self.password_rule(new.password, user.email, user.username, user.display_name)
            hashed = await self.hasher.hash(password)
        async with self.transaction():
            await self._require_right_to(actor, user, new.roles, now)
            await self.users.add(user)
            if hashed is not None:
                await self.credentials.set_password(PasswordCredential(user.id, hashed, now))
            await self.trail.record(actor, Action.USER_CREATED, f"user:{user.id}", scope=user.scope)
            for role in dict.fromkeys(new.roles):
                grant = Grant(GrantId(self.secrets.uuid(now)), user.id, role, actor.label, now)
                await self.grants.add(grant)
                await self.trail.record(
                    actor,
                    Action.GRANT_CREATED,
                    f"user:{user.id}",
                    {"grant": str(grant.id), "role": role, "at_scope": "*"},
                )
            await self.changes.authority(user.id)
        return Account(user, tuple(sorted(set(new.roles))))

    async def _require_right_to(self, actor: Actor, user: User, roles: Collection[str], now: datetime) -> None:
        actor = await self.reread(actor)
        require(actor.decide(USERS_WRITE, user.scope))
        if len(set(roles)) > MAX_GLOBAL_GRANTS:
            raise Invalid.field("/roles", f"at most {MAX_GLOBAL_GRANTS} roles", code="too_many_grants")
        for role in roles:
            if role not in actor.rules.roles:
                raise Invalid.field("/roles", "there is no such role", code="role_unknown")
            require(may_grant(actor, GRANTS_WRITE, role, EVERYWHERE, now, None))


@dataclass(frozen=True, slots=True)
class ShowUser:
    """One account, as far as the actor may see it; one's own always."""

    users: Users
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId) -> Account:
        """Raises NotFound, also for what the actor may not see, and Forbidden if they may see nobody."""
        own = actor.facts is not None and actor.facts.user_id == id
        scopes = (EVERYWHERE,) if own else actor.scopes(USERS_READ)
        require_any(actor, scopes, "users:read")
        async with self.transaction.reading():
            user = await self.users.find(id)
            facts = actor.facts if own else await self.users.facts(id)
        if user is None or facts is None or not any(s.reaches(user.scope) for s in scopes):
            raise NotFound("no such user")
        return Account(user, global_roles(facts.grants, self.clock.now()))

    async def by_login(self, actor: Actor, identifier: str) -> Account:
        """The account of an e-mail address or username; raises NotFound likewise."""
        async with self.transaction():
            user = await self.users.by_login(identifier)
        if user is None:
            require_any(actor, actor.scopes(USERS_READ), "users:read")
            raise NotFound("no such user")
        return await self(actor, user.id)


@dataclass(frozen=True, slots=True)
class ListUsers:
    """The accounts the actor may see, in order, with their roles."""

    users: Users
    grants: Grants
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, query: UserQuery) -> Page[Account]:
        """Raises Forbidden for an actor who may see nobody."""
        scopes = actor.scopes(USERS_READ)
        require_any(actor, scopes, "users:read")
        async with self.transaction():
            page = await self.users.page(replace(query, scopes=scopes))
            grants: Mapping[UserId, Sequence[Grant]] = await self.grants.of_users([u.id for u in page.items])
        now = self.clock.now()
        return Page([Account(u, global_roles(grants.get(u.id, ()), now)) for u in page.items], page.after)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """The ground every change of an account stands on: lock it, check the version and the actor's right to it."""

    users: Users
    grants: Grants
    reread: Reread
    changes: Changes
    sessions: Sessions
    trail: Trail
    clock: Clock
    transaction: Transaction

    async def held(
        self,
        actor: Actor,
        id: UserId,
        version: int | None,
        *,
        writing: Permission = USERS_WRITE,
        reading: Permission = USERS_READ,
    ) -> User:
        """The user, locked. Raises NotFound, Forbidden or Stale. `version` None: the caller did not ask for a check.

        `writing` is the permission the change asks for; whoever lacks `reading` as well sees no such user.
        """
        user = await self.users.locked(id)
        actor = await self.reread(actor)  # after the wait for the lock
        writable = actor.scopes(writing)
        require_any(actor, writable, str(writing))
        seen = (*writable, *actor.scopes(reading))
        if user is None or user.status is UserStatus.DELETED or not any(s.reaches(user.scope) for s in seen):
            raise NotFound("no such user")
        held = Facts(id, user.status, tuple(await self.grants.of_user(id)))
        require(may_control(actor, writing, user, held))
        if version is not None and user.version != version:
            raise Stale("the user has changed since it was read")
        return user

    async def keep_an_administrator(self, leaving: UserId, now: datetime) -> None:
        """Raises Conflict if this was the last administrator, also when two leave at the same moment."""
        check_administrator_remains(await self.grants.administrators(now), leaving)

    async def shut_out(self, user: User, now: datetime, reason: EndReason) -> int:
        """End every session of the user and tell every worker; how many there were."""
        ended = await self.sessions.end_all_of(user.id, now, reason)
        await self.changes.authority(user.id)
        return len(ended)


def refuse_own(actor: Actor, id: UserId, what: str) -> None:
    """Raises Forbidden for one's own account: a stolen token must not be enough to keep it.

    One's own credentials change with proof, not by the right to manage others.
    """
    if actor.facts is not None and actor.facts.user_id == id:
        raise Forbidden(f"your own {what} cannot be changed by way of managing users", code="own_account")


@dataclass(frozen=True, slots=True)
class UserChanges:
    """A merge patch: what is absent stays, None clears. Only `fields` of these are to be changed."""

    fields: Collection[str]
    email: str | None = None
    username: str | None = None
    display_name: str | None = None
    locale: str | None = None

    def apply(self, user: User, now: datetime) -> User:
        """The changed user, one version on, or the same user if nothing differs; raises Invalid."""
        changes: dict[str, object] = {}
        if "email" in self.fields:
            if self.email is None:
                raise Invalid.field("/email", "an account has an e-mail address", code="email_required")
            changes["email"] = parse_email(self.email)
            if changes["email"] != user.email:
                changes["email_verified"] = False
        if "username" in self.fields:
            changes["username"] = None if self.username is None else parse_username(self.username)
        if "display_name" in self.fields:
            changes["display_name"] = None if self.display_name is None else parse_display_name(self.display_name)
        if "locale" in self.fields:
            changes["locale"] = None if self.locale is None else parse_locale(self.locale)
        changes = {name: value for name, value in changes.items() if getattr(user, name) != value}
        return user.changed(now, **changes) if changes else user


SELF_SERVICE = frozenset({"display_name", "username", "locale"})
"""What people may change about themselves; an e-mail address needs proof, which comes by mail."""


@dataclass(frozen=True, slots=True)
class UpdateUser:
    """Change what an account says about a person."""

    account: AccountChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId, version: int | None, changes: UserChanges) -> Account:
        """Raises NotFound, Forbidden, Stale, Invalid or Conflict."""
        work = self.account
        async with work.transaction():
            user = await work.held(actor, id, version)
            if "email" in changes.fields and changes.email != user.email:
                refuse_own(actor, id, "e-mail address")
            return await self._save(actor, user, changes)

    @safe_to_repeat
    async def own(self, actor: Actor, version: int | None, changes: UserChanges) -> Account:
        """Change one's own profile, without any permission; raises Forbidden for an e-mail address."""
        if actor.facts is None:
            raise Forbidden("only people have a profile")
        if refused := sorted(set(changes.fields) - SELF_SERVICE):
            raise Forbidden(f"{', '.join(refused)} cannot be changed this way", code="not_self_service")
        work = self.account
        async with work.transaction():
            user = await work.users.locked(actor.facts.user_id)
            if user is None or user.status is not UserStatus.ACTIVE:
                raise NotFound("no such user")
            if version is not None and user.version != version:
                raise Stale("the profile has changed since it was read")
            return await self._save(actor, user, changes)

    async def _save(self, actor: Actor, user: User, changes: UserChanges) -> Account:
        work = self.account
        now = work.clock.now()
        changed = changes.apply(user, now)
        if changed is not user:
            await work.users.save(changed)
            await work.trail.record(
                actor,
                Action.USER_UPDATED,
                f"user:{user.id}",
                {"fields": " ".join(sorted(changes.fields))},
                scope=user.scope,
            )
        return Account(changed, global_roles(await work.grants.of_user(user.id), now))


@dataclass(frozen=True, slots=True)
class SuspendUser:
    """Every door shut at once: sign-in, refresh, and tokens already out."""

    account: AccountChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId) -> Account:
        """Raises NotFound, Forbidden, or Conflict (`user_status`, `last_administrator`)."""
        work = self.account
        async with work.transaction():
            user = await work.held(actor, id, None)
            now = work.clock.now()
            suspended = user.suspended(now)
            await work.keep_an_administrator(id, now)
            await work.users.save(suspended)
            ended = await work.shut_out(user, now, EndReason.SUSPENDED)
            await work.trail.record(
                actor, Action.USER_SUSPENDED, f"user:{id}", {"sessions_ended": ended}, scope=user.scope
            )
            return Account(suspended, global_roles(await work.grants.of_user(id), now))


@dataclass(frozen=True, slots=True)
class ReactivateUser:
    """Let a suspended person back in; their old sessions stay ended."""

    account: AccountChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId) -> Account:
        """Raises NotFound, Forbidden, or Conflict (`user_status`)."""
        work = self.account
        async with work.transaction():
            user = await work.held(actor, id, None)
            now = work.clock.now()
            reactivated = user.reactivated(now)
            await work.users.save(reactivated)
            await work.changes.authority(id)
            await work.trail.record(actor, Action.USER_REACTIVATED, f"user:{id}", scope=user.scope)
            return Account(reactivated, global_roles(await work.grants.of_user(id), now))


@dataclass(frozen=True, slots=True)
class DeleteUser:
    """Wipe a person's data and keep the id, so that the audit trail keeps its meaning."""

    account: AccountChange
    credentials: Credentials

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId, version: int | None) -> None:
        """Raises NotFound, Forbidden, Stale, or Conflict (`last_administrator`)."""
        work = self.account
        async with work.transaction():
            user = await work.held(actor, id, version)
            now = work.clock.now()
            await work.keep_an_administrator(id, now)
            await work.users.save(user.purged(now))
            await self.credentials.remove(id)
            for grant in await work.grants.of_user(id):
                await work.grants.remove(grant.id)
            ended = await work.shut_out(user, now, EndReason.DELETED)
            await work.trail.record(
                actor, Action.USER_DELETED, f"user:{id}", {"sessions_ended": ended}, scope=user.scope
            )


@dataclass(frozen=True, slots=True)
class SetPassword:
    """Give an account a new password; every session ends, and an invited account becomes active."""

    account: AccountChange
    credentials: Credentials
    failures: SignInFailures
    hasher: PasswordHasher
    password_rule: PasswordRule
    ring: KeyRing

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId, password: str) -> None:
        """Raises NotFound, Forbidden, Invalid, or Conflict for a suspended account."""
        work = self.account
        refuse_own(actor, id, "password")
        async with work.transaction():
            user = await work.held(actor, id, None)  # the right to it, before any expensive work
        await self.password_rule(password, user.email, user.username, user.display_name)
        hashed = await self.hasher.hash(password)
        async with work.transaction():
            user = await work.held(actor, id, None)
            if user.status is UserStatus.SUSPENDED:
                raise Conflict("the account is suspended; reactivate it first", code="user_status")
            now = work.clock.now()
            if user.status is UserStatus.INVITED:
                await work.users.save(user.changed(now, status=UserStatus.ACTIVE))
            await self.credentials.set_password(PasswordCredential(id, hashed, now))
            for name in filter(None, (user.email, user.username)):
                await self.failures.clear(self.ring.account_key(name))
            ended = await work.shut_out(user, now, EndReason.PASSWORD_CHANGED)
            await work.trail.record(
                actor, Action.PASSWORD_SET, f"user:{id}", {"sessions_ended": ended}, scope=user.scope
            )
