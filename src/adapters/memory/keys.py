"""Keys in memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from adapters.memory.tables import Tables
from domain.keys import Key
from domain.ports import Change, ChangeKind


@dataclass(frozen=True, slots=True)
class MemoryKeys:
    tables: Tables

    async def all(self) -> Sequence[Key]:
        return sorted(self.tables.keys.all(), key=lambda key: (key.created_at, key.id))

    async def locked(self) -> Sequence[Key]:
        return await self.all()

    async def save(self, keys: Collection[Key]) -> None:
        for key in keys:
            self.tables.keys.put(key.id, key)
        self.tables.transaction.announce(Change(ChangeKind.KEYS))
