"""Clients in PostgreSQL."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.queries import storable
from adapters.postgres.tables import clients
from domain.clients import Client, ClientId

_FIND = Hot(select(clients).where(clients.c.id == bindparam("id")))


@dataclass(frozen=True, slots=True)
class PostgresClients:
    database: Database

    async def find(self, id: ClientId) -> Client | None:
        row = await self.database.first(_FIND, id=id) if storable(id) else None
        return None if row is None else read_client(row)


def read_client(row: Row, prefix: str = "") -> Client:
    """A client from columns whose names begin with `prefix`."""
    return Client(
        id=ClientId(row[f"{prefix}id"]),
        name=row[f"{prefix}name"],
        enabled=row[f"{prefix}enabled"],
        access_token_lifetime=row[f"{prefix}access_token_lifetime"],
        family_idle=row[f"{prefix}family_idle"],
        family_lifetime=row[f"{prefix}family_lifetime"],
    )
