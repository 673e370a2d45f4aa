"""Time and chance as the operating system gives them."""

import asyncio
import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# Counts on while the machine sleeps, as time.monotonic() does not on Linux: after a laptop or virtual machine wakes up,
# what was read before must look as old as it is. Elsewhere CLOCK_MONOTONIC already does so, or there is nothing better.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_COUNTER_BITS = 26
_TAIL_BITS = 74 - _COUNTER_BITS
_VERSION_7 = 7
_VARIANT = 0b10


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(_SINCE_BOOT)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RandomSecrets:
    """UUIDv7 with a counter (RFC 9562, 6.2, method 1): 48 bits of milliseconds, 26 of counter, 48 of randomness.

    The counter starts anew at a random number each millisecond and counts up within it. While the given time stands
    still or goes back, the last millisecond is used on; a counter that is full borrows the next one. So ids ascend
    whatever the clock does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chance = _Chance()
        self._millis = -1
        self._counter = 0

    def uuid(self, now: datetime) -> UUID:
        """Raises ValueError for a time before 1970, which the format cannot hold."""
        millis = (now - _EPOCH) // _MILLISECOND  # whole numbers: a float would round into the wrong millisecond
        if millis < 0:
            raise ValueError("a UUIDv7 cannot be of a time before 1970")
        with self._lock:
            random = self._chance.bits(_TAIL_BITS)
            millis, counter = self._next(millis)
        high, low = counter >> 14, counter & 0x3FFF
        return UUID(
            int=millis << 80 | _VERSION_7 << 76 | high << 64 | _VARIANT << 62 | low << _TAIL_BITS | random,
        )

    def _next(self, millis: int) -> tuple[int, int]:
        if millis > self._millis:
            self._restart(millis)
        elif self._counter + 1 < 1 << _COUNTER_BITS:
            self._counter += 1
        else:
            self._restart(self._millis + 1)
        return self._millis, self._counter

    def _restart(self, millis: int) -> None:
        self._millis = millis
        self._counter = self._chance.bits(_COUNTER_BITS - 1)  # its upper half stays free to count into

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)


class _Chance:
    """Random bits of the system's, fetched by the page: to ask for them lets go of the interpreter, which on a busy
    server another thread then takes, and ids are made all the time. Nothing secret comes from here."""

    def __init__(self) -> None:
        self._page, self._next, self._process = b"", 0, 0

    def bits(self, count: int) -> int:
        size = (count + 7) // 8
        if self._next + size > len(self._page) or self._process != os.getpid():  # a child never draws as its parent
            self._page, self._next, self._process = os.urandom(4096), 0, os.getpid()
        drawn = int.from_bytes(self._page[self._next : self._next + size])
        self._next += size
        return drawn >> (size * 8 - count)
