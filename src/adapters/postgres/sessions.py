"""Sessions and refresh-token families in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Uuid, any_, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.audit import EVENT_COLUMNS, write_event
from adapters.postgres.changes import announce
from adapters.postgres.clients import read_client
from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.queries import parameters, prefixed, storable
from adapters.postgres.tables import audit_events, clients, families, grants, sessions, users
from adapters.postgres.users import read_facts
from domain.audit import AuditEvent
from domain.clients import ClientId
from domain.ports import ChangeKind, Standing
from domain.sessions import EndReason, Family, FamilyId, Session, SessionId
from domain.users import UserId

KEPT_AFTER_END = timedelta(days=30)
"""How long a session that is over can still be looked at."""
_REMOVED_PER_SESSION = 2

_ID: BindParameter[UUID] = bindparam("id")
_USER_ID: BindParameter[UserId] = bindparam("user_id")
_SOME = any_(bindparam("ids", type_=ARRAY(Uuid)))
_ENDED: Mapping[str, BindParameter[Any]] = {"ended_at": bindparam("now"), "end_reason": bindparam("reason")}

_ADD_SESSION = Hot(insert(sessions).values(parameters(sessions)))
_FIND_SESSION = Hot(select(sessions).where(sessions.c.id == _ID))
_OPEN_SESSIONS = Hot(
    select(sessions)
    .where(sessions.c.user_id == _USER_ID, sessions.c.ended_at.is_(None), sessions.c.parent_id.is_(None))
    .order_by(sessions.c.created_at, sessions.c.id)
)
_LOCK_SESSION = Hot(select(sessions).where(sessions.c.id == _ID).with_for_update(key_share=True))
_OPEN_CHILD = Hot(
    select(sessions)
    .where(sessions.c.parent_id == bindparam("parent_id"), sessions.c.ended_at.is_(None))
    .where(sessions.c.client_id == bindparam("client_id"))
    .order_by(sessions.c.id)
    .with_for_update(key_share=True)
)
_OPEN_AT = Hot(
    select(sessions)
    .where(sessions.c.user_id == _USER_ID, sessions.c.ended_at.is_(None))
    .where(sessions.c.client_id == bindparam("client_id"))
    .order_by(sessions.c.created_at, sessions.c.id)
)
_OPEN_OF_USER = Hot(select(sessions.c.id).where(sessions.c.user_id == _USER_ID, sessions.c.ended_at.is_(None)))
_SESSION = parameters(sessions)
_SAVE_SESSION = Hot(update(sessions).where(sessions.c.id == _SESSION["id"]).values(_SESSION))
_families_ended = update(families).where(families.c.session_id == _SOME, families.c.ended_at.is_(None)).values(_ENDED)
_END_FAMILIES = Hot(_families_ended)
_END_SESSIONS = Hot(
    update(sessions)
    .where(sessions.c.id == _SOME, sessions.c.ended_at.is_(None))
    .values(_ENDED)
    .returning(sessions.c.id)
)
# What was added to sessions meanwhile: their families are ended, their children are for `end` to end.
_END_LATE = Hot(
    select(sessions.c.id)
    .where(sessions.c.parent_id == _SOME, sessions.c.ended_at.is_(None))
    .add_cte(_families_ended.cte("late"))
)
_over_at = func.least(sessions.c.ended_at, sessions.c.expires_at)
_OVER = Hot(select(sessions.c.id).where(_over_at < bindparam("before")).order_by(_over_at).limit(_REMOVED_PER_SESSION))
_free_families = (
    select(families.c.id).where(families.c.session_id == _SOME).with_for_update(skip_locked=True).cte("chosen")
)
_REMOVE_FAMILIES = Hot(delete(families).where(families.c.id.in_(select(_free_families.c.id))))
_free_sessions = (
    select(sessions.c.id)
    .where(sessions.c.id == _SOME, ~exists().where(families.c.session_id == sessions.c.id))
    .with_for_update(skip_locked=True)
    .cte("chosen")
)
_REMOVE_SESSIONS = Hot(delete(sessions).where(sessions.c.id.in_(select(_free_sessions.c.id))))

_END_FAMILIES_AT = Hot(
    update(families)
    .where(families.c.client_id == bindparam("client_id"), families.c.ended_at.is_(None))
    .values(_ENDED)
    .returning(families.c.id)
)

_FAMILY = parameters(families)
_ADD_FAMILY = Hot(insert(families).values(_FAMILY))
_FIND_FAMILY = Hot(select(families).where(families.c.id == _ID))
_LOCK_FAMILY = Hot(select(families).where(families.c.id == _ID).with_for_update(key_share=True))
_SAVE_FAMILY = Hot(update(families).where(families.c.id == _FAMILY["id"]).values(_FAMILY))
_STANDING = Hot(
    select(
        families,
        *prefixed(sessions, "session."),
        *prefixed(clients, "client."),
        users.c.status,
        users.c.authv,
        *prefixed(grants, "grant."),
    )
    .select_from(
        families.join(sessions, sessions.c.id == families.c.session_id)
        .join(clients, clients.c.id == families.c.client_id)
        .join(users, users.c.id == families.c.user_id)
        .outerjoin(grants, grants.c.user_id == users.c.id)
    )
    .where(families.c.id == _ID)
    .order_by(grants.c.id)
)

# The race is decided here: of any number that present the same generation, one finds the counter as it was, and the
# others wait for its row and then find it changed. The conditions are those of `rotate` for Rotated.
_MOVED = (
    update(families)
    .where(families.c.id == bindparam("family_id"), families.c.counter == bindparam("presented"))
    .where(families.c.ended_at.is_(None))
    .where(func.least(families.c.expires_at, families.c.rotated_at + families.c.idle) > bindparam("now"))
    .values(counter=families.c.counter + 1)
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
_ADVANCE = Hot(select(_MOVED).add_cte(_LOGGED), alone=True)


@dataclass(frozen=True, slots=True)
class PostgresSessions:
    database: Database

    async def add(self, session: Session) -> None:
        await self.database.fetch(_ADD_SESSION, **write_session(session))
        await self._sweep(session.created_at - KEPT_AFTER_END)

    async def find(self, id: SessionId) -> Session | None:
        row = await self.database.first(_FIND_SESSION, id=id)
        return None if row is None else read_session(row)

    async def open_of(self, user_id: UserId) -> Sequence[Session]:
        return [read_session(row) for row in await self.database.fetch(_OPEN_SESSIONS, user_id=user_id)]

    async def end(self, ids: Collection[SessionId], now: datetime, reason: EndReason) -> Collection[SessionId]:
        if not ids:
            return ()
        # Families first: a refresh that finds a theft holds its family and then asks for the session. One that is
        # just being refreshed is waited for, and ended as it is then.
        await self.database.fetch(_END_FAMILIES, ids=list(ids), now=now, reason=reason)
        closed = await self.database.fetch(_END_SESSIONS, ids=list(ids), now=now, reason=reason)
        await announce(self.database, ChangeKind.SESSION, sorted(str(row["id"]) for row in closed))
        # Only now, in a statement of its own: who adds a child or a family holds the session until the commit, by
        # `locked` or `open_child`, and so has either been waited for above, or will find the session ended.
        children = await self.database.fetch(_END_LATE, ids=list(ids), now=now, reason=reason)
        await self.end([SessionId(row["id"]) for row in children], now, reason)
        return [SessionId(row["id"]) for row in closed]

    async def end_all_of(self, user_id: UserId, now: datetime, reason: EndReason) -> Sequence[SessionId]:
        ids = [SessionId(row["id"]) for row in await self.database.fetch(_OPEN_OF_USER, user_id=user_id)]
        await self.end(ids, now, reason)
        return ids

    async def locked(self, id: SessionId) -> Session | None:
        row = await self.database.first(_LOCK_SESSION, id=id)
        return None if row is None else read_session(row)

    async def open_child(self, parent_id: SessionId, client_id: ClientId) -> Session | None:
        row = await self.database.first(_OPEN_CHILD, parent_id=parent_id, client_id=client_id)
        return None if row is None else read_session(row)

    async def open_at(self, user_id: UserId, client_id: ClientId) -> Sequence[Session]:
        if not storable(client_id):
            return ()
        rows = await self.database.fetch(_OPEN_AT, user_id=user_id, client_id=client_id)
        return [read_session(row) for row in rows]

    async def save(self, session: Session) -> None:
        await self.database.fetch(_SAVE_SESSION, **write_session(session))

    async def _sweep(self, before: datetime) -> None:
        """Remove some sessions that were over by then. Families first, as `end` does it, and never waiting: what
        somebody else holds can go another time."""
        ids = [row["id"] for row in await self.database.fetch(_OVER, before=before)]
        if ids:
            await self.database.fetch(_REMOVE_FAMILIES, ids=ids)
            await self.database.fetch(_REMOVE_SESSIONS, ids=ids)


@dataclass(frozen=True, slots=True)
class PostgresFamilies:
    database: Database

    async def add(self, family: Family) -> None:
        await self.database.fetch(_ADD_FAMILY, **write_family(family))

    async def find(self, id: FamilyId) -> Family | None:
        row = await self.database.first(_FIND_FAMILY, id=id)
        return None if row is None else read_family(row)

    async def standing(self, id: FamilyId) -> Standing | None:
        rows = await self.database.fetch(_STANDING, id=id)
        if not rows:
            return None
        row, family = rows[0], read_family(rows[0])
        facts = read_facts(family.user_id, rows)
        return Standing(family, read_session(row, "session."), read_client(row, "client."), facts)

    async def advance(
        self, id: FamilyId, presented: int, key_id: str, now: datetime, event: AuditEvent
    ) -> Family | None:
        logged = {f"event_{name}": value for name, value in write_event(event).items()}
        moved = {"family_id": id, "presented": presented, "new_key_id": key_id, "now": now}
        row = await self.database.first(_ADVANCE, **moved, **logged)
        return None if row is None else read_family(row)

    async def locked(self, id: FamilyId) -> Family | None:
        row = await self.database.first(_LOCK_FAMILY, id=id)
        return None if row is None else read_family(row)

    async def save(self, family: Family) -> None:
        await self.database.fetch(_SAVE_FAMILY, **write_family(family))

    async def end_at(self, client_id: ClientId, now: datetime, reason: EndReason) -> int:
        return len(await self.database.fetch(_END_FAMILIES_AT, client_id=client_id, now=now, reason=reason))

    async def last_rotations(self, ids: Collection[SessionId]) -> Mapping[SessionId, datetime]:
        if not ids:
            return {}
        latest = select(families.c.session_id, func.max(families.c.rotated_at).label("at"))
        rows = await self.database.rows(latest.where(families.c.session_id.in_(ids)).group_by(families.c.session_id))
        return {SessionId(row["session_id"]): row["at"] for row in rows}


def read_session(row: Row, prefix: str = "") -> Session:
    """A session from columns whose names begin with `prefix`."""
    return Session(
        id=SessionId(row[f"{prefix}id"]),
        user_id=UserId(row[f"{prefix}user_id"]),
        client_id=ClientId(row[f"{prefix}client_id"]),
        created_at=row[f"{prefix}created_at"],
        auth_time=row[f"{prefix}auth_time"],
        amr=tuple(row[f"{prefix}amr"]),
        last_used_at=row[f"{prefix}last_used_at"],
        expires_at=row[f"{prefix}expires_at"],
        address=row[f"{prefix}address"],
        user_agent=row[f"{prefix}user_agent"],
        ended_at=row[f"{prefix}ended_at"],
        end_reason=_reason(row, prefix),
        parent_id=None if row[f"{prefix}parent_id"] is None else SessionId(row[f"{prefix}parent_id"]),
        offline=row[f"{prefix}offline"],
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
        "parent_id": session.parent_id,
        "offline": session.offline,
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
        scope=row["scope"],
        audience=tuple(row["audience"]),
        claims=tuple(row["claims"]),
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
        "scope": family.scope,
        "audience": list(family.audience),
        "claims": list(family.claims),
    }


def _reason(row: Row, prefix: str = "") -> EndReason | None:
    reason = row[f"{prefix}end_reason"]
    return None if reason is None else EndReason(reason)
