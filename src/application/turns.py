"""Turns: how a comparison of passwords waits where guessing is slowed down."""

from dataclasses import dataclass, replace

from application.sessions import Turn, too_many
from domain.ports import Clock, SignInFailures, Transaction


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

    async def give_back(self, key: bytes, turn: Turn | None) -> None:
        """A try that was shed compared nothing, so it must not cost its turn. Outside of any transaction."""
        if turn is not None:
            async with self.transaction():
                await self.failures.give_back(key, *turn)
