"""What the memory store holds, and how it is ordered and filtered into pages."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from uuid import UUID

from adapters.memory.transaction import MemoryTransaction, Table
from domain.audit import AuditEvent, EventId
from domain.clients import Client, ClientId
from domain.consents import Consent
from domain.credentials import Failures, PasswordCredential
from domain.idempotency import Answered
from domain.keys import Key
from domain.one_time import OneTimeKind, OneTimeValue
from domain.ports import Installation, Page
from domain.roles import BUILT_IN_ROLES, Grant, GrantId, Role
from domain.scopes import Scope
from domain.sessions import Family, FamilyId, Session, SessionId
from domain.upkeep import Upkept
from domain.users import User, UserId

SEEDED_AT = datetime(2026, 1, 1, tzinfo=UTC)
ONLY = "only"
"""The key of tables that hold a single row."""


class Tables:
    """Every table of the store."""

    def __init__(self, transaction: MemoryTransaction, clients: Iterable[Client]) -> None:
        self.transaction = transaction
        self.users: Table[UserId, User] = Table(transaction)
        self.emails: Table[str, UserId] = Table(transaction)
        self.usernames: Table[str, UserId] = Table(transaction)
        self.sign_ins: Table[UserId, datetime] = Table(transaction)
        self.passwords: Table[UserId, PasswordCredential] = Table(transaction)
        self.failures: Table[bytes, Failures] = Table(transaction)
        self.roles: Table[str, Role] = Table(transaction)
        self.rules_version: Table[str, int] = Table(transaction)
        self.authority: Table[UserId, int] = Table(transaction)
        self.grants: Table[GrantId, Grant] = Table(transaction)
        self.clients: Table[ClientId, Client] = Table(transaction)
        self.consents: Table[tuple[UserId, ClientId], Consent] = Table(transaction)
        self.one_time_values: Table[tuple[OneTimeKind, bytes], OneTimeValue] = Table(transaction)
        self.sessions: Table[SessionId, Session] = Table(transaction)
        self.families: Table[FamilyId, Family] = Table(transaction)
        self.keys: Table[str, Key] = Table(transaction)
        self.events: Table[EventId, AuditEvent] = Table(transaction)
        self.answers: Table[bytes, Answered] = Table(transaction)
        self.installation: Table[str, Installation] = Table(transaction)
        self.upkeep: Table[str, Upkept] = Table(transaction)
        for name, (description, permissions) in BUILT_IN_ROLES.items():
            self.roles.seed(name, Role(name, permissions, SEEDED_AT, SEEDED_AT, description, built_in=True))
        for client in clients:
            self.clients.seed(client.id, client)
        self.installation.seed(ONLY, Installation(epoch=1, secret=None, prepared_at=None))


def reached(scopes: Collection[Scope], scope: Scope) -> bool:
    """Whether any of the scopes reaches this one."""
    return any(wide.reaches(scope) for wide in scopes)


def page_of[T](
    rows: Iterable[T],
    position: Callable[[T], tuple[str, UUID]],
    *,
    after: tuple[str, UUID] | None,
    descending: bool,
    limit: int,
) -> Page[T]:
    """The rows that follow `after`, in order of their positions; texts compare by code point."""
    ordered = sorted(rows, key=position, reverse=descending)
    if after is not None:
        ordered = [row for row in ordered if (position(row) < after if descending else position(row) > after)]
    items = ordered[:limit]
    return Page(items, position(items[-1]) if len(ordered) > limit else None)
