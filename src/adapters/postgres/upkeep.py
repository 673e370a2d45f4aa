"""What nobody needs any more, in PostgreSQL.

One more table is one more line in `_REMOVE`, and an index on the time that its rows are over.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    and_,
    any_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)

from adapters.postgres.changes import KEPT
from adapters.postgres.database import Database, Hot
from adapters.postgres.tables import (
    changes,
    families,
    idempotent_answers,
    one_time_values,
    sessions,
    sign_in_failures,
    upkeep,
)
from domain.upkeep import Leftover, Removed, Upkept, audit_kept_since

_LOCK = 0x6865_7877_6172_6403  # "hexward" and a number
_CLAIM = Hot(select(func.pg_try_advisory_xact_lock(literal_column(str(_LOCK))).label("mine")))

_BEFORE = bindparam("before", type_=DateTime(timezone=True))
# Changes have the database's time: a worker whose clock runs ahead must take none that readers have yet to read.
_READ_BY_ALL = func.now() - literal_column(f"interval '{KEPT.total_seconds():.0f} seconds'")


def _oldest(key: ColumnElement[Any], over_at: ColumnElement[Any], before: ColumnElement[Any]) -> CTE:
    """The rows to remove, held from now on; those that others hold are passed by."""
    chosen = select(key).where(over_at < before).order_by(over_at).limit(bindparam("limit", type_=Integer))
    return chosen.with_for_update(skip_locked=True).cte("chosen")


def _counted(chosen: CTE, gone: CTE) -> Hot:
    """How many were chosen and how many of them went."""
    count = func.count
    return Hot(
        select(
            select(count()).select_from(chosen).scalar_subquery().label("chosen"),
            select(count()).select_from(gone).scalar_subquery().label("gone"),
        )
    )


def _among(key: ColumnElement[Any], chosen: Select[Any]) -> ColumnElement[bool]:
    """Whether the key is one of these; as an array, which an index always serves."""
    return key == any_(func.array(chosen.scalar_subquery()))


def _rows(key: ColumnElement[Any], over_at: ColumnElement[Any], before: ColumnElement[Any] = _BEFORE) -> Hot:
    chosen = _oldest(key, over_at, before)
    gone = delete(key.table).where(_among(key, select(chosen.c[0]))).returning(key).cte("gone")
    return _counted(chosen, gone)


def _sessions() -> Hot:
    """Families go with their sessions (ON DELETE CASCADE), once they are held: what ends a session holds its families
    first, and whoever waits in the other order would stop both."""
    chosen = _oldest(sessions.c.id, func.least(sessions.c.ended_at, sessions.c.expires_at), _BEFORE)
    theirs = select(families.c.id).where(_among(families.c.session_id, select(chosen.c.id)))
    held = theirs.with_for_update(skip_locked=True).cte("held")
    busy = exists().where(families.c.session_id == sessions.c.id, families.c.id.not_in(select(held.c.id)))
    gone = delete(sessions).where(_among(sessions.c.id, select(chosen.c.id)), ~busy)
    return _counted(chosen, gone.returning(sessions.c.id).cte("gone"))


def _one_time_values() -> Hot:
    """Named by where they lie, for their key has two columns; that cannot change while they are held."""
    place: ColumnElement[Any] = literal_column("ctid")
    chosen = _oldest(place, one_time_values.c.expires_at, _BEFORE)
    gone = delete(one_time_values).where(_among(place, select(chosen.c.ctid)))
    return _counted(chosen, gone.returning(one_time_values.c.hash).cte("gone"))


_REMOVE: Mapping[Leftover, Hot] = {
    Leftover.SIGN_IN_FAILURES: _rows(sign_in_failures.c.key, sign_in_failures.c.last_at),
    Leftover.SESSIONS: _sessions(),
    Leftover.CHANGES: _rows(changes.c.id, changes.c.at, func.least(_BEFORE, _READ_BY_ALL)),
    Leftover.ANSWERS: _rows(idempotent_answers.c.id, idempotent_answers.c.expires_at),
    Leftover.ONE_TIME_VALUES: _one_time_values(),
}
_READ = Hot(select(upkeep))

# The function refuses less than 30 days by the database's clock, which may be behind the one here.
_OLD = func.least(_BEFORE, func.now() - literal_column("interval '30 days'"))
_DROP = Hot(select(func.hexward.drop_audit_partitions(_OLD).label("count")))
_LEFT = Hot(select(func.count().label("count")).select_from(func.hexward.audit_partitions_over(_OLD)))


@dataclass(frozen=True, slots=True)
class PostgresUpkeep:
    database: Database

    async def claim(self) -> bool:
        rows = await self.database.fetch(_CLAIM)
        return bool(rows[0]["mine"])

    async def remove(self, kind: Leftover, before: datetime, limit: int) -> Removed:
        [row] = await self.database.fetch(_REMOVE[kind], before=before, limit=limit)
        return Removed(row["gone"], row["chosen"] == limit)

    async def drop_audit_month(self, now: datetime, kept: timedelta) -> Removed:
        since = audit_kept_since(now, kept)
        [dropped] = await self.database.fetch(_DROP, before=since)
        [left] = await self.database.fetch(_LEFT, before=since)
        return Removed(dropped["count"], left["count"] > 0)

    async def read(self) -> Upkept:
        [row] = await self.database.fetch(_READ)
        return Upkept(row["next_at"], row["finished_at"], row["backlog"])

    async def save(self, upkept: Upkept) -> None:
        await self.database.execute(update(upkeep).values(asdict(upkept)))

    async def advance(self, seen: Upkept, upkept: Upkept) -> bool:
        as_seen = and_(*(upkeep.c[name].is_not_distinct_from(value) for name, value in asdict(seen).items()))
        changed = await self.database.execute(update(upkeep).where(as_seen).values(asdict(upkept)))
        return changed.rowcount == 1
