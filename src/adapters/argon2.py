"""Password hashes: Argon2id in a bounded pool of its own threads, and comparisons with foreign bcrypt hashes."""

import asyncio
import base64
import contextlib
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import bcrypt
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

from domain.credentials import normalized
from domain.errors import Invalid, Overloaded, Unavailable
from domain.ports import Verdict

log = logging.getLogger(__name__)

MEMORY_KIB = 19 * 1024
"""With two passes and one lane: what OWASP's password storage cheat sheet names first for Argon2id."""
PASSES = 2
LANES = 1

NICENESS = 10
"""How far hashing steps back behind all other threads; the scheduler's scale from 0 to 19."""

BCRYPT_MAX_BYTES = 72
"""bcrypt ignores whatever comes after (PARITY R22), and after a NUL."""
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")

# Without bounds, an imported hash could keep a thread busy for days, or take all memory.
_BCRYPT_MOST_COST = 16
_ARGON2_MOST_MEMORY_KIB = 1024 * 1024
_ARGON2_MOST_WORK_KIB = 8 * 1024 * 1024


class Argon2Hasher:
    """`threads` comparisons run at a time and `queue` more may wait; whoever comes then is shed at once.

    A caller that is cancelled while it waits leaves the queue, and its work is not done. Work that has begun is
    finished, and makes room only then. Close it at the end.
    """

    def __init__(self, threads: int, queue: int) -> None:
        """Raises ValueError for less than one thread or a negative queue."""
        self._pool = _Pool(threads, queue)
        self._argon2 = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID)
        self._dummy = _hash_of_nothing(self._argon2)

    @property
    def waiting(self) -> int:
        """How many callers wait for a thread."""
        return self._pool.waiting

    @property
    def running(self) -> int:
        """How many threads are at work."""
        return self._pool.running

    async def hash(self, password: str) -> str:
        """Raises Invalid for text that is not Unicode (lone surrogates), Overloaded, or Unavailable once closed."""
        plain = _encoded(normalized(password))
        if plain is None:
            raise Invalid.field("/password", "not valid Unicode text", code="password_malformed")
        return await self._pool.run(lambda: self._argon2.hash(plain))

    async def verify(self, password: str, hash: str | None) -> Verdict:
        """Raises Overloaded, or Unavailable once closed."""
        return await self._pool.run(lambda: self._timed(password, hash))

    def close(self) -> None:
        """Finish what runs; what waits and what comes later is refused with Unavailable."""
        self._pool.close()

    def _timed(self, password: str, hash: str | None) -> Verdict:
        began = time.monotonic()
        verdict = self._verdict(password, hash)
        return replace(verdict, seconds=time.monotonic() - began)

    def _verdict(self, password: str, hash: str | None) -> Verdict:
        if hash is not None:
            try:
                return self._compare(password, hash)
            except (ValueError, VerificationError):
                log.warning("a stored password hash is broken or of an unsupported kind; no password matches it")
        self._matches(password, self._dummy)  # for the time it takes
        return Verdict(matches=False)

    def _compare(self, password: str, hash: str) -> Verdict:
        """Raises ValueError or VerificationError for a hash that cannot be compared with."""
        if hash.startswith("$2"):
            matches = _bcrypt_matches(password, hash)
            return Verdict(matches, outdated=matches)
        _check_affordable(hash)
        matches = self._matches(password, hash)
        return Verdict(matches, outdated=matches and self._argon2.check_needs_rehash(hash))

    def _matches(self, password: str, hash: str) -> bool:
        plain = _encoded(normalized(password))
        try:
            self._argon2.verify(hash, plain or b"")
        except VerifyMismatchError:
            return False
        return plain is not None


def _hash_of_nothing(argon2: PasswordHasher) -> str:
    """A hash of the usual cost that was made from no password: as good to compare with, and made in no time."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (argon2.salt_len, argon2.hash_len)
    )
    return f"$argon2id$v={ARGON2_VERSION}$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"


def _check_affordable(hash: str) -> None:
    """Raises ValueError unless it is an Argon2 hash of reasonable cost."""
    cost = extract_parameters(hash)
    memory = max(cost.memory_cost, 8 * cost.parallelism)
    if memory > _ARGON2_MOST_MEMORY_KIB or memory * cost.time_cost > _ARGON2_MOST_WORK_KIB:
        raise ValueError("an Argon2 hash of excessive cost")


def _bcrypt_matches(password: str, hash: str) -> bool:
    """Raises ValueError for a broken hash or one of excessive cost. The password is taken as typed, not normalised."""
    form = _BCRYPT.fullmatch(hash)
    if form is None or int(form[1]) > _BCRYPT_MOST_COST:
        raise ValueError("a bcrypt hash that is broken or of excessive cost")
    plain = _encoded(password)
    if plain is None or len(plain) > BCRYPT_MAX_BYTES or b"\0" in plain:
        bcrypt.checkpw(b"", hash.encode())  # for the time it takes
        return False
    return bcrypt.checkpw(plain, hash.encode())


def _encoded(password: str) -> bytes | None:
    """UTF-8, or None for lone surrogates, which no password that was set can hold."""
    try:
        return password.encode()
    except UnicodeEncodeError:
        return None


class _Pool:
    """Threads with a bounded queue, and an exact count of who waits and who runs."""

    def __init__(self, threads: int, queue: int) -> None:
        if threads < 1 or queue < 0:
            raise ValueError("hashing needs at least one thread, and a queue of no or some places")
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="hashing", initializer=_step_back)
        self._room = threads + queue
        self._lock = threading.Lock()
        self._closed = False
        self.waiting = 0
        self.running = 0

    async def run[T](self, job: Callable[[], T]) -> T:
        future = self._submit(job)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():  # not the caller gave up, but the pool
                raise _closed() from None
            raise

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _submit[T](self, job: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._closed:
                raise _closed()
            if self.waiting + self.running >= self._room:
                raise Overloaded("too many passwords are being checked; try again in a moment", retry_after=1)
            future = self._threads.submit(self._work, job)
            self.waiting += 1  # no thread can have begun: it would need the lock
        future.add_done_callback(self._left)
        return future

    def _work[T](self, job: Callable[[], T]) -> T:
        with self._lock:
            self.waiting -= 1
            self.running += 1
        try:
            return job()
        finally:
            with self._lock:
                self.running -= 1

    def _left[T](self, future: Future[T]) -> None:
        if future.cancelled():  # only a job that has not begun can be
            with self._lock:
                self.waiting -= 1


def _step_back() -> None:
    """Let every other thread go first, the event loop above all: hashing takes all the time it gets."""
    if sys.platform == "linux":  # elsewhere priorities belong to whole processes
        with contextlib.suppress(OSError):  # a sandbox may forbid it; it is a courtesy only
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _closed() -> Unavailable:
    return Unavailable("password hashing has been shut down", code="shutting_down")
