"""Changes of authority in memory: versions that rise, and feeds that hear of it after the commit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.memory.tables import ONLY, Tables
from adapters.memory.transaction import MemoryTransaction
from domain.ports import Change, ChangeKind, News
from domain.users import UserId

BACKLOG = 10_000
"""How many changes wait for a slow reader; beyond that its next read is a reset."""


@dataclass(frozen=True, slots=True)
class MemoryChanges:
    tables: Tables

    async def authority(self, user_id: UserId) -> None:
        self.tables.authority.put(user_id, (self.tables.authority.get(user_id) or 0) + 1)
        self.tables.transaction.announce(Change(ChangeKind.AUTHORITY, str(user_id)))

    async def rules(self) -> None:
        self.tables.rules_version.put(ONLY, (self.tables.rules_version.get(ONLY) or 0) + 1)
        self.tables.transaction.announce(Change(ChangeKind.RULES))


class MemoryFeed:
    """One reader. It hears every commit from its making on; what is read is forgotten."""

    def __init__(self, transaction: MemoryTransaction) -> None:
        self._transaction = transaction
        self._waiting: list[Change] = []
        self._reset = True
        self._hint = asyncio.Event()
        transaction.listeners.add(self._hear)

    def _hear(self, changes: Sequence[Change]) -> None:
        self._waiting.extend(changes)
        if len(self._waiting) > BACKLOG:
            self._waiting.clear()
            self._reset = True
        self._hint.set()

    async def read(self) -> News:
        news = News((), reset=True) if self._reset else News(tuple(self._waiting))
        self._waiting.clear()
        self._reset = False
        self._hint.clear()
        return news

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        self._transaction.listeners.discard(self._hear)
