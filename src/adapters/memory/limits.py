"""Quotas counted in the memory of one worker."""

from collections import OrderedDict

from domain.limits import Allowance, Quota, spend
from domain.ports import Clock

ROOM = 50_000
"""Callers that are remembered; whoever was quiet for longest is forgotten first."""


class MemoryLimiter:
    """One number a caller and quota. The memory is bounded however many addresses a caller makes up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def take(self, quota: Quota, caller: str, cost: int = 1) -> Allowance:
        key = (quota.name, caller)
        full_at, allowance = spend(quota, self._full_at.get(key, 0.0), self._clock.monotonic(), cost)
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > ROOM:
            self._full_at.popitem(last=False)
        return allowance
