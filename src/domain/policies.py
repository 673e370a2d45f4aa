"""May this actor do this, and why? The one guard of every use case.

`decide` is pure: what it looks at are its arguments, so every decision can be replayed. It fails closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.clients import API_SCOPE, Client
from domain.errors import Forbidden
from domain.roles import ADMIN, EVERYTHING, Grant, GrantId, Permission, Rules
from domain.scopes import EVERYWHERE, Scope, widest
from domain.users import User, UserId, UserStatus


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored about a subject and counts for decisions. `authv` is the subject's authority version."""

    user_id: UserId
    status: UserStatus
    grants: tuple[Grant, ...]
    authv: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """One piece of why: which grant, through which roles, or what is missing. `code` is stable, `text` for people."""

    code: str
    text: str
    grant: GrantId | None = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or deny, with reasons as data and the versions of the data it was taken at."""

    allowed: bool
    reasons: tuple[Reason, ...]
    authv: int = 0
    rules_version: int = 0

    @property
    def reason(self) -> str:
        """The reasons as one sentence for people."""
        return "; ".join(r.text for r in self.reasons)

    def __bool__(self) -> bool:
        raise TypeError("a decision is not a truth value: use .allowed or require()")


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """May the subject use `permission` at `scope`, at the moment `at`?"""

    permission: Permission
    scope: Scope
    at: datetime


def decide(request: AccessRequest, facts: Facts, rules: Rules) -> Decision:
    """Deny unless an active subject has a grant in force, at or above the scope, whose role holds the permission."""
    versions = (facts.authv, rules.version)
    if facts.status is not UserStatus.ACTIVE:
        return Decision(False, (Reason("not_active", f"the account is {facts.status}"),), *versions)
    lapsed: Reason | None = None
    for grant in facts.grants:
        if not grant.scope.reaches(request.scope):
            continue
        for held in rules.expand(grant.role):
            if held.permission.covers(request.permission):
                if grant.in_force(request.at):
                    return Decision(True, (_through(grant, held.path, held.permission),), *versions)
                lapsed = Reason(
                    "grant_not_in_force",
                    f"the grant of {grant.role} at {grant.scope} is not in force",
                    grant.id,
                    held.path,
                )
    missing = Reason("no_grant", f"no role grants {request.permission} at {request.scope}")
    return Decision(False, (lapsed or missing,), *versions)


def _through(grant: Grant, path: tuple[str, ...], permission: Permission) -> Reason:
    chain = " -> ".join(path)
    return Reason("granted", f"{chain} holds {permission}, granted at {grant.scope}", grant.id, path)


def holds_throughout(
    permission: Permission, scope: Scope, since: datetime, until: datetime | None, facts: Facts, rules: Rules
) -> bool:
    """Whether the grants together hold `permission` at `scope` at every moment of `[since, until)`; None: for ever.

    Of an empty span nothing can be held: fail closed.
    """
    if until is not None and until <= since:
        return False
    spans = sorted(
        (
            (g.starts_at, g.expires_at)
            for g in facts.grants
            if g.scope.reaches(scope) and any(h.permission.covers(permission) for h in rules.expand(g.role))
        ),
        key=lambda span: (span[0] is not None, span[0] or since),
    )
    reached = since
    for starts_at, expires_at in spans:
        if starts_at is not None and starts_at > reached:
            return False
        if expires_at is None:
            return True
        reached = max(reached, expires_at)
        if until is not None and reached >= until:
            return True
    return False


class ActorKind(StrEnum):
    """Where an actor comes from: a verified token, the local command, or a named job of the service itself."""

    USER = "user"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for the audit trail: the door, the address, and the id that its log lines share."""

    door: str = "system"
    address: str | None = None
    correlation_id: str | None = None
    user_agent: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, with what they hold at this moment. Built only by the three constructors below."""

    kind: ActorKind
    name: str
    at: datetime
    rules: Rules
    facts: Facts | None
    origin: Origin
    session_id: UUID | None = None

    @classmethod
    def from_token(cls, facts: Facts, rules: Rules, at: datetime, session_id: UUID, origin: Origin) -> "Actor":
        """The holder of a verified token, with live facts (never those written in the token)."""
        return cls(ActorKind.USER, str(facts.user_id), at, rules, facts, origin, session_id)

    @classmethod
    def operator(cls, name: str, rules: Rules, at: datetime, origin: Origin, as_user: Facts | None = None) -> "Actor":
        """The person at the command, who holds database and master key; with `as_user`, only that user's rights."""
        return cls(ActorKind.OPERATOR, name, at, rules, as_user, origin)

    @classmethod
    def system(cls, job: str, rules: Rules, at: datetime) -> "Actor":
        """A job of the service itself, such as its first start."""
        return cls(ActorKind.SYSTEM, job, at, rules, None, Origin(door="system"))

    @property
    def label(self) -> str:
        """`user:<id>`, `operator:<name>` or `system:<job>`, as grants and audit events record it."""
        return f"{self.kind}:{self.name}"

    @property
    def unbounded(self) -> bool:
        """The local operator (without --as) and system jobs can always act, so that every installation can recover."""
        return self.facts is None and self.kind is not ActorKind.USER

    def decide(self, permission: Permission, scope: Scope) -> Decision:
        """The decision for this actor, now."""
        if self.facts is None:
            if self.unbounded:
                return Decision(True, (Reason("local", f"{self.kind} {self.name} acts with full rights"),))
            return Decision(False, (Reason("unknown_subject", "nothing is known about the caller"),))
        return decide(AccessRequest(permission, scope, self.at), self.facts, self.rules)

    def covers(self, permission: Permission, scope: Scope, since: datetime, until: datetime | None) -> bool:
        """Whether the actor holds `permission` at `scope` during the whole of `[since, until)`."""
        if self.facts is None:
            return self.unbounded
        return self.facts.status is UserStatus.ACTIVE and holds_throughout(
            permission, scope, max(since, self.at), until, self.facts, self.rules
        )

    def scopes(self, permission: Permission) -> tuple[Scope, ...]:
        """The widest scopes at which the actor holds `permission` now: what list queries filter by."""
        if self.facts is None:
            return (EVERYWHERE,) if self.unbounded else ()
        if self.facts.status is not UserStatus.ACTIVE:
            return ()
        return widest(
            {
                g.scope
                for g in self.facts.grants
                if g.in_force(self.at) and any(h.permission.covers(permission) for h in self.rules.expand(g.role))
            }
        )


def require(decision: Decision) -> None:
    """Raises Forbidden with the reason unless allowed; a forgotten `return` can never mean yes."""
    if not decision.allowed:
        raise Forbidden(decision.reason)


def may_hold_out(
    actor: Actor, permissions: Iterable[Permission], scope: Scope, since: datetime, until: datetime | None
) -> Decision:
    """Nobody gives, defines or takes over authority they do not cover there, for all of that time."""
    missing = sorted(p for p in set(permissions) if not actor.covers(p, scope, since, until))
    if missing:
        listed = ", ".join(map(str, missing))
        lasting = "" if until is None else f" until {until.isoformat()}"
        return Decision(False, (Reason("not_covered", f"the actor does not hold {listed} at {scope}{lasting}"),))
    return Decision(True, (Reason("covered", f"the actor holds all of it at {scope}"),))


def may_grant(
    actor: Actor, permission: Permission, role: str, scope: Scope, since: datetime, until: datetime | None
) -> Decision:
    """Whether the actor may use `permission` (grants:write) there and covers everything the role holds.

    The role `admin` asks for `*:*` even if it were emptied, because it is what makes administrators.
    """
    allowed = actor.decide(permission, scope)
    if not allowed.allowed:
        return allowed
    if role not in actor.rules.roles:
        return Decision(False, (Reason("role_unknown", f"nothing is known of the role {role}"),))
    needed = set(actor.rules.permissions_of(role))
    if role == ADMIN:
        needed.add(EVERYTHING)
    return may_hold_out(actor, needed, scope, since, until)


def may_control(actor: Actor, permission: Permission, target: User, held: Facts) -> Decision:
    """Whether the actor may change an account: the permission at its scope, and all authority the account holds.

    A change of password or e-mail takes an account over, and suspending a stronger account disarms it (PARITY R08).
    Grants that have lapsed do not count; those that have not begun do.
    """
    allowed = actor.decide(permission, target.scope)
    if not allowed.allowed or (actor.facts is not None and actor.facts.user_id == target.id):
        return allowed
    for grant in held.grants:
        if grant.expires_at is not None and grant.expires_at <= actor.at:
            continue
        if grant.role not in actor.rules.roles:  # too new to be judged: fail closed
            return Decision(False, (Reason("role_unknown", f"nothing is known of the role {grant.role}"),))
        since = max(grant.starts_at or actor.at, actor.at)
        covered = may_hold_out(actor, actor.rules.permissions_of(grant.role), grant.scope, since, grant.expires_at)
        if not covered.allowed:
            return covered
    return allowed


def may_control_client(actor: Actor, permission: Permission, client: Client) -> Decision:
    """Whether the actor may change an application: the permission at its place and, where the application is stronger
    than that, all authority there is.

    One that may ask for our own scope acts with all rights of whoever signs in, and a trusted one is given what it asks
    for without anybody being asked: who controls one of these could become anybody (PARITY R08).
    """
    allowed = actor.decide(permission, client.scope_path)
    if not allowed.allowed or not (client.trusted or API_SCOPE in client.scopes):
        return allowed
    return may_hold_out(actor, [EVERYTHING], EVERYWHERE, actor.at, None)
