"""Sessions and refresh-token families in PostgreSQL."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, exists, func, insert, literal_column, select, update

from adapters.postgres.audit import EVENT_COLUMNS, write_event
from adapters.postgres.changes import announce
from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.tables import audit_events, families, sessions
from domain.audit import AuditEvent
from domain.clients import ClientId
from domain.ports import ChangeKind
from domain.sessions import EndReason, Family, FamilyId, Session, SessionId
from domain.users import UserId

KEPT_AFTER_END = timedelta(days=30)
"""How long a session that is over can still be looked at."""
_REMOVED_PER_SESSION = 2

_FIND_SESSION = Hot(select(sessions).where(sessions.c.id == bindparam("id")))
_FIND_FAMILY = Hot(select(families).where(families.c.id == bindparam("id")))

# The race is decided here: of any number that present the same generation, one finds the counter as it was, and the
# others wait for its row and then find it changed. The conditions are those of `rotate` for Rotated.
_MOVED = (
    update(families)
    .where(families.c.id == bindparam("family_id"), families.c.counter == bindparam("presented"))
    .where(families.c.ended_at.is_(None))
    .where(func.least(families.c.expires_at, families.c.rotated_at + families.c.idle) > bindparam("now"))
    .values(counter=families.c.counter + literal_column("1"))
    .values(key_id=bindparam("new_key_id"), rotated_at=bindparam("now"))
    .returning(families)
    .cte("moved")
)
_LOGGED = (
    insert(audit_events)
    .from_select(
        list(EVENT_COLUMNS),
        select(*(bindparam(f"event_{c.name}", type_=c.type) for c in EVENT_COLUMNS.values())).select_from(_MOVED),
    )
    .cte("logged")
)
_ADVANCE = Hot(select(_MOVED).add_cte(_LOGGED))


@dataclass(frozen=True, slots=True)
class PostgresSessions:
    database: Database

    async def add(self, session: Session) -> None:
        await self.database.execute(insert(sessions).values(write_session(session)))
        await self._sweep(session.created_at - KEPT_AFTER_END)

    async def find(self, id: SessionId) -> Session | None:
        rows = await self.database.fetch(_FIND_SESSION, id=id)
        return read_session(rows[0]) if rows else None

    async def open_of(self, user_id: UserId) -> Sequence[Session]:
        statement = select(sessions).where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
        rows = await self.database.rows(statement.order_by(sessions.c.created_at, sessions.c.id))
        return [read_session(row) for row in rows]

    async def end(self, ids: Collection[SessionId], now: datetime, reason: EndReason) -> Collection[SessionId]:
        if not ids:
            return ()
        ended = {"ended_at": now, "end_reason": reason}
        # Families first: a refresh that finds a theft holds its family and then asks for the session. One that is
        # just being refreshed is waited for, and ended as it is then.
        open_families = update(families).where(families.c.session_id.in_(ids), families.c.ended_at.is_(None))
        await self.database.execute(open_families.values(ended))
        open_sessions = update(sessions).where(sessions.c.id.in_(ids), sessions.c.ended_at.is_(None))
        closed = await self.database.rows(open_sessions.values(ended).returning(sessions.c.id))
        await announce(self.database, ChangeKind.SESSION, sorted(str(row["id"]) for row in closed))
        return [SessionId(row["id"]) for row in closed]

    async def end_all_of(self, user_id: UserId, now: datetime, reason: EndReason) -> Sequence[SessionId]:
        ids = [session.id for session in await self.open_of(user_id)]
        await self.end(ids, now, reason)
        return ids

    async def _sweep(self, before: datetime) -> None:
        """Remove some sessions that were over by then. Families first, as `end` does it, and never waiting: what
        somebody else holds can go another time."""
        over = func.least(sessions.c.ended_at, sessions.c.expires_at)
        some = select(sessions.c.id).where(over < before).order_by(over).limit(_REMOVED_PER_SESSION)
        ids = [row["id"] for row in await self.database.rows(some)]
        if not ids:
            return
        for table, key in ((families, families.c.session_id), (sessions, sessions.c.id)):
            free = select(table.c.id).where(key.in_(ids)).with_for_update(skip_locked=True)
            if table is sessions:
                free = free.where(~exists().where(families.c.session_id == sessions.c.id))
            chosen = free.cte("chosen")
            await self.database.execute(delete(table).where(table.c.id.in_(select(chosen.c.id))))


@dataclass(frozen=True, slots=True)
class PostgresFamilies:
    database: Database

    async def add(self, family: Family) -> None:
        await self.database.execute(insert(families).values(write_family(family)))

    async def find(self, id: FamilyId) -> Family | None:
        rows = await self.database.fetch(_FIND_FAMILY, id=id)
        return read_family(rows[0]) if rows else None

    async def advance(
        self, id: FamilyId, presented: int, key_id: str, now: datetime, event: AuditEvent
    ) -> Family | None:
        logged = {f"event_{name}": value for name, value in write_event(event).items()}
        logged["event_details"] = json.dumps(logged["event_details"])  # SQLAlchemy would do it, but is not asked here
        moved = {"family_id": id, "presented": presented, "new_key_id": key_id, "now": now}
        rows = await self.database.fetch(_ADVANCE, **moved, **logged)
        return read_family(rows[0]) if rows else None

    async def locked(self, id: FamilyId) -> Family | None:
        row = await self.database.row(select(families).where(families.c.id == id).with_for_update(key_share=True))
        return None if row is None else read_family(row)

    async def save(self, family: Family) -> None:
        await self.database.execute(update(families).where(families.c.id == family.id).values(write_family(family)))

    async def last_rotations(self, ids: Collection[SessionId]) -> Mapping[SessionId, datetime]:
        if not ids:
            return {}
        latest = select(families.c.session_id, func.max(families.c.rotated_at).label("at"))
        rows = await self.database.rows(latest.where(families.c.session_id.in_(ids)).group_by(families.c.session_id))
        return {SessionId(row["session_id"]): row["at"] for row in rows}


def read_session(row: Row) -> Session:
    return Session(
        id=SessionId(row["id"]),
        user_id=UserId(row["user_id"]),
        client_id=ClientId(row["client_id"]),
        created_at=row["created_at"],
        auth_time=row["auth_time"],
        amr=tuple(row["amr"]),
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
        address=row["address"],
        user_agent=row["user_agent"],
        ended_at=row["ended_at"],
        end_reason=_reason(row),
    )


def write_session(session: Session) -> Mapping[str, Any]:
    return {
        "id": session.id,
        "user_id": session.user_id,
        "client_id": session.client_id,
        "created_at": session.created_at,
        "auth_time": session.auth_time,
        "amr": list(session.amr),
        "last_used_at": session.last_used_at,
        "expires_at": session.expires_at,
        "address": session.address,
        "user_agent": session.user_agent,
        "ended_at": session.ended_at,
        "end_reason": session.end_reason,
    }


def read_family(row: Row) -> Family:
    return Family(
        id=FamilyId(row["id"]),
        session_id=SessionId(row["session_id"]),
        user_id=UserId(row["user_id"]),
        client_id=ClientId(row["client_id"]),
        counter=row["counter"],
        key_id=row["key_id"],
        epoch=row["epoch"],
        created_at=row["created_at"],
        rotated_at=row["rotated_at"],
        idle=row["idle"],
        expires_at=row["expires_at"],
        ended_at=row["ended_at"],
        end_reason=_reason(row),
    )


def write_family(family: Family) -> Mapping[str, Any]:
    return {
        "id": family.id,
        "session_id": family.session_id,
        "user_id": family.user_id,
        "client_id": family.client_id,
        "counter": family.counter,
        "key_id": family.key_id,
        "epoch": family.epoch,
        "created_at": family.created_at,
        "rotated_at": family.rotated_at,
        "idle": family.idle,
        "expires_at": family.expires_at,
        "ended_at": family.ended_at,
        "end_reason": family.end_reason,
    }


def _reason(row: Row) -> EndReason | None:
    return None if row["end_reason"] is None else EndReason(row["end_reason"])
