"""Whether the database has the shape that this code expects."""

from dataclasses import dataclass

from sqlalchemy import text

from adapters.postgres.database import Database, Hot
from adapters.postgres.migrate import head
from domain.errors import Unavailable

_REVISION = Hot(text("SELECT version_num FROM hexward.alembic_version"))


@dataclass(frozen=True, slots=True)
class PostgresSchema:
    """The Schema port: compares the migrations here with those applied."""

    database: Database

    async def lag(self) -> str | None:
        try:
            async with self.database.transaction():
                rows = await self.database.fetch(_REVISION)
        except Unavailable:
            return "the schema is missing or cannot be read"
        found = rows[0]["version_num"] if rows else "none"
        if rows and found >= head():  # a newer one only adds to ours: this server goes on while others are upgraded
            return None
        return f"the schema is at revision {found}, this code needs {head()}"
