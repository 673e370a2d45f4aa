"""Scrypt (RFC 7914) behind Hexward's PasswordHasher port, from the standard library alone."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from dishka import Provider, Scope, provide

from domain.credentials import normalized
from domain.errors import Invalid, Overloaded, Unavailable
from domain.ports import PasswordHasher, Verdict
from entrypoints.settings import Settings

OWN = (14, 8, 5)
"""Base-2 logarithm of the cost, block size, lanes: 16 MiB, one of the choices of OWASP's password storage page."""
SIZE = 32  # bytes, of a derived key
_FORM = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})")
_MOST_WORK = 256 * 2**20  # bytes to fill; an imported hash could otherwise ask for all memory, or for days

type Stored = tuple[tuple[int, int, int], bytes, bytes]  # parameters, salt, key


class ScryptHasher:
    """`threads` passwords at a time while `queue` more wait; whoever comes then is shed. Close it at the end."""

    def __init__(self, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="scrypt")
        self._room = threading.Semaphore(threads + queue)
        self._closed = False
        self._nobodys: Stored = OWN, secrets.token_bytes(16), secrets.token_bytes(SIZE)

    async def hash(self, password: str) -> str:
        plain = _bytes(password)
        if plain is None:
            raise Invalid.field("/password", "not valid Unicode text", code="password_malformed")
        return await self._run(lambda: _write(plain))

    async def verify(self, password: str, hash: str | None) -> Verdict:
        return await self._run(lambda: self._verdict(_bytes(password), hash))

    def close(self) -> None:
        """Finish what runs; what waits or comes later raises Unavailable."""
        self._closed = True
        self._pool.shutdown(wait=True)

    async def _run[T](self, job: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise Overloaded("too many sign-ins at once; try again in a moment")

        def begin() -> T:
            if self._closed:
                raise Unavailable("the service is shutting down")
            return job()

        try:
            future = self._pool.submit(begin)
        except RuntimeError as error:  # after close()
            self._room.release()
            raise Unavailable("the service is shutting down") from error
        future.add_done_callback(lambda _: self._room.release())  # also for a caller who gave up waiting
        return await asyncio.wrap_future(future)

    def _verdict(self, plain: bytes | None, hash: str | None) -> Verdict:
        stored = _read(hash or "")
        parameters, salt, key = stored or self._nobodys  # the same work where nothing can match
        same = hmac.compare_digest(key, _derive(plain or b"", salt, parameters))
        matches = same and stored is not None and plain is not None
        return Verdict(matches, outdated=matches and parameters != OWN)


def _bytes(password: str) -> bytes | None:
    """What is hashed, or None for lone surrogates, which no account can have in its password."""
    try:
        return normalized(password).encode()
    except UnicodeEncodeError:
        return None


def _derive(plain: bytes, salt: bytes, parameters: tuple[int, int, int]) -> bytes:
    cost, block, lanes = parameters
    return hashlib.scrypt(plain, salt=salt, n=2**cost, r=block, p=lanes, maxmem=2 * _MOST_WORK, dklen=SIZE)


def _write(plain: bytes) -> str:
    """A fresh hash as a PHC string."""
    salt = secrets.token_bytes(16)
    texts = [base64.b64encode(part).rstrip(b"=").decode() for part in (salt, _derive(plain, salt, OWN))]
    return "$scrypt$ln={},r={},p={}${}${}".format(*OWN, *texts)


def _read(hash: str) -> Stored | None:
    """A scrypt hash in its parts; None for other forms, and for one that would cost too much."""
    match = _FORM.fullmatch(hash)
    if match is None:
        return None
    cost, block, lanes = map(int, match.group(1, 2, 3))
    if not (cost and block and lanes and 128 * block * lanes * 2**cost <= _MOST_WORK):
        return None
    return (cost, block, lanes), base64.b64decode(match[4] + "=="), base64.b64decode(match[5] + "=")


class Scrypt(Provider):
    scope = Scope.APP

    @provide
    async def hasher(self, settings: Settings) -> AsyncIterator[PasswordHasher]:
        threads = settings.hashing_threads or max(1, (os.cpu_count() or 1) // settings.workers)
        hasher = ScryptHasher(threads, settings.hashing_queue)
        yield hasher
        hasher.close()


provider = Scrypt()
