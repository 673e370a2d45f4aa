"""The one row about the installation itself, in PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update

from adapters.postgres.database import Database, Hot
from adapters.postgres.tables import installation
from domain.ports import Installation

_row = select(installation.c.epoch, installation.c.secret, installation.c.prepared_at)
_READ = Hot(_row)
_LOCK = Hot(_row.with_for_update(key_share=True))
_PREPARED = Hot(update(installation).values(secret=bindparam("secret"), prepared_at=bindparam("at")))


@dataclass(frozen=True, slots=True)
class PostgresInstallations:
    database: Database

    async def read(self) -> Installation:
        return await self._one(_READ)

    async def locked(self) -> Installation:
        return await self._one(_LOCK)

    async def prepared(self, secret: bytes, at: datetime) -> None:
        await self.database.fetch(_PREPARED, secret=secret, at=at)

    async def _one(self, statement: Hot) -> Installation:
        row = await self.database.first(statement)
        if row is None:
            raise RuntimeError("the row of the installation, which the first migration writes, is missing")
        return Installation(row["epoch"], row["secret"], row["prepared_at"])
