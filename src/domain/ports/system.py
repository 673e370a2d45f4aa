"""Time and chance."""

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """Time. `now` is for what is stored and compared with it, `monotonic` (seconds) for measuring how long."""

    def now(self) -> datetime:
        """The time, aware, UTC, to the microsecond."""

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets."""

    async def sleep(self, seconds: float) -> None:
        """Return after that long; cancellable."""


class Secrets(Protocol):
    """Randomness: ids that sort by time, and values that cannot be guessed."""

    def uuid(self, now: datetime) -> UUID:
        """A UUIDv7 (RFC 9562) of that moment; those of one process ascend."""

    def token(self, size: int) -> bytes:
        """`size` random bytes, fit for keys."""
