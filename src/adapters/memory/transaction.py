"""Dictionaries that can undo what a transaction wrote, and the transaction itself.

Transactions run one after the other, under a single lock. That is stricter than PostgreSQL, where only writers of the
same row wait for each other; every row lock that a port promises follows from it, and a reader never sees half of a
change. Values are frozen, so undoing is putting the old value back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from domain.errors import DomainError
from domain.ports import Change


class MemoryTransaction:
    """One transaction at a time. It belongs to the task that began it: another task has to begin its own."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._undo: list[Callable[[], object]] = []
        self._announced: list[Change] = []
        self._refused = False
        self._reading = False
        self.listeners: set[Callable[[Sequence[Change]], None]] = set()
        """Told what was announced, after each commit that announced something."""

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if self._owner is not None and self._owner is task:
            raise RuntimeError("transactions do not nest")
        async with self._turn:
            self._owner = task
            try:
                yield
                if self._refused:
                    raise RuntimeError("a refusal inside this transaction was swallowed; nothing is stored")
            except BaseException:
                while self._undo:
                    self._undo.pop()()
                self._announced.clear()
                raise
            finally:
                self._owner = None
                self._refused = False
                self._undo.clear()
            announced = tuple(self._announced)
            self._announced.clear()
            if announced:
                for listener in tuple(self.listeners):
                    listener(announced)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with self():
            self._reading = True
            try:
                yield
            finally:
                self._reading = False

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self():
            try:
                yield
            finally:
                self._undo.clear()

    def require(self) -> None:
        """Raises RuntimeError unless the running task is inside the transaction."""
        if self._owner is None or self._owner is not asyncio.current_task():
            raise RuntimeError("storage is used inside a transaction only")

    def refused(self, error: DomainError) -> DomainError:
        """The error to raise. As in PostgreSQL, nothing that such a transaction wrote can be kept."""
        self._refused = True
        return error

    def undo_by(self, step: Callable[[], object]) -> None:
        """Remember how to take a write back. Raises RuntimeError while only reading."""
        if self._reading:
            raise RuntimeError("this may write, and so needs a transaction")
        self._undo.append(step)

    def announce(self, change: Change) -> None:
        """Tell the change feeds, once committed."""
        self.require()
        self._announced.append(change)


class Table[K, V]:
    """Rows by key, reachable inside the transaction only."""

    def __init__(self, transaction: MemoryTransaction) -> None:
        self._transaction = transaction
        self._rows: dict[K, V] = {}

    def seed(self, key: K, row: V) -> None:
        """A row that is there from the start, before any transaction."""
        self._rows[key] = row

    def get(self, key: K) -> V | None:
        """The row, or None."""
        self._transaction.require()
        return self._rows.get(key)

    def all(self) -> list[V]:
        """All rows, in no order that may be relied on."""
        self._transaction.require()
        return list(self._rows.values())

    def items(self) -> list[tuple[K, V]]:
        """All rows with their keys."""
        self._transaction.require()
        return list(self._rows.items())

    def put(self, key: K, row: V) -> None:
        """Add or replace a row."""
        self._keep(key)
        self._rows[key] = row

    def remove(self, key: K) -> None:
        """Remove a row if it is there."""
        self._keep(key)
        self._rows.pop(key, None)

    def _keep(self, key: K) -> None:
        self._transaction.require()
        rows = self._rows
        if key in rows:
            old = rows[key]
            self._transaction.undo_by(lambda: rows.__setitem__(key, old))
        else:
            self._transaction.undo_by(lambda: rows.pop(key, None))
