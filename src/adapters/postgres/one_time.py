"""Values that are used once, in PostgreSQL."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import UniqueViolationError
from sqlalchemy import ColumnElement, any_, bindparam, delete, func, insert, literal_column, select, update

from adapters.postgres.database import Database, Hot
from adapters.postgres.queries import parameters
from adapters.postgres.tables import one_time_values
from domain.clients import ClientId
from domain.errors import Conflict
from domain.one_time import OneTimeKind, OneTimeValue
from domain.sessions import SessionId
from domain.upkeep import KEPT, Leftover
from domain.users import UserId

_REMOVED_PER_VALUE = 2
"""More than one comes in, so the expired ones become fewer."""

_table = one_time_values
_this = (_table.c.kind == bindparam("kind"), _table.c.hash == bindparam("hash"))
_ADD = Hot(insert(_table).values(parameters(_table)))
_FIND = Hot(select(_table).where(*_this))
# The race is decided here: all others wait for the row, and then find it used.
_REDEEM = Hot(
    update(_table)
    .where(_table.c.kind == bindparam("of_kind"), _table.c.hash == bindparam("of_hash"))
    .where(_table.c.used_at.is_(None), _table.c.expires_at > bindparam("now"))
    .values(used_at=bindparam("now"), made=bindparam("made"))
    .returning(_table.c.used_at)
)
# By where they lie, which no size of the table makes dear, and which cannot change while they are held.
_place: ColumnElement[Any] = literal_column("ctid")
_old = (
    select(_place)
    .select_from(_table)
    .where(_table.c.expires_at < bindparam("before"))
    .order_by(_table.c.expires_at)
    .limit(_REMOVED_PER_VALUE)
    .with_for_update(skip_locked=True)
    .cte("old")
)
_SWEEP = Hot(delete(_table).where(_place == any_(func.array(select(_old.c.ctid).scalar_subquery()))))


@dataclass(frozen=True, slots=True)
class PostgresOneTimeValues:
    database: Database

    async def add(self, value: OneTimeValue) -> None:
        try:
            await self.database.fetch(
                _ADD,
                kind=value.kind,
                hash=value.hash,
                created_at=value.created_at,
                expires_at=value.expires_at,
                client_id=value.client_id,
                user_id=value.user_id,
                session_id=value.session_id,
                details=json.dumps(value.details),
                used_at=value.used_at,
                made=value.made,
            )
        except UniqueViolationError:
            raise Conflict("this value was there before", code="one_time_value_known") from None
        await self.database.fetch(_SWEEP, before=value.created_at - KEPT[Leftover.ONE_TIME_VALUES])

    async def find(self, kind: OneTimeKind, hash: bytes) -> OneTimeValue | None:
        row = await self.database.first(_FIND, kind=kind, hash=hash)
        if row is None:
            return None
        return OneTimeValue(
            kind=OneTimeKind(row["kind"]),
            hash=row["hash"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            client_id=None if row["client_id"] is None else ClientId(row["client_id"]),
            user_id=None if row["user_id"] is None else UserId(row["user_id"]),
            session_id=None if row["session_id"] is None else SessionId(row["session_id"]),
            details=row["details"],
            used_at=row["used_at"],
            made=row["made"],
        )

    async def redeem(self, kind: OneTimeKind, hash: bytes, now: datetime, made: UUID | None) -> bool:
        return await self.database.first(_REDEEM, of_kind=kind, of_hash=hash, now=now, made=made) is not None
