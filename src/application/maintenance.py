"""What has to be done from time to time, by the service itself: no cron, no command to remember."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from application.keys import RotateDueKeys
from domain.ports import AuditLog, Clock, Transaction, Upkeep
from domain.upkeep import INTERVAL, KEPT, LEASE, PAUSE, Leftover, Removed, Upkept

LOOK = 60.0
"""Seconds from one look whether a round is due to the next."""
BATCH = 200
"""Rows in one transaction: some ten milliseconds."""
RESTS = 3
"""How often as long as a batch took the worker rests after it."""
AUDIT_MONTHS = "audit_months"

type Remove = Callable[[int], Awaitable[Removed]]


@dataclass(frozen=True, slots=True)
class AuditRetention:
    """How long audit events are kept; None: for ever."""

    kept: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What one round may spend: rows, and seconds of work (its rests not counted)."""

    rows: int = 50_000
    seconds: float = 2.0


BUDGET = Budget()


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: how many of each kind went, seconds of work, and whether it left something behind.

    `yielded`: somebody else was at it, and goes on.
    """

    removed: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    backlog: bool = False
    yielded: bool = False

    @property
    def useful(self) -> bool:
        """Whether anything went."""
        return any(self.removed.values())


@dataclass(frozen=True, slots=True)
class RemoveLeftovers:
    """One round of removing what has been kept for long enough, in batches that are transactions of their own.

    After each batch it rests for longer than that took, so that the database has its time for callers. Kinds take
    turns: a large backlog of one does not keep the others waiting.
    """

    upkeep: Upkeep
    retention: AuditRetention
    clock: Clock
    transaction: Transaction

    async def __call__(self, budget: Budget = BUDGET) -> Round:
        """Until nothing is left or the budget is used up. Raises Unavailable; what was removed by then stays so."""
        removed, seconds, left_behind = Counter[str](), 0.0, False
        waiting = deque(self._kinds().items())
        while waiting and removed.total() < budget.rows and seconds < budget.seconds:
            name, remove = waiting.popleft()
            began = self.clock.monotonic()
            batch = await self._batch(remove, min(BATCH, budget.rows - removed.total()))
            took = self.clock.monotonic() - began
            seconds += took
            if batch is None:
                return Round(removed, seconds, backlog=True, yielded=True)
            removed[name] += batch.count
            if batch.more and batch.count > 0:
                waiting.append((name, remove))
            elif batch.more:  # in use just now
                left_behind = True
            await self.clock.sleep(RESTS * took)
        done = Round(removed, seconds, backlog=left_behind or bool(waiting))
        await self._finish(done)
        return done

    def _kinds(self) -> dict[str, Remove]:
        kinds: dict[str, Remove] = {kind: partial(self._rows, kind) for kind in Leftover}
        if self.retention.kept is not None:
            kinds[AUDIT_MONTHS] = partial(self._audit_month, self.retention.kept)
        return kinds

    async def _batch(self, remove: Remove, limit: int) -> Removed | None:
        """None if somebody else is at it."""
        async with self.transaction():
            return await remove(limit) if await self.upkeep.claim() else None

    async def _rows(self, kind: Leftover, limit: int) -> Removed:
        return await self.upkeep.remove(kind, self.clock.now() - KEPT[kind], limit)

    async def _audit_month(self, kept: timedelta, _: int) -> Removed:
        return await self.upkeep.drop_audit_month(self.clock.now(), kept)

    async def _finish(self, done: Round) -> None:
        now = self.clock.now()
        wait = PAUSE if done.backlog and done.useful else INTERVAL
        async with self.transaction():
            await self.upkeep.save(Upkept(now + wait, now, done.backlog))


@dataclass(frozen=True, slots=True)
class Maintain:
    """One round of everything, where one is due: keys that have served their time get successors, the audit trail gets
    room for what is to come, and what nobody needs any more goes.

    Any number of servers may run it at the same moment: the first one does the round of all of them.
    """

    rotate_due: RotateDueKeys
    audit: AuditLog
    upkeep: Upkeep
    remove_leftovers: RemoveLeftovers
    clock: Clock
    transaction: Transaction

    async def __call__(self) -> Round | None:
        """The round, or None if none is due. Raises Unavailable; the next round does what this one could not."""
        if not await self._begin():
            return None
        await self.rotate_due()
        async with self.transaction():
            await self.audit.make_room()
        return await self.remove_leftovers()

    async def _begin(self) -> bool:
        """Whether the round is this server's. Others leave it alone for a while, also if this one is gone by then."""
        async with self.transaction():
            upkept, now = await self.upkeep.read(), self.clock.now()
            return upkept.due(now) and await self.upkeep.advance(upkept, replace(upkept, next_at=now + LEASE))


def in_words(removed: Mapping[str, int]) -> str:
    """What went, for people."""
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in removed.items() if count) or "nothing"
