"""Keys in PostgreSQL, their secret halves sealed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.changes import announce
from adapters.postgres.database import Database, Row
from adapters.postgres.tables import keys
from domain.keys import LINGER, Key, KeyUse
from domain.ports import ChangeKind

KEPT_AFTER_RETIREMENT = timedelta(days=30)
_LOCK = 0x6865_7877_6172_6402  # "hexward" and a number; there may be no row to lock yet


@dataclass(frozen=True, slots=True)
class PostgresKeys:
    database: Database

    async def all(self) -> Sequence[Key]:
        rows = await self.database.rows(select(keys).order_by(keys.c.created_at, keys.c.id))
        return [read_key(row) for row in rows]

    async def locked(self) -> Sequence[Key]:
        await self.database.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        return await self.all()  # a new statement, which sees what was committed while this one waited

    async def save(self, keys: Collection[Key]) -> None:
        for key in keys:
            await self._write(key)
        await self._sweep()
        await announce(self.database, ChangeKind.KEYS, [""])

    async def _write(self, key: Key) -> None:
        statement = upsert(keys).values(write_key(key))
        await self.database.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_=dict(statement.excluded.items()))
        )

    async def _sweep(self) -> None:
        """Remove what had long been retired when the newest key was made."""
        newest = select(func.max(keys.c.created_at)).scalar_subquery()
        for use in KeyUse:
            kept = LINGER[use] + KEPT_AFTER_RETIREMENT
            gone = or_(keys.c.superseded_at + kept < newest, keys.c.revoked_at + kept < newest)
            await self.database.execute(delete(keys).where(keys.c.use == use, gone))


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
    return {
        "id": key.id,
        "use": key.use,
        "algorithm": key.algorithm,
        "created_at": key.created_at,
        "activates_at": key.activates_at,
        "sealed": key.sealed,
        "public": dict(key.public),
        "superseded_at": key.superseded_at,
        "revoked_at": key.revoked_at,
    }
