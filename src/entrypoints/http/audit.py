"""The audit trail."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import msgspec
from dishka import FromDishka
from litestar import Controller, Request, Response, get
from litestar.params import QueryParameter

from application.audit import ListAuditEvents
from domain.audit import Action, AuditEvent, Outcome
from domain.errors import Invalid
from domain.policies import Actor
from domain.ports import AuditQuery
from entrypoints.http.moments import Moment, read
from entrypoints.http.paging import Cursor, Limit, Listing, listing, position
from entrypoints.http.problems import described

Filter = Annotated[str | None, QueryParameter(max_length=200, required=False)]
Since = Annotated[
    str | None, QueryParameter(required=False, description="With time zone.", schema_extra={"format": "date-time"})
]


class AuditEventReply(msgspec.Struct, frozen=True):
    """Who (`actor`) did what (`action`) to whom (`subject`), from where, and how it ended."""

    id: UUID
    at: Moment
    actor: str
    action: str
    subject: str | None
    outcome: Outcome
    reason: str | None
    scope: str
    door: str
    address: str | None
    correlation_id: str | None
    details: Mapping[str, str | int | bool | None]


def event_reply(event: AuditEvent) -> AuditEventReply:
    """The event as callers see it."""
    return AuditEventReply(
        event.id,
        event.at,
        event.actor,
        event.action,
        event.subject,
        event.outcome,
        event.reason,
        str(event.scope),
        event.door,
        event.address,
        event.correlation_id,
        dict(event.details),
    )


class AuditController(Controller):
    """Append-only."""

    path = "/audit-events"
    tags = ["Audit"]

    @get("/", summary="List audit events", responses=described(400, 401, 403, 422, 503))
    async def list_events(
        self,
        request: Request[Any, Any, Any],
        actor: FromDishka[Actor],
        events: FromDishka[ListAuditEvents],
        by: Annotated[str | None, QueryParameter(name="actor", max_length=200, required=False)] = None,
        subject: Filter = None,
        action: Annotated[Action | None, QueryParameter(required=False)] = None,
        correlation_id: Filter = None,
        since: Since = None,
        until: Since = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[Listing[AuditEventReply]]:
        """Newest first; filters are combined."""
        query = AuditQuery(
            (),
            _text(by, "/actor"),
            _text(subject, "/subject"),
            action,
            read(since, "/since"),
            read(until, "/until"),
            _text(correlation_id, "/correlation_id"),
            limit,
            position(cursor, "audit"),
        )
        return listing(request, await events(actor, query), "audit", event_reply)


def _text(value: str | None, pointer: str) -> str | None:
    if value is not None and not value.isprintable():
        raise Invalid.field(pointer, "not printable text", code="malformed")
    return value
