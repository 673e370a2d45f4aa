"""Clients in memory."""

from dataclasses import dataclass

from adapters.memory.tables import Tables
from domain.clients import Client, ClientId


@dataclass(frozen=True, slots=True)
class MemoryClients:
    tables: Tables

    async def find(self, id: ClientId) -> Client | None:
        return self.tables.clients.get(id)
