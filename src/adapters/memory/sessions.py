"""Sessions and refresh-token families in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adapters.memory.tables import Tables
from adapters.memory.users import MemoryUsers
from domain.audit import AuditEvent
from domain.clients import ClientId
from domain.ports import Change, ChangeKind, Standing
from domain.sessions import EndReason, Family, FamilyId, Rotated, Session, SessionId, rotate
from domain.users import UserId


@dataclass(frozen=True, slots=True)
class MemorySessions:
    tables: Tables

    async def add(self, session: Session) -> None:
        self.tables.sessions.put(session.id, session)

    async def find(self, id: SessionId) -> Session | None:
        return self.tables.sessions.get(id)

    async def open_of(self, user_id: UserId) -> Sequence[Session]:
        return [s for s in self._open(user_id) if s.parent_id is None]

    async def locked(self, id: SessionId) -> Session | None:
        return self.tables.sessions.get(id)

    async def open_child(self, parent_id: SessionId, client_id: ClientId) -> Session | None:
        found = [s for s in self._children([parent_id]) if s.client_id == client_id]
        return min(found, key=lambda s: s.id, default=None)

    async def open_at(self, user_id: UserId, client_id: ClientId) -> Sequence[Session]:
        return [s for s in self._open(user_id) if s.client_id == client_id]

    async def save(self, session: Session) -> None:
        self.tables.sessions.put(session.id, session)

    async def end(self, ids: Collection[SessionId], now: datetime, reason: EndReason) -> Collection[SessionId]:
        closed = []
        for id in ids:
            session = self.tables.sessions.get(id)
            if session is not None and session.ended_at is None:
                self.tables.sessions.put(id, replace(session, ended_at=now, end_reason=reason))
                self.tables.transaction.announce(Change(ChangeKind.SESSION, str(id)))
                closed.append(id)
        for family in self.tables.families.all():
            if family.session_id in ids:
                self.tables.families.put(family.id, family.ended(now, reason))
        if children := self._children(ids):
            await self.end([child.id for child in children], now, reason)
        return closed

    async def end_all_of(self, user_id: UserId, now: datetime, reason: EndReason) -> Sequence[SessionId]:
        ids = [session.id for session in self._open(user_id)]
        await self.end(ids, now, reason)
        return ids

    def _open(self, user_id: UserId) -> list[Session]:
        found = (s for s in self.tables.sessions.all() if s.user_id == user_id and s.ended_at is None)
        return sorted(found, key=lambda s: (s.created_at, s.id))

    def _children(self, ids: Collection[SessionId]) -> list[Session]:
        return [s for s in self.tables.sessions.all() if s.parent_id in ids and s.ended_at is None]


@dataclass(frozen=True, slots=True)
class MemoryFamilies:
    tables: Tables

    async def add(self, family: Family) -> None:
        self.tables.families.put(family.id, family)

    async def find(self, id: FamilyId) -> Family | None:
        return self.tables.families.get(id)

    async def standing(self, id: FamilyId) -> Standing | None:
        family = self.tables.families.get(id)
        if family is None:
            return None
        session, client = self.tables.sessions.get(family.session_id), self.tables.clients.get(family.client_id)
        facts = await MemoryUsers(self.tables).facts(family.user_id)
        if session is None or client is None or facts is None:
            raise RuntimeError("a family refers to what is not there")
        return Standing(family, session, client, facts)

    async def advance(
        self, id: FamilyId, presented: int, key_id: str, now: datetime, event: AuditEvent
    ) -> Family | None:
        family = self.tables.families.get(id)
        outcome = None if family is None else rotate(family, presented, key_id, now)
        if not isinstance(outcome, Rotated):
            return None
        self.tables.families.put(id, outcome.family)
        self.tables.events.put(event.id, event)
        return outcome.family

    async def locked(self, id: FamilyId) -> Family | None:
        return self.tables.families.get(id)

    async def save(self, family: Family) -> None:
        self.tables.families.put(family.id, family)

    async def end_at(self, client_id: ClientId, now: datetime, reason: EndReason) -> int:
        found = [f for f in self.tables.families.all() if f.client_id == client_id and f.ended_at is None]
        for family in found:
            self.tables.families.put(family.id, family.ended(now, reason))
        return len(found)

    async def last_rotations(self, ids: Collection[SessionId]) -> Mapping[SessionId, datetime]:
        latest: dict[SessionId, datetime] = {}
        for family in self.tables.families.all():
            if family.session_id in ids:
                at = latest.get(family.session_id, family.rotated_at)
                latest[family.session_id] = max(at, family.rotated_at)
        return latest
