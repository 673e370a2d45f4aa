"""What can happen too often to tell the audit trail of each: it is counted, and told of now and then."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from application.audit import Trail
from application.repetition import safe_to_repeat
from domain.audit import Action, Outcome
from domain.clients import Client, ClientId
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
        if known is not None and now - known.since < TOLD_AGAIN:
            known.issued += 1
            return
        before = 0 if known is None else known.issued
        counted = self._begin(client_id, now)  # before anything is awaited: of calls at one moment, one tells
        try:
            await self._tell(client_id, before + 1, origin)
        except BaseException:
            counted.issued += before  # told to nobody: that is for the next
            counted.since = now - TOLD_AGAIN
            raise

    def _begin(self, client_id: ClientId, now: datetime) -> _Count:
        counted = self._counts[client_id] = _Count(now)
        self._counts.move_to_end(client_id)
        if len(self._counts) > ROOM:
            self._counts.popitem(last=False)
        return counted

    async def _tell(self, client_id: ClientId, issued: int, origin: Origin) -> None:
        client = f"client:{client_id}"
        async with self._transaction():
            await self._trail.record_at_door(
                origin, Action.CLIENT_TOKENS, actor=client, subject=client, details={"issued": issued}
            )


class RefusedRequests:
    """Authorization requests that were refused. Each is told of as it comes; but anybody can send them, and they cost
    nothing. Of those beyond `REFUSALS_TOLD` a minute a worker tells only how many there were, with the next one."""

    def __init__(self, trail: Trail, clock: Clock, transaction: Transaction) -> None:
        self._trail, self._clock, self._transaction = trail, clock, transaction
        self._since: datetime | None = None
        self._told = self._untold = 0

    async def tell(self, client: Client | None, why: str, origin: Origin) -> None:
        """One more; raises Unavailable where it cannot be stored."""
        now = self._clock.now()
        if self._since is None or now - self._since >= REFUSALS_WINDOW:
            self._since, self._told = now, 0
        if self._told >= REFUSALS_TOLD:
            self._untold += 1
            return
        self._told += 1
        untold, self._untold = self._untold, 0
        try:
            await self._record(client, why, untold, origin)
        except BaseException:
            self._untold += untold + 1  # told to nobody: that is for the next
            raise

    @safe_to_repeat
    async def _record(self, client: Client | None, why: str, untold: int, origin: Origin) -> None:
        async with self._transaction():
            await self._trail.record_at_door(
                origin,
                Action.AUTHORIZATION_REFUSED,
                subject=None if client is None else f"client:{client.id}",
                outcome=Outcome.REFUSED,
                reason=why,
                details={"untold": untold} if untold else {},
            )
