"""The audit trail in memory."""

from dataclasses import dataclass

from adapters.memory.tables import Tables, page_of, reached
from domain.audit import AuditEvent, EventId
from domain.ports import AuditQuery, Page


@dataclass(frozen=True, slots=True)
class MemoryAuditLog:
    tables: Tables

    async def append(self, event: AuditEvent) -> None:
        if self.tables.events.get(event.id) is not None:
            raise RuntimeError("an audit event is never replaced")
        self.tables.events.put(event.id, event)

    async def make_room(self) -> None:
        """There always is some."""

    async def find(self, id: EventId) -> AuditEvent | None:
        return self.tables.events.get(id)

    async def page(self, query: AuditQuery) -> Page[AuditEvent]:
        return page_of(
            (event for event in self.tables.events.all() if _matches(event, query)),
            lambda event: ("", event.id),
            after=None if query.after is None else ("", query.after[1]),
            descending=True,
            limit=query.limit,
        )


def _matches(event: AuditEvent, query: AuditQuery) -> bool:
    asked = (
        (query.actor, event.actor),
        (query.subject, event.subject),
        (query.action, event.action),
        (query.correlation_id, event.correlation_id),
    )
    return (
        all(wanted is None or wanted == found for wanted, found in asked)
        and (query.since is None or query.since <= event.at)
        and (query.until is None or event.at < query.until)
        and reached(query.scopes, event.scope)
    )
