"""Passwords and failed sign-ins in memory."""

from dataclasses import dataclass
from datetime import datetime

from adapters.memory.tables import Tables
from domain.credentials import FORGOTTEN_AFTER, Failures, PasswordCredential
from domain.users import UserId

ROOM = 128
"""How many counts there are room for before forgotten ones are swept out."""


@dataclass(frozen=True, slots=True)
class MemoryCredentials:
    tables: Tables

    async def password(self, id: UserId) -> PasswordCredential | None:
        return self.tables.passwords.get(id)

    async def set_password(self, credential: PasswordCredential) -> None:
        self.tables.passwords.put(credential.user_id, credential)

    async def remove(self, id: UserId) -> None:
        self.tables.passwords.remove(id)


@dataclass(frozen=True, slots=True)
class MemorySignInFailures:
    tables: Tables

    async def get(self, key: bytes) -> Failures | None:
        return self.tables.failures.get(key)

    async def add(self, key: bytes, now: datetime) -> None:
        known = self.tables.failures.get(key)
        if known is None and len(self.tables.failures.all()) >= ROOM:
            self._sweep(now)
        if known is None or _forgotten(known, now):
            known = Failures(0, now)
        self.tables.failures.put(key, Failures(known.count + 1, max(known.last_at, now)))

    async def claim(self, key: bytes, seen: Failures, now: datetime) -> bool:
        if self.tables.failures.get(key) != seen:
            return False
        self.tables.failures.put(key, Failures(seen.count, max(seen.last_at, now)))
        return True

    async def give_back(self, key: bytes, seen: Failures, claimed_at: datetime) -> None:
        if self.tables.failures.get(key) == Failures(seen.count, max(seen.last_at, claimed_at)):
            self.tables.failures.put(key, seen)

    async def clear(self, key: bytes) -> None:
        self.tables.failures.remove(key)

    def _sweep(self, now: datetime) -> None:
        for key, failures in self.tables.failures.items():
            if _forgotten(failures, now):
                self.tables.failures.remove(key)


def _forgotten(failures: Failures, now: datetime) -> bool:
    return now - failures.last_at >= FORGOTTEN_AFTER
