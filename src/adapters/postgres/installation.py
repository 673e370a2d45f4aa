"""The one row about the installation itself, in PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select, update

from adapters.postgres.database import Database
from adapters.postgres.tables import installation
from domain.ports import Installation

_READ = select(installation.c.epoch, installation.c.secret, installation.c.prepared_at)


@dataclass(frozen=True, slots=True)
class PostgresInstallations:
    database: Database

    async def read(self) -> Installation:
        return await self._one(_READ)

    async def locked(self) -> Installation:
        return await self._one(_READ.with_for_update(key_share=True))

    async def prepared(self, secret: bytes, at: datetime) -> None:
        await self.database.execute(update(installation).values(secret=secret, prepared_at=at))

    async def _one(self, statement: Select[tuple[int, bytes | None, datetime | None]]) -> Installation:
        row = await self.database.row(statement)
        if row is None:
            raise RuntimeError("the row of the installation, which the first migration writes, is missing")
        return Installation(row["epoch"], row["secret"], row["prepared_at"])
