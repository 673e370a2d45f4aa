"""The audit trail in PostgreSQL, and the partitions it lives in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, false, func, insert, select

from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.queries import following, parameters, storable, within
from adapters.postgres.tables import audit_events
from domain.audit import Action, AuditEvent, EventId, Outcome
from domain.ports import AuditQuery, Page
from domain.scopes import EVERYWHERE, Scope

PARTITIONS_AHEAD = 3
"""Months. Events of a month without a partition go to the default one, and move when theirs is made."""

_SLACK = timedelta(hours=1)
"""Ids follow the clock of the process that makes them and `at` the same, save for a clock that is set back."""

EVENT_COLUMNS = {column.name: column for column in audit_events.c}
_APPEND = Hot(insert(audit_events).values(parameters(audit_events)))


@dataclass(frozen=True, slots=True)
class PostgresAuditLog:
    database: Database

    async def append(self, event: AuditEvent) -> None:
        await self.database.fetch(_APPEND, **write_event(event))

    async def make_room(self) -> None:
        await _call(self.database, func.hexward.ensure_audit_partitions(PARTITIONS_AHEAD))

    async def find(self, id: EventId) -> AuditEvent | None:
        row = await self.database.row(select(audit_events).where(audit_events.c.id == id))
        return None if row is None else read_event(row)

    async def page(self, query: AuditQuery) -> Page[AuditEvent]:
        table = audit_events
        statement = select(table).where(within(table.c.scope, query.scopes))
        if EVERYWHERE not in query.scopes:  # implied, and said so that the index of the other scopes serves
            statement = statement.where(table.c.scope != _spelt_out(EVERYWHERE.path))
        for column, wanted in (
            (table.c.actor, query.actor),
            (table.c.subject, query.subject),
            (table.c.correlation_id, query.correlation_id),
        ):
            if wanted is not None:
                statement = statement.where(column == wanted if storable(wanted) else false())
        if query.action is not None:
            statement = statement.where(table.c.action == _spelt_out(query.action.value))
        if query.since is not None:
            statement = statement.where(table.c.at >= query.since, table.c.id >= _first_id(query.since, -_SLACK))
        if query.until is not None:
            statement = statement.where(table.c.at < query.until, table.c.id < _first_id(query.until, _SLACK))
        statement = following(statement, None, table.c.id, query.after, descending=True)
        rows = await self.database.rows(statement.limit(query.limit + 1))
        items = [read_event(row) for row in rows[: query.limit]]
        return Page(items, ("", items[-1].id) if len(rows) > query.limit else None)


async def ensure_partitions(database: Database, months: int = PARTITIONS_AHEAD) -> int:
    """Make the partitions of this month and of `months` more; how many were missing. Raises Unavailable."""
    async with database.transaction():
        return await _call(database, func.hexward.ensure_audit_partitions(months))


async def _call(database: Database, function: ColumnElement[Any]) -> int:
    row = await database.row(select(function.label("count")))
    return 0 if row is None else int(row["count"])


def read_event(row: Row) -> AuditEvent:
    return AuditEvent(
        id=EventId(row["id"]),
        at=row["at"],
        actor=row["actor"],
        action=Action(row["action"]),
        subject=row["subject"],
        outcome=Outcome(row["outcome"]),
        reason=row["reason"],
        scope=Scope(row["scope"]),
        door=row["door"],
        address=row["address"],
        correlation_id=row["correlation_id"],
        details=row["details"],
    )


def write_event(event: AuditEvent) -> Mapping[str, Any]:
    """The columns of an event, for hot statements."""
    return {
        "id": event.id,
        "at": event.at,
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "outcome": event.outcome,
        "reason": event.reason,
        "scope": event.scope.path,
        "door": event.door,
        "address": event.address,
        "correlation_id": event.correlation_id,
        "details": json.dumps(dict(event.details)) if event.details else "{}",
    }


def _spelt_out(value: str) -> ColumnElement[Any]:
    """A constant of ours, written into the statement: an index that leaves values out serves no parameter."""
    return bindparam(None, value, literal_execute=True)


def _first_id(moment: datetime, later: timedelta) -> UUID:
    """The smallest UUIDv7 (RFC 9562, 5.7) of that much later than a moment, which may be any that can be written."""
    millis = int((moment.timestamp() + later.total_seconds()) * 1000)
    return UUID(int=min(max(millis, 0), (1 << 48) - 1) << 80)
