"""`hexward audit`: who did what to whom, and how it ended."""

from datetime import datetime
from typing import Any

import click

from domain.ports import Page
from domain.users import is_id
from entrypoints.cli.desk import Desk, at_desk
from entrypoints.cli.frame import Group
from entrypoints.cli.kinds import Moment
from entrypoints.cli.output import Position, Span, put_page, span_options

KINDS = ("user:", "operator:", "system:", "client:", "role:", "key:")


@click.group(cls=Group)
def audit() -> None:
    """Read the audit trail."""


@audit.command(
    "list",
    examples=(
        "hexward audit list --since 24h",
        "hexward audit list --subject zoe@example.org --action user.suspended",
        "hexward audit list --actor operator:root --all --json",
    ),
)
@click.option("--actor", metavar="WHO", help="Who did it: a USER, or as the trail writes it, such as operator:root.")
@click.option("--subject", metavar="WHO", help="To whom: a USER, or as the trail writes it, such as role:manager.")
@click.option("--action", metavar="NAME", help="What was done, such as user.created.")
@click.option("--since", type=Moment("before"), metavar="TIME", help="From then on: a time, or how long ago, as 24h.")
@click.option("--until", type=Moment("before"), metavar="TIME", help="Until then, likewise.")
@click.option("--correlation-id", metavar="ID", help="Of one request: the X-Request-ID it was answered with.")
@span_options
def list_events(
    actor: str | None,
    subject: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    correlation_id: str | None,
    span: Span,
) -> None:
    """List audit events, newest first. Filters are combined."""

    async def work(desk: Desk) -> Any:
        from application.audit import ListAuditEvents
        from domain.ports import AuditQuery

        events = await desk.get(ListAuditEvents)
        by, to, done = await _named(desk, actor), await _named(desk, subject), _action(action)

        async def page(limit: int, after: Position) -> Any:
            return await events(desk.actor, AuditQuery((), by, to, done, since, until, correlation_id, limit, after))

        return await span.read("audit", page)

    found: Page[Any] = at_desk(work)
    put_page(found, "audit", _reply, ("TIME", "ACTOR", "ACTION", "SUBJECT", "OUTCOME", "FROM", "DETAILS"), _row)


async def _named(desk: Desk, name: str | None) -> str | None:
    """A user by any of their names as the trail writes them; deleted ones are still found by their id."""
    if name is None or name == "anonymous" or name.startswith(KINDS):
        return name
    return f"user:{name.lower() if is_id(name) else await desk.user_id(name)}"


def _action(name: str | None) -> Any:
    from domain.audit import Action
    from domain.errors import Invalid

    if name is None:
        return None
    try:
        return Action(name)
    except ValueError:
        known = ", ".join(Action)
        raise Invalid.field("/action", f"there is no such action; there are {known}", code="action_unknown") from None


def _reply(event: Any) -> Any:
    from entrypoints.http.audit import event_reply

    return event_reply(event)


def _row(event: Any) -> tuple[object, ...]:
    outcome = event.outcome if event.reason is None else f"{event.outcome}: {event.reason}"
    details = [f"{name}={value}" for name, value in event.details.items()]
    return event.at, event.actor, event.action, event.subject, outcome, event.address or event.door, details
