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
        rows = await self.database.fetch(_FIND, id=id) if storable(id) else ()
        return read_client(rows[0]) if rows else None


def read_client(row: Row) -> Client:
    return Client(
        id=ClientId(row["id"]),
        name=row["name"],
        enabled=row["enabled"],
        access_token_lifetime=row["access_token_lifetime"],
        family_idle=row["family_idle"],
        family_lifetime=row["family_lifetime"],
    )
