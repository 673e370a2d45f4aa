"""Turns: how comparisons of a password with an account's wait where guessing is slowed down."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from application.repetition import safe_to_repeat
from domain.credentials import Failures
from domain.errors import TooManyAttempts
from domain.ports import Clock, SignInFailures, Transaction

type Turn = tuple[Failures, datetime]
"""A try that was due: the failures it saw, and when it was claimed."""

TRIES_AT_ONCE = 16


class Tries:
    """Comparisons under way in this worker, by account name: what comes at once cannot yet count each other's
    failures, so there is a bound to how many that may be."""

    def __init__(self) -> None:
        self._under_way: Counter[bytes] = Counter()

    @contextmanager
    def one_of(self, key: bytes) -> Iterator[None]:
        """Be one of them; raises TooManyAttempts where there are enough."""
        if self._under_way[key] >= TRIES_AT_ONCE:
            raise too_many(timedelta(0))
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]


def too_many(wait: timedelta) -> TooManyAttempts:
    """The refusal of a try that comes too early; `wait` is rounded up to whole seconds, at least one."""
    return TooManyAttempts(
        "too many sign-ins for this account at the moment; wait before the next try",
        retry_after=int(wait.total_seconds()) + 1,
    )


@dataclass(frozen=True, slots=True)
class Turns:
    """The tries that the failures counted under one key still allow, one at a time once there were a few."""

    failures: SignInFailures
    clock: Clock
    transaction: Transaction

    async def take(self, key: bytes) -> Turn | None:
        """The turn this try has taken, None where none is needed yet. Inside a transaction.

        Raises TooManyAttempts while guessing is slowed down, and for all but one of those that come at once.
        """
        now = self.clock.now()
        failures = await self.failures.get(key)
        if failures is None:
            return None
        if wait := failures.wait(now):
            raise too_many(wait)
        if not failures.slowed(now):
            return None
        if not await self.failures.claim(key, failures, now):
            raise too_many(replace(failures, last_at=now).wait(now))
        return failures, now

    @safe_to_repeat
    async def give_back(self, key: bytes, turn: Turn | None) -> None:
        """A try that was shed compared nothing, so it must not cost its turn. Outside of any transaction."""
        if turn is not None:
            async with self.transaction():
                await self.failures.give_back(key, *turn)
