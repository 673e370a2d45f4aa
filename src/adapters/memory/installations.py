"""What is known of the store itself."""

from dataclasses import dataclass, replace
from datetime import datetime

from adapters.memory.tables import ONLY, Tables
from domain.ports import Installation


@dataclass(frozen=True, slots=True)
class MemoryInstallations:
    tables: Tables

    async def read(self) -> Installation:
        found = self.tables.installation.get(ONLY)
        if found is None:
            raise RuntimeError("the store was never seeded")
        return found

    async def locked(self) -> Installation:
        return await self.read()

    async def prepared(self, secret: bytes, at: datetime) -> None:
        self.tables.installation.put(ONLY, replace(await self.read(), secret=secret, prepared_at=at))
