"""What nobody needs any more, in memory."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.memory.tables import ONLY, Tables
from adapters.memory.transaction import Table
from domain.sessions import Session
from domain.upkeep import Leftover, Removed, Upkept, audit_kept_since


@dataclass(frozen=True, slots=True)
class MemoryUpkeep:
    tables: Tables

    async def claim(self) -> bool:
        return True  # there is one transaction at a time

    async def remove(self, kind: Leftover, before: datetime, limit: int) -> Removed:
        match kind:
            case Leftover.SIGN_IN_FAILURES:
                gone = _remove_oldest(self.tables.failures, lambda failures: failures.last_at, before, limit)
                return Removed(len(gone), len(gone) == limit)
            case Leftover.SESSIONS:
                over = _remove_oldest(self.tables.sessions, _over_at, before, limit)
                for id, family in self.tables.families.items():
                    if family.session_id in over:
                        self.tables.families.remove(id)
                return Removed(len(over), len(over) == limit)
            case Leftover.CHANGES:
                return Removed(0)  # feeds forget what they have told
            case Leftover.ANSWERS:
                gone = _remove_oldest(self.tables.answers, lambda answered: answered.expires_at, before, limit)
                return Removed(len(gone), len(gone) == limit)
            case Leftover.ONE_TIME_VALUES:
                used = _remove_oldest(self.tables.one_time_values, lambda value: value.expires_at, before, limit)
                return Removed(len(used), len(used) == limit)

    async def drop_audit_month(self, now: datetime, kept: timedelta) -> Removed:
        since = audit_kept_since(now, kept)
        months = {_month_after(event.at) for event in self.tables.events.all()}
        due = sorted(end for end in months if end <= since)
        if not due:
            return Removed(0)
        for id, event in self.tables.events.items():
            if event.at < due[0]:
                self.tables.events.remove(id)
        return Removed(1, len(due) > 1)

    async def read(self) -> Upkept:
        return self.tables.upkeep.get(ONLY) or Upkept()

    async def save(self, upkept: Upkept) -> None:
        self.tables.upkeep.put(ONLY, upkept)

    async def advance(self, seen: Upkept, upkept: Upkept) -> bool:
        as_seen = await self.read() == seen
        if as_seen:
            await self.save(upkept)
        return as_seen


def _over_at(session: Session) -> datetime:
    return min(session.ended_at or session.expires_at, session.expires_at)


def _remove_oldest[K, V](
    table: Table[K, V], over_at: Callable[[V], datetime], before: datetime, limit: int
) -> Collection[K]:
    over = [(over_at(row), key) for key, row in table.items() if over_at(row) < before]
    chosen = [key for _, key in sorted(over, key=lambda found: found[0])[:limit]]
    for key in chosen:
        table.remove(key)
    return chosen


def _month_after(at: datetime) -> datetime:
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
