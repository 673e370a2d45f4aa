"""Roles and grants: define what can be held, give it and take it away."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from application.audit import Trail, require_any
from application.authority import Reread
from application.repetition import safe_to_repeat
from domain.audit import Action, Details
from domain.errors import Conflict, Invalid, NotFound, Stale
from domain.policies import Actor, Decision, Facts, may_grant, may_hold_out, require
from domain.ports import Changes, Clock, GrantQuery, Grants, Page, Roles, Secrets, Transaction, Users
from domain.roles import (
    GRANTS_READ,
    GRANTS_WRITE,
    MAX_PERMISSIONS,
    OWN_PERMISSIONS,
    ROLES_READ,
    ROLES_WRITE,
    USERS_READ,
    Grant,
    GrantId,
    Permission,
    Role,
    Rules,
    check_administrator_remains,
    check_parents,
    check_room,
    check_times,
    parse_description,
    parse_role_name,
)
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserId, UserStatus


@dataclass(frozen=True, slots=True)
class ListRoles:
    """All roles by name."""

    roles: Roles
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor) -> Sequence[Role]:
        """Raises Forbidden."""
        require(actor.decide(ROLES_READ, EVERYWHERE))
        async with self.transaction():
            rules = await self.roles.rules()
        return [rules.roles[name] for name in sorted(rules.roles)]

    async def one(self, actor: Actor, name: str) -> Role:
        """The role of that name; raises Forbidden or NotFound."""
        for role in await self(actor):
            if role.name == name:
                return role
        raise NotFound("no such role")


@dataclass(frozen=True, slots=True)
class ListPermissions:
    """Permissions that Hexward asks for, with what they mean, and those that roles name for other services."""

    roles: Roles
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor) -> Mapping[Permission, str]:
        """Raises Forbidden."""
        require(actor.decide(ROLES_READ, EVERYWHERE))
        async with self.transaction():
            rules = await self.roles.rules()
        named = {p for role in rules.roles.values() for p in role.permissions}
        return {**OWN_PERMISSIONS, **dict.fromkeys(sorted(named - OWN_PERMISSIONS.keys()), "")}


@dataclass(frozen=True, slots=True)
class RoleChanges:
    """What to define or change; only `fields` of these count when a role is changed."""

    fields: Collection[str]
    description: str | None = None
    permissions: Collection[str] = ()
    parents: Collection[str] = ()

    def apply(self, role: Role, now: datetime) -> Role:
        """The changed role, one version on, or the same role if nothing differs; raises Invalid."""
        changed = role
        if "description" in self.fields:
            changed = replace(changed, description=parse_description(self.description or ""))
        if "permissions" in self.fields:
            if len(self.permissions) > MAX_PERMISSIONS:
                raise Invalid.field("/permissions", f"at most {MAX_PERMISSIONS} permissions", code="too_many")
            parsed = frozenset(Permission.parse(p, f"/permissions/{i}") for i, p in enumerate(self.permissions))
            changed = replace(changed, permissions=parsed)
        if "parents" in self.fields:
            named = frozenset(parse_role_name(p, f"/parents/{i}") for i, p in enumerate(self.parents))
            changed = replace(changed, parents=named)
        return role if changed == role else replace(changed, version=role.version + 1, updated_at=now)


def _require_cover(actor: Actor, rules: Rules, role: str, now: datetime) -> None:
    """Raises Forbidden unless the actor holds, everywhere and without end, all that the role gives."""
    require(may_hold_out(actor, rules.permissions_of(role), EVERYWHERE, now, None))


@dataclass(frozen=True, slots=True)
class DefineRole:
    """A new role out of permissions and parents that the actor holds."""

    roles: Roles
    reread: Reread
    changes: Changes
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, name: str, content: RoleChanges) -> Role:
        """Raises Forbidden, Invalid, or Conflict (`role_exists`, `role_cycle`)."""
        require(actor.decide(ROLES_WRITE, EVERYWHERE))
        now = self.clock.now()
        blank = Role(parse_role_name(name), frozenset(), now, now)
        role = replace(content.apply(blank, now), version=1)
        async with self.transaction():
            rules = await self.roles.locked()
            actor = await self.reread(actor)
            if name in rules.roles:
                raise Conflict("a role of this name exists", code="role_exists")
            check_parents(role, rules)
            _require_cover(actor, rules.with_role(role), name, now)
            await self.roles.add(role)
            await self.changes.rules()
            await self.trail.record(actor, Action.ROLE_CREATED, f"role:{name}", _described(role))
        return role


@dataclass(frozen=True, slots=True)
class ChangeRole:
    """Change what a role gives to everybody who holds it."""

    roles: Roles
    reread: Reread
    changes: Changes
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, name: str, version: int | None, content: RoleChanges) -> Role:
        """Raises Forbidden, NotFound, Stale, Invalid, or Conflict (`role_built_in`, `role_cycle`)."""
        require(actor.decide(ROLES_WRITE, EVERYWHERE))
        now = self.clock.now()
        async with self.transaction():
            rules = await self.roles.locked()
            actor = await self.reread(actor)
            role = _changeable(rules, name, version)
            changed = content.apply(role, now)
            if changed is role:
                return role
            check_parents(changed, rules)
            _require_cover(actor, rules, name, now)
            _require_cover(actor, rules.with_role(changed), name, now)
            await self.roles.save(changed)
            await self.changes.rules()
            await self.trail.record(actor, Action.ROLE_UPDATED, f"role:{name}", _described(changed))
        return changed


@dataclass(frozen=True, slots=True)
class RemoveRole:
    """Remove a role that nobody holds and no role builds on."""

    roles: Roles
    reread: Reread
    changes: Changes
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, name: str, version: int | None) -> None:
        """Raises Forbidden, NotFound, Stale, or Conflict (`role_built_in`, `role_in_use`)."""
        require(actor.decide(ROLES_WRITE, EVERYWHERE))
        async with self.transaction():
            rules = await self.roles.locked()
            actor = await self.reread(actor)
            _changeable(rules, name, version)
            _require_cover(actor, rules, name, self.clock.now())
            await self.roles.remove(name)
            await self.changes.rules()
            await self.trail.record(actor, Action.ROLE_DELETED, f"role:{name}")


def _changeable(rules: Rules, name: str, version: int | None) -> Role:
    role = rules.roles.get(name)
    if role is None:
        raise NotFound("no such role")
    if version is not None and role.version != version:
        raise Stale("the role has changed since it was read")
    if role.built_in:
        raise Conflict(
            "built-in roles cannot be changed or removed; define a role with this one as its parent",
            code="role_built_in",
        )
    return role


def _described(role: Role) -> Details:
    return {"permissions": " ".join(map(str, sorted(role.permissions))), "parents": " ".join(sorted(role.parents))}


@dataclass(frozen=True, slots=True)
class GrantRole:
    """Give a role to a user at a scope, for a time; never more than the actor holds (PARITY R08)."""

    users: Users
    grants: Grants
    reread: Reread
    changes: Changes
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction

    @safe_to_repeat
    async def __call__(
        self,
        actor: Actor,
        user_id: UserId,
        role: str,
        scope: Scope = EVERYWHERE,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        *,
        replacing: bool = False,
    ) -> Grant:
        """The grant. With `replacing`, an existing one gets these times, and the same again changes nothing.

        Raises Invalid, NotFound, Forbidden, or Conflict (`grant_exists`, `user_status`, `last_administrator`).
        """
        now = self.clock.now()
        check_times(starts_at, expires_at, now)
        async with self.transaction():
            actor = await self.reread(actor)
            if role not in actor.rules.roles:
                raise Invalid.field("/role", "there is no such role", code="role_unknown")
            require(may_grant(actor, GRANTS_WRITE, role, scope, starts_at or now, expires_at))
            user = await self.users.locked(user_id)
            now = self.clock.now()  # after the wait for the lock: what is in force may have changed meanwhile
            if user is None or user.status is UserStatus.DELETED:
                raise NotFound("no such user")
            existing = await self.grants.find_by(user_id, role, scope)
            if existing is None:
                if user.status is UserStatus.SUSPENDED:
                    raise Conflict("the account is suspended; reactivate it first", code="user_status")
                check_room(await self.grants.of_user(user_id), scope)
                grant = Grant(
                    GrantId(self.secrets.uuid(now)), user_id, role, actor.label, now, scope, starts_at, expires_at
                )
                await self.grants.add(grant)
                action = Action.GRANT_CREATED
            else:
                if not replacing:
                    raise Conflict("this role is granted there already", code="grant_exists")
                grant = replace(existing, starts_at=starts_at, expires_at=expires_at, granted_by=actor.label)
                if (existing.starts_at, existing.expires_at) == (starts_at, expires_at):
                    return existing
                require(_may_take_away(actor, existing, now))  # shortening takes away as well
                if existing.makes_administrator(now) and not grant.makes_administrator(now):
                    check_administrator_remains(await self.grants.administrators(now), user_id)
                await self.grants.save(grant)
                action = Action.GRANT_UPDATED
            if scope == EVERYWHERE:  # the user's `roles` change, so the ETag does
                await self.users.save(user.changed(now))
            await self.changes.authority(user_id)
            await self.trail.record(actor, action, f"user:{user_id}", _told(grant))
        return grant


@dataclass(frozen=True, slots=True)
class RevokeGrant:
    """Take a role away; never from somebody the actor could not have given it to."""

    users: Users
    grants: Grants
    reread: Reread
    changes: Changes
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: GrantId) -> None:
        """Raises NotFound, Forbidden, or Conflict (`last_administrator`)."""
        async with self.transaction():
            actor = await self.reread(actor)
            seen = await self.grants.find(id)
            if seen is not None:
                await self.users.locked(seen.user_id)
            await self._remove(actor, await self.grants.find(id))

    @safe_to_repeat
    async def by_role(self, actor: Actor, user_id: UserId, role: str, scope: Scope = EVERYWHERE) -> None:
        """Take away the role at exactly that scope; raises as above. Taking away what is not held is no error."""
        async with self.transaction():
            actor = await self.reread(actor)
            require(actor.decide(GRANTS_WRITE, scope))
            user = await self.users.locked(user_id)
            if user is None or user.status is UserStatus.DELETED:
                raise NotFound("no such user")
            grant = await self.grants.find_by(user_id, role, scope)
            if grant is not None:
                await self._remove(actor, grant)

    async def _remove(self, actor: Actor, grant: Grant | None) -> None:
        require_any(actor, actor.scopes(GRANTS_WRITE), "grants:write")
        if grant is None:
            raise NotFound("no such grant")
        now = self.clock.now()
        require(_may_take_away(actor, grant, now))
        if grant.makes_administrator(now):
            check_administrator_remains(await self.grants.administrators(now), grant.user_id)
        await self.grants.remove(grant.id)
        user = await self.users.find(grant.user_id)
        if user is not None and grant.scope == EVERYWHERE:
            await self.users.save(user.changed(now))
        await self.changes.authority(grant.user_id)
        await self.trail.record(actor, Action.GRANT_REVOKED, f"user:{grant.user_id}", _told(grant))


def _may_take_away(actor: Actor, grant: Grant, now: datetime) -> Decision:
    """Only what the actor could give for the rest of its time; of a lapsed grant nothing is left to cover."""
    if grant.expires_at is not None and grant.expires_at <= now:
        return actor.decide(GRANTS_WRITE, grant.scope)
    return may_grant(actor, GRANTS_WRITE, grant.role, grant.scope, max(grant.starts_at or now, now), grant.expires_at)


def _told(grant: Grant) -> Details:
    return {
        "grant": str(grant.id),
        "role": grant.role,
        "at_scope": str(grant.scope),
        "starts_at": grant.starts_at.isoformat() if grant.starts_at else None,
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
    }


@dataclass(frozen=True, slots=True)
class ListGrants:
    """Who holds which role where, as far as the actor may see it; one's own always."""

    grants: Grants
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, query: GrantQuery) -> Page[Grant]:
        """Raises Forbidden for an actor who may see none."""
        own = actor.facts is not None and query.user_id == actor.facts.user_id
        scopes = (EVERYWHERE,) if own else actor.scopes(GRANTS_READ)
        require_any(actor, scopes, "grants:read")
        async with self.transaction():
            return await self.grants.page(replace(query, scopes=scopes))

    async def one(self, actor: Actor, id: GrantId) -> Grant:
        """One grant; raises NotFound, also for what the actor may not see."""
        scopes = actor.scopes(GRANTS_READ)
        async with self.transaction():
            grant = await self.grants.find(id)
        own = grant is not None and actor.facts is not None and grant.user_id == actor.facts.user_id
        if not own:
            require_any(actor, scopes, "grants:read")
        if grant is None or not (own or any(s.reaches(grant.scope) for s in scopes)):
            raise NotFound("no such grant")
        return grant


@dataclass(frozen=True, slots=True)
class EffectivePermission:
    """A permission a user holds now, where, and through which roles."""

    permission: Permission
    scope: Scope
    path: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class EffectivePermissions:
    """Everything a user may do now, and why."""

    users: Users
    roles: Roles
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId) -> Sequence[EffectivePermission]:
        """Sorted by scope and permission. Raises Forbidden, or NotFound also for what the actor may not see."""
        own = actor.facts is not None and actor.facts.user_id == id
        visible = actor.scopes(GRANTS_READ)
        if not own:
            require_any(actor, visible, "grants:read")
        async with self.transaction():
            user = await self.users.find(id)
            facts = await self.users.facts(id)
            rules = await self.roles.rules()
        readable = actor.scopes(USERS_READ)
        if user is None or facts is None or not (own or any(s.reaches(user.scope) for s in readable)):
            raise NotFound("no such user")
        now = self.clock.now()
        shown = [
            EffectivePermission(held.permission, grant.scope, held.path, grant.expires_at)
            for grant in _counting(facts, now)
            if own or any(s.reaches(grant.scope) for s in visible)
            for held in rules.expand(grant.role)
        ]
        return sorted(shown, key=lambda e: (e.scope, e.permission, e.path))


def _counting(facts: Facts, now: datetime) -> Sequence[Grant]:
    """The grants that count now: none for an account that is not active."""
    return [g for g in facts.grants if g.in_force(now)] if facts.status is UserStatus.ACTIVE else []
