"""Sign-ins, the families of refresh tokens, and values that are used once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.audit import AuditEvent
from domain.clients import Client, ClientId
from domain.one_time import OneTimeKind, OneTimeValue
from domain.policies import Facts
from domain.sessions import EndReason, Family, FamilyId, Session, SessionId
from domain.users import UserId


class Sessions(Protocol):
    """Sign-ins."""

    async def add(self, session: Session) -> None:
        """Store a new session."""

    async def find(self, id: SessionId) -> Session | None:
        """The session, or None."""

    async def open_of(self, user_id: UserId) -> Sequence[Session]:
        """A user's sessions that have not ended and have no parent, oldest first."""

    async def locked(self, id: SessionId) -> Session | None:
        """The session, held against whatever ends it until the transaction ends."""

    async def open_child(self, parent_id: SessionId, client_id: ClientId) -> Session | None:
        """What the client has of a locked browser session, held against whatever ends it until the transaction ends;
        None if it has ended, also while this waited."""

    async def open_at(self, user_id: UserId, client_id: ClientId) -> Sequence[Session]:
        """A user's sessions at one client that have not ended, with or without a parent, oldest first."""

    async def save(self, session: Session) -> None:
        """Replace a locked session; ending one is for `end`."""

    async def end(self, ids: Collection[SessionId], now: datetime, reason: EndReason) -> Collection[SessionId]:
        """End those sessions, **their children and all their families**, in this transaction, and tell the change feed;
        those of the given that were open until now. What is being added meanwhile is waited for, and ended."""

    async def end_all_of(self, user_id: UserId, now: datetime, reason: EndReason) -> Sequence[SessionId]:
        """End all of a locked user's sessions and families, children and offline ones too; the ids of those open."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A family with all that its exit check asks about, of one moment."""

    family: Family
    session: Session
    client: Client
    facts: Facts


class Families(Protocol):
    """Refresh-token families: one row each, however often it is refreshed."""

    async def add(self, family: Family) -> None:
        """Store a new family."""

    async def find(self, id: FamilyId) -> Family | None:
        """The family as it is, without a lock."""

    async def standing(self, id: FamilyId) -> Standing | None:
        """The family as it is, without a lock, and whom and what it belongs to."""

    async def advance(
        self, id: FamilyId, presented: int, key_id: str, now: datetime, event: AuditEvent
    ) -> Family | None:
        """One conditional update that decides the race, with its audit event: exactly when `rotate` says Rotated.
        The family moved on, or None (look again with `locked`). May stand alone."""

    async def locked(self, id: FamilyId) -> Family | None:
        """The family, held against other writers until the transaction ends."""

    async def save(self, family: Family) -> None:
        """Replace a family read by `locked`."""

    async def end_at(self, client_id: ClientId, now: datetime, reason: EndReason) -> int:
        """End all families of a locked client; how many were open."""

    async def last_rotations(self, ids: Collection[SessionId]) -> Mapping[SessionId, datetime]:
        """The latest `rotated_at` among the families of each of these sessions; those without any are absent."""


class OneTimeValues(Protocol):
    """Values that are used once. Bounded: expired ones make room as others come."""

    async def add(self, value: OneTimeValue) -> None:
        """Store a value; raises Conflict (`one_time_value_known`) for one that is there already, used or not."""

    async def find(self, kind: OneTimeKind, hash: bytes) -> OneTimeValue | None:
        """The value, used or not, as long as it is kept; None for one of another kind."""

    async def redeem(self, kind: OneTimeKind, hash: bytes, now: datetime, made: UUID | None) -> bool:
        """Use it, remembering what that made: of any number that try, exactly one gets True, and none once `now` has
        reached `expires_at`."""
