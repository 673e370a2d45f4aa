"""Permissions, roles that bundle them, and grants that give roles to people somewhere, for a time."""

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType
from uuid import UUID

from domain.errors import Conflict, Invalid
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserId

GrantId = NewType("GrantId", UUID)

MAX_DEPTH = 32
MAX_PERMISSIONS = 500
DESCRIPTION_MAX = 500
MAX_GRANTS = 500
"""A user's grants in all; each decision about the user looks at them."""
MAX_GLOBAL_GRANTS = 50
"""A user's grants everywhere; each access token names their roles."""
_WORD = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """`resource:action`; either side may be the wildcard `*`. An open value: other services bring their own."""

    resource: str
    action: str

    @classmethod
    def parse(cls, text: str, pointer: str = "/permission") -> "Permission":
        """Read `users:read`, `users:*`, `*:read` or `*:*`; raises Invalid."""
        resource, colon, action = text.partition(":")
        if not colon or not all(part == "*" or _WORD.fullmatch(part) for part in (resource, action)):
            raise Invalid.field(
                pointer,
                "a permission is resource:action in lower case, or * on either side",
                code="permission_malformed",
            )
        return cls(resource, action)

    def covers(self, other: "Permission") -> bool:
        """Whether holding this means holding `other`. A wildcard is covered only by a wildcard."""
        return self.resource in ("*", other.resource) and self.action in ("*", other.action)

    def __str__(self) -> str:
        return f"{self.resource}:{self.action}"


USERS_READ = Permission("users", "read")
USERS_WRITE = Permission("users", "write")
ROLES_READ = Permission("roles", "read")
ROLES_WRITE = Permission("roles", "write")
GRANTS_READ = Permission("grants", "read")
GRANTS_WRITE = Permission("grants", "write")
KEYS_READ = Permission("keys", "read")
KEYS_WRITE = Permission("keys", "write")
SESSIONS_READ = Permission("sessions", "read")
SESSIONS_WRITE = Permission("sessions", "write")
CLIENTS_READ = Permission("clients", "read")
CLIENTS_WRITE = Permission("clients", "write")
EVERYTHING = Permission("*", "*")
AUDIT_READ = Permission("audit", "read")
HEALTH_READ = Permission("health", "read")

OWN_PERMISSIONS: Mapping[Permission, str] = {
    USERS_READ: "see users",
    USERS_WRITE: "create and change users, suspend and reactivate them",
    ROLES_READ: "see roles and permissions",
    ROLES_WRITE: "define, change and remove roles",
    GRANTS_READ: "see who holds which role",
    GRANTS_WRITE: "give and take away roles",
    KEYS_READ: "see the public part and state of keys",
    KEYS_WRITE: "rotate and revoke keys",
    SESSIONS_READ: "see where users are signed in: addresses, devices and times",
    SESSIONS_WRITE: "end sessions of users",
    CLIENTS_READ: "see registered applications",
    CLIENTS_WRITE: "register, change and remove applications, and rotate their secrets",
    AUDIT_READ: "read the audit trail",
    HEALTH_READ: "see the detailed health report",
}
"""What Hexward itself asks for; the list that `/api/v1/permissions` begins with."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named bundle of permissions that also has those of its parents. `version` is the ETag."""

    name: str
    permissions: frozenset[Permission]
    created_at: datetime
    updated_at: datetime
    description: str = ""
    parents: frozenset[str] = frozenset()
    built_in: bool = False
    version: int = 1


ADMIN = "admin"
BUILT_IN_ROLES: Mapping[str, tuple[str, frozenset[Permission]]] = {
    ADMIN: ("Everything, everywhere.", frozenset({EVERYTHING})),
    "manager": (
        "Manages people and the roles they hold.",
        frozenset({USERS_READ, USERS_WRITE, ROLES_READ, GRANTS_READ, GRANTS_WRITE}),
    ),
    "user": ("A person without further rights.", frozenset()),
}
"""Seeded by the first migration (PARITY R15) and never changed or removed through any door."""


def parse_role_name(text: str, pointer: str = "/name") -> str:
    """A role name from input; raises Invalid."""
    if not _NAME.fullmatch(text):
        raise Invalid.field(
            pointer, "a role name has 1 to 64 lower-case letters, digits and . _ -", code="role_name_malformed"
        )
    return text


def parse_description(text: str, pointer: str = "/description") -> str:
    """A description from input; raises Invalid."""
    if len(text) > DESCRIPTION_MAX or not all(c.isprintable() or c == "\n" for c in text):
        raise Invalid.field(pointer, f"at most {DESCRIPTION_MAX} printable characters", code="description_malformed")
    return text


@dataclass(frozen=True, slots=True)
class Grant:
    """A role held by a user at `scope` and below, from `starts_at` (None: at once) until `expires_at` (None: until
    revoked). `granted_by` names the actor, such as `user:<id>` or `operator:<name>`."""

    id: GrantId
    user_id: UserId
    role: str
    granted_by: str
    created_at: datetime
    scope: Scope = EVERYWHERE
    starts_at: datetime | None = None
    expires_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Started and not yet expired: the start is inclusive, the end is not."""
        return (self.starts_at is None or self.starts_at <= now) and (self.expires_at is None or now < self.expires_at)

    def makes_administrator(self, now: datetime) -> bool:
        """A direct, unending `admin` grant everywhere; whoever holds one while active is an administrator."""
        return self.role == ADMIN and self.scope == EVERYWHERE and self.expires_at is None and self.in_force(now)


def check_room(held: Collection[Grant], scope: Scope) -> None:
    """Raises Conflict where one more grant at `scope` would be too many for one user."""
    everywhere = sum(grant.scope == EVERYWHERE for grant in held)
    if len(held) >= MAX_GRANTS or (scope == EVERYWHERE and everywhere >= MAX_GLOBAL_GRANTS):
        raise Conflict(
            f"a user can hold {MAX_GRANTS} grants, {MAX_GLOBAL_GRANTS} of them everywhere", code="too_many_grants"
        )


def check_times(starts_at: datetime | None, expires_at: datetime | None, now: datetime) -> None:
    """Raises Invalid for a grant that would never be in force."""
    if expires_at is not None and (expires_at <= now or (starts_at is not None and expires_at <= starts_at)):
        raise Invalid.field("/expires_at", "the end lies in the past or before the start", code="times_malformed")


@dataclass(frozen=True, slots=True)
class Held:
    """A permission and the path of roles it comes through, the granted role first."""

    permission: Permission
    path: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """All roles at one moment, as one immutable snapshot. `version` is the global rules version."""

    roles: Mapping[str, Role]
    version: int = 0
    _expanded: dict[str, tuple[Held, ...]] = field(default_factory=dict, repr=False, compare=False)

    def expand(self, role: str) -> tuple[Held, ...]:
        """Every permission of a role and of its ancestors, with the path each comes through; empty if unknown.

        Visits each ancestor once, so that neither diamonds nor a cycle (which the use cases refuse) can loop.
        """
        if (known := self._expanded.get(role)) is not None:
            return known
        held: list[Held] = []
        seen: set[str] = set()
        frontier: deque[tuple[str, ...]] = deque([(role,)])
        while frontier:
            path = frontier.popleft()
            if path[-1] in seen or (found := self.roles.get(path[-1])) is None:
                continue
            seen.add(path[-1])
            held.extend(Held(p, path) for p in sorted(found.permissions))
            frontier.extend((*path, parent) for parent in sorted(found.parents - seen))
        self._expanded[role] = tuple(held)
        return self._expanded[role]

    def permissions_of(self, role: str) -> frozenset[Permission]:
        """The permissions of a role and of its ancestors."""
        return frozenset(held.permission for held in self.expand(role))

    def with_role(self, role: Role) -> "Rules":
        """The rules as they would be with `role` defined or replaced."""
        return Rules({**self.roles, role.name: role}, self.version)


def check_parents(role: Role, rules: Rules) -> None:
    """Raises Invalid for unknown parents, and Conflict for a cycle or a chain too long to explain."""
    if unknown := sorted(role.parents - rules.roles.keys() - {role.name}):
        raise Invalid.field("/parents", f"no role named {', '.join(unknown)}", code="role_unknown")
    candidate = rules.with_role(role)
    if role.name in _ancestors(role.name, candidate):
        raise Conflict("a role cannot be its own ancestor", code="role_cycle")
    if _generations(candidate) > MAX_DEPTH:
        raise Conflict(f"roles can have at most {MAX_DEPTH} generations of parents", code="role_depth")


def _generations(rules: Rules) -> int:
    """The longest chain of parents anywhere; the rules must hold no cycle."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            parents = rules.roles[name].parents & rules.roles.keys()
            depth[name] = 1 + max((of(parent) for parent in parents), default=-1)
        return depth[name]

    return max(map(of, rules.roles), default=0)


def _ancestors(role: str, rules: Rules) -> set[str]:
    seen: set[str] = set()
    frontier = list(rules.roles[role].parents)
    while frontier:
        name = frontier.pop()
        if name not in seen and name in rules.roles:
            seen.add(name)
            frontier.extend(rules.roles[name].parents)
    return seen


def global_roles(grants: Iterable[Grant], now: datetime) -> tuple[str, ...]:
    """The roles in force everywhere, sorted. A scoped role read as a global one would be an escalation."""
    return tuple(sorted({g.role for g in grants if g.scope == EVERYWHERE and g.in_force(now)}))


def check_administrator_remains(administrators: frozenset[UserId], leaving: UserId) -> None:
    """Raises Conflict if nobody would be left who can repair the rest (PARITY R08).

    `administrators` must have been read under their lock, so that two of them cannot leave at the same moment.
    """
    if administrators == {leaving}:
        raise Conflict("this is the last administrator; make somebody else one first", code="last_administrator")
