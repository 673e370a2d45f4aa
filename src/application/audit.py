"""Writing and reading the audit trail."""

from dataclasses import dataclass, replace

from application.repetition import safe_to_repeat
from domain.audit import Action, AuditEvent, Details, EventId, Outcome, by_actor, by_origin
from domain.policies import Actor, Decision, Origin, Reason, require
from domain.ports import AuditLog, AuditQuery, Clock, Page, Secrets, Transaction
from domain.roles import AUDIT_READ
from domain.scopes import EVERYWHERE, Scope

NOTHING: Details = {}


@dataclass(frozen=True, slots=True)
class Trail:
    """Records events inside the transaction of the change they tell of."""

    log: AuditLog
    clock: Clock
    secrets: Secrets

    async def record(
        self,
        actor: Actor,
        action: Action,
        subject: str | None,
        details: Details = NOTHING,
        *,
        scope: Scope = EVERYWHERE,
        reason: str | None = None,
    ) -> None:
        """What a known actor did."""
        event = by_actor(self._id(), self.clock.now(), actor, action, subject, scope, details)
        await self.log.append(replace(event, reason=reason))

    async def record_at_door(
        self,
        origin: Origin,
        action: Action,
        *,
        actor: str = "anonymous",
        subject: str | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        reason: str | None = None,
        details: Details = NOTHING,
    ) -> None:
        """What happened before, or without, an actor."""
        now = self.clock.now()
        await self.log.append(by_origin(self._id(), now, origin, action, actor, subject, outcome, reason, details))

    def event(self, origin: Origin, action: Action, actor: str, subject: str) -> AuditEvent:
        """A success to be stored together with the change itself, in one statement."""
        now = self.clock.now()
        return by_origin(self._id(), now, origin, action, actor, subject, Outcome.SUCCESS, None, NOTHING)

    def _id(self) -> EventId:
        return EventId(self.secrets.uuid(self.clock.now()))


@dataclass(frozen=True, slots=True)
class ListAuditEvents:
    """The trail, newest first, as far as the actor may see it."""

    log: AuditLog
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, query: AuditQuery) -> Page[AuditEvent]:
        """Raises Forbidden for an actor that may see none of it."""
        scopes = actor.scopes(AUDIT_READ)
        require_any(actor, scopes, "audit:read")
        async with self.transaction():
            return await self.log.page(replace(query, scopes=scopes))


def require_any(actor: Actor, scopes: tuple[Scope, ...], permission: str) -> None:
    """For lists: an actor who holds the permission nowhere is refused, instead of being shown an empty list."""
    if not scopes:
        reason = Reason("no_grant", f"no role grants {permission} anywhere")
        require(Decision(False, (reason,), *((actor.facts.authv,) if actor.facts else ())))
