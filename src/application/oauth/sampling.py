"""What can happen too often to tell the audit trail of each: it is counted, and told of now and then."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from application.audit import NOTHING, Trail
from application.repetition import safe_to_repeat
from domain.audit import Action, Details, Outcome
from domain.clients import ClientId
from domain.policies import Origin
from domain.ports import Clock, Transaction

REFUSALS_TOLD = 600
REFUSALS_WINDOW = timedelta(minutes=1)
TOLD_AGAIN = timedelta(hours=1)
ROOM = 10_000
"""Clients that are remembered; whoever was quiet for longest is told of anew."""


@dataclass(slots=True)
class _Count:
    since: datetime
    issued: int = 0


def _within(patience: timedelta, since: datetime, now: datetime) -> bool:
    """Whether that is not yet over; a clock that was set back begins anew, or it would be silent for as long."""
    return timedelta(0) <= now - since < patience


class IssueCounts:
    """How many tokens a worker has issued to each client for itself since it last told the audit trail: at the first
    one, and with the first one after each hour."""

    def __init__(self, trail: Trail, clock: Clock, transaction: Transaction) -> None:
        self._trail, self._clock, self._transaction = trail, clock, transaction
        self._counts: OrderedDict[ClientId, _Count] = OrderedDict()

    async def count(self, client_id: ClientId, origin: Origin) -> None:
        """One more; raises Unavailable where it is time to tell, and that cannot be stored."""
        now = self._clock.now()
        known = self._counts.get(client_id)
        if known is not None and _within(TOLD_AGAIN, known.since, now):
            known.issued += 1
            return
        before = 0 if known is None else known.issued
        counted = self._begin(client_id, now)  # before anything is awaited: of calls at one moment, one tells
        try:
            await self._tell(client_id, before + 1, origin)
        except BaseException:  # also where the caller hangs up
            counted.issued += before  # told to nobody: that is for the next
            counted.since = now - TOLD_AGAIN
            raise

    def _begin(self, client_id: ClientId, now: datetime) -> _Count:
        counted = self._counts[client_id] = _Count(now)
        self._counts.move_to_end(client_id)
        if len(self._counts) > ROOM:
            self._counts.popitem(last=False)
        return counted

    @safe_to_repeat
    async def _tell(self, client_id: ClientId, issued: int, origin: Origin) -> None:
        client = f"client:{client_id}"
        async with self._transaction():
            await self._trail.record_at_door(
                origin, Action.CLIENT_TOKENS, actor=client, subject=client, details={"issued": issued}
            )


@dataclass(slots=True)
class _Window:
    since: datetime
    told: int = 0
    untold: int = 0


class Refusals:
    """What anybody can have refused, and costs them nothing. Each is told of as it comes; of those of one action beyond
    `REFUSALS_TOLD` a minute a worker tells only how many there were, with the next one."""

    def __init__(self, trail: Trail, clock: Clock, transaction: Transaction) -> None:
        self._trail, self._clock, self._transaction = trail, clock, transaction
        self._windows: dict[Action, _Window] = {}

    async def tell(
        self,
        action: Action,
        why: str,
        origin: Origin,
        *,
        actor: str = "anonymous",
        subject: str | None = None,
        details: Details = NOTHING,
    ) -> None:
        """One more; raises Unavailable where it cannot be stored."""
        now = self._clock.now()
        window = self._windows.setdefault(action, _Window(now))
        if not _within(REFUSALS_WINDOW, window.since, now):
            window.since, window.told = now, 0
        if window.told >= REFUSALS_TOLD:
            window.untold += 1
            return
        window.told += 1
        untold, window.untold = window.untold, 0
        if untold:
            details = {**details, "untold": untold}
        try:
            await self._record(action, why, origin, actor, subject, details)
        except BaseException:  # likewise
            window.untold += untold + 1  # told to nobody: that is for the next
            raise

    @safe_to_repeat
    async def _record(
        self, action: Action, why: str, origin: Origin, actor: str, subject: str | None, details: Details
    ) -> None:
        async with self._transaction():
            await self._trail.record_at_door(
                origin, action, actor=actor, subject=subject, outcome=Outcome.REFUSED, reason=why, details=details
            )
