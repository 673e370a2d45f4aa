"""Values that are used once, in memory."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from adapters.memory.tables import Tables
from domain.errors import Conflict
from domain.one_time import OneTimeKind, OneTimeValue
from domain.upkeep import KEPT, Leftover

ROOM = 128
"""How many values there are room for before old ones are swept out."""


@dataclass(frozen=True, slots=True)
class MemoryOneTimeValues:
    tables: Tables

    async def add(self, value: OneTimeValue) -> None:
        if await self.find(value.kind, value.hash) is not None:
            raise self.tables.transaction.refused(Conflict("this value was there before", code="one_time_value_known"))
        if len(self.tables.one_time_values.all()) >= ROOM:
            self._sweep(value.created_at - KEPT[Leftover.ONE_TIME_VALUES])
        self.tables.one_time_values.put((value.kind, value.hash), value)

    async def find(self, kind: OneTimeKind, hash: bytes) -> OneTimeValue | None:
        return self.tables.one_time_values.get((kind, hash))

    async def redeem(self, kind: OneTimeKind, hash: bytes, now: datetime, made: UUID | None) -> bool:
        value = await self.find(kind, hash)
        if value is None or value.used_at is not None or now >= value.expires_at:
            return False
        self.tables.one_time_values.put((kind, hash), replace(value, used_at=now, made=made))
        return True

    def _sweep(self, before: datetime) -> None:
        for key, value in self.tables.one_time_values.items():
            if value.expires_at < before:
                self.tables.one_time_values.remove(key)
