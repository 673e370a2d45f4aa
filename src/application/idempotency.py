"""Requests that may be sent twice and count once: their answer is stored in the transaction of the change itself.

A use case owns its transaction, and its answer is written out only after that has ended. So an `Attempt` holds the
transaction open: where the use case takes it for committed, it is complete, and the commit comes with the answer.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from application.keys import KeyRing
from domain.errors import Invalid
from domain.idempotency import KEPT, Answered
from domain.policies import Actor
from domain.ports import Answers, Clock, Sealer, Transaction

KEY_MAX = 255
CONTEXT = "idempotent_answers"

_under_way: ContextVar["Attempt | None"] = ContextVar("attempt", default=None)


class AnsweredBefore(Exception):
    """Ends a use case at its first step: the request was answered, with `answer`."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Joining:
    """The Transaction port as use cases have it: within an attempt, every transaction is a part of its one."""

    transaction: Transaction

    def __call__(self) -> AbstractAsyncContextManager[None]:
        """Begin, or go on with the attempt's."""
        attempt = _attempt()
        return self.transaction() if attempt is None else attempt.part(self.transaction)

    def reading(self) -> AbstractAsyncContextManager[None]:
        """Read, in the attempt's transaction where that is open; reading alone begins no attempt."""
        attempt = _attempt()
        if attempt is None or not attempt.begun:
            return self.transaction.reading()
        return attempt.part(self.transaction)

    def alone(self) -> AbstractAsyncContextManager[None]:
        """By itself, or as a part of the attempt."""
        attempt = _attempt()
        return self.transaction.alone() if attempt is None else attempt.part(self.transaction)


def _attempt() -> "Attempt | None":
    """The attempt that this task is at; a job that it started is no part of it."""
    attempt = _under_way.get()
    return attempt if attempt is not None and attempt.task is asyncio.current_task() else None


class Attempt:
    """One request with an Idempotency-Key. Nothing is held, nor claimed, before the use case's own transaction."""

    def __init__(self, answers: Answers, clock: Clock, sealer: Sealer, id: bytes, fingerprint: bytes) -> None:
        self._answers, self._clock, self._sealer = answers, clock, sealer
        self._id, self._fingerprint = id, fingerprint
        self.task = asyncio.current_task()
        self._held: AbstractAsyncContextManager[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether its transaction is open."""
        return self._held is not None

    @asynccontextmanager
    async def part(self, transaction: Transaction) -> AsyncIterator[None]:
        """What a use case takes for its transaction. If it raises, all of the attempt is rolled back.

        Raises AnsweredBefore, Conflict (`idempotency_key_in_use`) or Invalid (`idempotency_key_reused`).
        """
        try:
            if self._held is None:
                begun = transaction()
                await begun.__aenter__()
                self._held = begun
                await self._claim()
            yield
        except BaseException:  # cancellation, too, must leave no transaction open
            await self.let_go(*sys.exc_info())
            raise

    async def conclude(self, answer: bytes | None) -> None:
        """Commit what the use case did, with the answer to give from now on; None: an error, which is not kept."""
        if self._held is None:
            return
        try:
            if answer is not None:
                sealed = self._sealer.seal(answer, CONTEXT)
                now = self._clock.now()
                await self._answers.add(Answered(self._id, self._fingerprint, sealed, now + KEPT), now)
        except BaseException:  # cancellation, too, must leave no transaction open
            await self.let_go(*sys.exc_info())
            raise
        await self.let_go(None, None, None)

    async def _claim(self) -> None:
        found = await self._answers.claim(self._id, self._clock.now())
        if found is not None:
            found.require_same(self._fingerprint)
            raise AnsweredBefore(self._sealer.open(found.sealed, CONTEXT))

    async def let_go(self, *error: object) -> None:
        """End the transaction if it is open: by the error that is given, or by a commit."""
        held, self._held = self._held, None
        if held is not None:
            await held.__aexit__(*error)  # type: ignore[arg-type]  # what sys.exc_info() gives


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Begins attempts. Keys of different callers or operations never meet."""

    answers: Answers
    ring: KeyRing
    sealer: Sealer
    clock: Clock

    @asynccontextmanager
    async def __call__(self, actor: Actor, operation: str, key: str, request: bytes) -> AsyncIterator[Attempt]:
        """An attempt at `request` (all that makes it another one: address and body). What the block leaves without
        `conclude` is rolled back. Raises Invalid for a malformed key."""
        if not (1 <= len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
            raise Invalid(
                f"an Idempotency-Key has 1 to {KEY_MAX} printable ASCII characters", code="idempotency_key_malformed"
            )
        named = "\0".join((actor.label, operation, key)).encode()
        attempt = Attempt(
            self.answers,
            self.clock,
            self.sealer.under(named),
            self.ring.keyed_hash("idempotency-key", named),
            self.ring.keyed_hash("idempotent-request", hashlib.sha256(request).digest()),
        )
        token = _under_way.set(attempt)
        try:
            yield attempt
        except BaseException:  # cancellation, too, must leave no transaction open
            await attempt.let_go(*sys.exc_info())
            raise
        else:
            await attempt.let_go(_Unanswered, _Unanswered(), None)
        finally:
            _under_way.reset(token)


class _Unanswered(Exception):
    """What an attempt is rolled back with when nobody concluded it."""
