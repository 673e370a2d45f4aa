"""Keys in PostgreSQL, their secret halves sealed."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Interval, bindparam, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.changes import announce
from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.queries import parameters
from adapters.postgres.tables import keys
from domain.keys import LINGER, Key, KeyUse
from domain.ports import ChangeKind

KEPT_AFTER_RETIREMENT = timedelta(days=30)
_LOCK = 0x6865_7877_6172_6402  # "hexward" and a number; there may be no row to lock yet


_ALL = Hot(select(keys).order_by(keys.c.created_at, keys.c.id))
_QUEUE = Hot(select(func.pg_advisory_xact_lock(_LOCK)))
_WRITTEN = upsert(keys).values(parameters(keys))
_WRITE = Hot(_WRITTEN.on_conflict_do_update(index_elements=["id"], set_=dict(_WRITTEN.excluded.items())))
_newest = select(func.max(keys.c.created_at)).scalar_subquery()
_kept = bindparam("kept", type_=Interval)
_SWEEP = Hot(
    delete(keys)
    .where(keys.c.use == bindparam("use"))
    .where(or_(keys.c.superseded_at + _kept < _newest, keys.c.revoked_at + _kept < _newest))
)


@dataclass(frozen=True, slots=True)
class PostgresKeys:
    database: Database

    async def all(self) -> Sequence[Key]:
        return [read_key(row) for row in await self.database.fetch(_ALL)]

    async def locked(self) -> Sequence[Key]:
        await self.database.fetch(_QUEUE)
        return await self.all()  # a new statement, which sees what was committed while this one waited

    async def save(self, keys: Collection[Key]) -> None:
        for key in keys:
            await self.database.fetch(_WRITE, **write_key(key))
        for use in KeyUse:  # remove what had long been retired when the newest key was made
            await self.database.fetch(_SWEEP, use=use, kept=LINGER[use] + KEPT_AFTER_RETIREMENT)
        await announce(self.database, ChangeKind.KEYS, [""])


def read_key(row: Row) -> Key:
    return Key(
        id=row["id"],
        use=KeyUse(row["use"]),
        algorithm=row["algorithm"],
        created_at=row["created_at"],
        activates_at=row["activates_at"],
        sealed=row["sealed"],
        public=row["public"],
        superseded_at=row["superseded_at"],
        revoked_at=row["revoked_at"],
    )


def write_key(key: Key) -> Mapping[str, Any]:
    """The columns of a key, for hot statements."""
    return {
        "id": key.id,
        "use": key.use,
        "algorithm": key.algorithm,
        "created_at": key.created_at,
        "activates_at": key.activates_at,
        "sealed": key.sealed,
        "public": json.dumps(dict(key.public)),
        "superseded_at": key.superseded_at,
        "revoked_at": key.revoked_at,
    }
