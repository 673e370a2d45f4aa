"""Answers to requests that may be sent twice, in memory."""

from dataclasses import dataclass
from datetime import datetime

from adapters.memory.tables import Tables
from domain.idempotency import Answered

ROOM = 128
"""How many answers there are room for before expired ones are swept out."""


@dataclass(frozen=True, slots=True)
class MemoryAnswers:
    tables: Tables

    async def claim(self, id: bytes, now: datetime) -> Answered | None:
        answered = self.tables.answers.get(id)
        return answered if answered is not None and answered.expires_at > now else None

    async def add(self, answered: Answered, now: datetime) -> None:
        if len(self.tables.answers.all()) >= ROOM:
            self._sweep(now)
        self.tables.answers.put(answered.id, answered)

    def _sweep(self, now: datetime) -> None:
        for answered in self.tables.answers.all():
            if answered.expires_at <= now:
                self.tables.answers.remove(answered.id)
