"""The audit trail."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.audit import Action, AuditEvent, EventId
from domain.ports.transactions import Page
from domain.scopes import Scope


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events: at or below any of `scopes`, matching what is given, from `since` to before `until`; newest
    first."""

    scopes: Collection[Scope]
    actor: str | None = None
    subject: str | None = None
    action: Action | None = None
    since: datetime | None = None
    until: datetime | None = None
    correlation_id: str | None = None
    limit: int = 50
    after: tuple[str, UUID] | None = None


class AuditLog(Protocol):
    """Append-only: nothing here can change or remove an event, and the service's database role cannot either."""

    async def append(self, event: AuditEvent) -> None:
        """Store an event with the change it tells of."""

    async def make_room(self) -> None:
        """Prepare storage for the events of the coming weeks; cheap, and harmless at any time."""

    async def find(self, id: EventId) -> AuditEvent | None:
        """The event, or None."""

    async def page(self, query: AuditQuery) -> Page[AuditEvent]:
        """Events, newest first."""
