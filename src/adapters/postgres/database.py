"""The connection pool and the transaction that all storage ports of this adapter work in.

SQLAlchemy lends the connections and composes statements; BEGIN, COMMIT and ROLLBACK are sent here. SQLAlchemy would
send BEGIN only before its own first statement, and statements that go to asyncpg directly would not be inside.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, cast

from sqlalchemy import Connection, CursorResult, Executable, event, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import greenlet_spawn

from adapters.postgres.faults import DRIVER_FAULTS, interrupted, passes, timed_out, unconfirmed
from adapters.postgres.tables import SERVICE_ROLE
from adapters.postgres.urls import connect, dsn, refused_later
from domain.errors import Overloaded, Unavailable, Undone

log = logging.getLogger(__name__)

POOL_SIZE = 10
POOL_TIMEOUT = 5.0
"""Seconds to wait for a free connection."""
WAITING_PER_CONNECTION = 100
"""How many callers may wait for each connection of the pool; whoever comes then is shed at once."""

SETTINGS: Mapping[str, str] = {
    "application_name": "hexward",
    "search_path": "pg_catalog",  # everything of ours is named with its schema, so nothing can step in between
    "timezone": "UTC",  # adding an interval to a time must not depend on where the server stands
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "30",  # the server notices when we are gone without a word, and frees our locks
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "jit": "off",  # small statements never earn back what compiling them costs
}
_COMMAND_TIMEOUT = 12.0  # seconds; over statement_timeout, so it only ends waiting for a server that is gone
_BEGIN_TIMEOUT = 3.0  # seconds; there is nothing to do for the server, so one that takes longer does not answer
_ROLLBACK_TIMEOUT = 2.0  # seconds
_BEGIN_TRIES = 3
_TELL_AGAIN = 10.0  # seconds, between two log lines about callers that are shed
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_FAULTS = (DBAPIError, *DRIVER_FAULTS)


class Mode(Enum):
    """What stands around statements: one transaction for all; none, for they only read; or one for each."""

    WHOLE = "whole"
    READING = "reading"
    ALONE = "alone"


class Row(Protocol):
    """A row, of SQLAlchemy's or asyncpg's making."""

    def __getitem__(self, column: str, /) -> Any: ...


class Database:
    """One PostgreSQL database, and the Transaction port on it. Nothing connects before the first transaction."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = POOL_SIZE,
        pool_timeout: float = POOL_TIMEOUT,
        service_role: str | None = SERVICE_ROLE,
    ) -> None:
        """`service_role`: what every connection acts as, whoever logs in, so that the audit trail stays append-only
        with the owner's login too; None for the login itself. Raises StartRefused for a malformed address."""
        self.url = dsn(url)
        self._service_role = service_role
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=None,  # nobody waits there: whoever asks it for a connection has a place
            pool_use_lifo=True,
            pool_reset_on_return=None,
            hide_parameters=True,  # they are people's data, and errors reach logs
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        self._places = _Places(pool_size, pool_timeout)
        self._current: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)
        self._endings: set[asyncio.Task[Any]] = set()

    async def _connect(self) -> Any:
        with refused_later():
            return await connect(self.url, settings=SETTINGS, role=self._service_role, command_timeout=_COMMAND_TIMEOUT)

    def transaction(self) -> "_Transaction":
        """`async with database.transaction():` begins, commits at the end, rolls back if the block raises.

        Raises RuntimeError when this task already is in one, Overloaded, Undone (nothing is stored, and the same work
        may be repeated at once), or Unavailable.
        """
        return _Transaction(self, Mode.WHOLE)

    __call__ = transaction

    def reading(self) -> "_Transaction":
        """`async with database.reading():` for hot statements that only read and each stand alone: no BEGIN, no COMMIT.

        Raises as `transaction` does, and RuntimeError for whatever would write.
        """
        return _Transaction(self, Mode.READING)

    def alone(self) -> "_Transaction":
        """As `reading`, also for hot statements that are made to be a transaction of their own.

        Where such a statement raises Undone, it may have been stored all the same, which its repetition has to find.
        """
        return _Transaction(self, Mode.ALONE)

    @property
    def connection(self) -> AsyncConnection:
        """The connection of the transaction that this task is in; raises RuntimeError if it is in none."""
        return self._joined().composing()

    async def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement in the transaction. Raises IntegrityError, Unavailable."""
        connection = self._joined().composing()
        with self._told():
            return await connection.execute(statement, values)

    async def rows(self, statement: Executable) -> Sequence[Row]:
        """All rows, by column name. Raises Unavailable."""
        return (await self.execute(statement)).mappings().all()

    async def row(self, statement: Executable) -> Row | None:
        """The first row, by column name, or None. Raises Unavailable."""
        return (await self.execute(statement)).mappings().first()

    async def fetch(self, hot: "Hot", **values: Any) -> Sequence[Row]:
        """All rows of a hot statement. Raises IntegrityConstraintViolationError, Unavailable."""
        joined = self._joined()
        if joined.mode is not Mode.WHOLE and not (hot.reads or (joined.mode is Mode.ALONE and hot.alone)):
            raise RuntimeError("this statement may write, and so needs a transaction")
        sql, names, constants = hot.compiled
        values |= constants
        with self._told():
            rows: Sequence[Row] = await joined.driver.fetch(sql, *[values[name] for name in names])
        self._places.silent = False
        return rows

    async def first(self, hot: "Hot", **values: Any) -> Row | None:
        """The first row of a hot statement, or None. Raises as `fetch` does."""
        rows = await self.fetch(hot, **values)
        return rows[0] if rows else None

    async def ping(self) -> None:
        """A round trip to the database; raises Unavailable."""
        async with self.transaction():
            await self.fetch(_PING)

    async def close(self) -> None:
        """Close all connections, once transactions that are being rolled back have let go of theirs."""
        if self._endings:
            await asyncio.wait(self._endings)
        await self._engine.dispose()

    async def _lend(self) -> PoolProxiedConnection:
        """A connection, with the place that goes with it. Raises Overloaded, Unavailable."""
        await self._places.take()
        try:
            with self._told():
                if cast(QueuePool, self._engine.pool).checkedin() > 0:
                    return await greenlet_spawn(self._engine.pool.connect)
        except BaseException:  # cancelled as well: a place that is not given back is lost for good
            self._places.give_back()
            raise
        return await self._connect_to_the_end()

    async def _connect_to_the_end(self) -> PoolProxiedConnection:
        """Open a connection; a caller who is cancelled meanwhile leaves it to the pool, not half open to nobody."""
        opening = asyncio.create_task(self._open())
        self._finish(opening)
        try:
            with self._told():
                return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._return_unused)
            raise

    async def _open(self) -> PoolProxiedConnection:
        try:
            return await greenlet_spawn(self._engine.pool.connect)
        except BaseException:  # cancelled as well: a place that is not given back is lost for good
            self._places.give_back()
            raise

    def _return_unused(self, opening: asyncio.Task[PoolProxiedConnection]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            opening.result().close()
            self._places.give_back()

    def _finish(self, ending: asyncio.Task[Any]) -> None:
        """Keep hold of what has to come to its end, whoever asked for it."""
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Faults that pass by themselves become Unavailable, or Undone before the end of a transaction."""
        try:
            yield
        except _FAULTS as error:
            if timed_out(error):
                self._places.silent = True
            if passes(error):
                raise interrupted(error) from error
            raise
        except Unavailable as error:  # of a new connection
            if timed_out(error):
                self._places.silent = True
            raise

    def _joined(self) -> "_Transaction":
        current = self._current.get()
        if current is None or current.task is not asyncio.current_task():
            raise RuntimeError("storage is used inside a transaction only, and by the task that began it")
        return current


class Hot:
    """A statement that is compiled once, when it is first used, and then run on asyncpg directly.

    asyncpg takes lists, intervals and ids as they are, but JSON as text (and gives it decoded).
    """

    def __init__(self, statement: ClauseElement, *, alone: bool = False) -> None:
        """`statement` names its parameters with `bindparam`; a malformed one raises CompileError when it is used.
        `alone`: it writes, may be a transaction of its own, and does nothing new when it is repeated."""
        self._statement, self.alone = statement, alone

    @cached_property
    def compiled(self) -> tuple[str, Sequence[str], Mapping[str, Any]]:
        """The text, the names of its parameters in order, and those of them that are always the same."""
        compiled = cast(SQLCompiler, self._statement.compile(dialect=_DIALECT))
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        return str(compiled), compiled.positiontup or (), constants

    @cached_property
    def reads(self) -> bool:
        """Whether the statement changes and locks nothing."""
        sql = self.compiled[0]
        return sql.startswith("SELECT") and " FOR " not in sql


_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types
_PING = Hot(text("SELECT 1"))


class _Places:
    """One place for each connection of the pool. Whoever finds none waits, for a bounded time and among a bounded
    number, or is shed at once; while the database is silent nobody waits, for there is nothing to wait for."""

    def __init__(self, size: int, patience: float) -> None:
        self._size, self._patience = size, patience
        self._free = asyncio.Semaphore(size)
        self._waiting = 0
        self._shed = 0
        self._told_at = float("-inf")
        self.silent = False
        """Whether the last that was heard of the database is that it did not answer in time."""

    async def take(self) -> None:
        """Take a place, in the order of asking; raises Overloaded."""
        if not self._free.locked():
            await self._free.acquire()  # at once
            return
        if self.silent or self._waiting >= self._size * WAITING_PER_CONNECTION:
            raise self._refusal()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise self._refusal() from None
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """Let the next caller have it."""
        self._free.release()

    def _refusal(self) -> Overloaded:
        """Told in the log when it begins, and now and then while it lasts."""
        self._shed += 1
        now = time.monotonic()
        if now - self._told_at >= _TELL_AGAIN:
            log.warning(
                "all %d database connections are in use%s: %d callers shed, %d waiting",
                self._size, " and the database is silent" if self.silent else "", self._shed, self._waiting,
            )  # fmt: skip
            self._told_at, self._shed = now, 0
        return Overloaded("all database connections are in use; try again in a moment")


class _Transaction:
    """One transaction, or one stretch without one, on one connection, of one task."""

    __slots__ = ("_composing", "_database", "_lent", "driver", "mode", "task")

    def __init__(self, database: Database, mode: "Mode") -> None:
        self._database = database
        self._composing: AsyncConnection | None = None
        self.mode = mode
        self.task: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        current = self._database._current.get()
        if current is not None and current.task is task:
            raise RuntimeError("transactions do not nest")
        for _ in range(_BEGIN_TRIES - 1):
            try:
                await self._begin()
                break
            except Undone:  # a connection that was lost while it lay idle: another one will do
                continue
        else:
            await self._begin()
        self.task = task
        self._database._current.set(self)

    async def _begin(self) -> None:
        self._lent = await self._database._lend()
        self.driver = cast(Any, self._lent.driver_connection)
        if self.mode is not Mode.WHOLE:
            return
        try:
            with self._database._told():
                await self.driver.execute(_BEGIN, timeout=_BEGIN_TIMEOUT)
        except BaseException as error:
            await self._abandon(error)
            raise
        self._database._places.silent = False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task = None
        self._database._current.set(None)
        if error is not None:
            await self._abandon(error)
            return
        if self.mode is not Mode.WHOLE:
            await self._close()
            return
        try:
            with self._database._told():
                outcome = await self.driver.execute("COMMIT")
        except Undone as fault:
            await self._abandon(fault)
            raise unconfirmed(fault) from fault
        except BaseException as fault:
            await self._abandon(fault)
            raise
        await self._close()
        if outcome != "COMMIT":
            raise RuntimeError("a statement of this transaction failed and its error was swallowed; nothing is stored")

    def composing(self) -> AsyncConnection:
        """The connection for statements that SQLAlchemy composes; most transactions need none."""
        if self.mode is not Mode.WHOLE:
            raise RuntimeError("only hot statements may read outside a transaction")
        if self._composing is None:
            engine = self._database._engine
            self._composing = AsyncConnection(engine, Connection(engine.sync_engine, self._lent))
        return self._composing

    async def _close(self) -> None:
        try:
            if self._composing is not None:
                await self._composing.close()
            elif self._lent.is_valid:
                self._lent.close()
        finally:
            self._database._places.give_back()

    async def _abandon(self, error: BaseException) -> None:
        """Roll back and give the connection back, whatever becomes of the caller meanwhile."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # it is gone, and its connections with it
            return
        ending = loop.create_task(self._roll_back(answers=not timed_out(error)))
        self._database._finish(ending)
        if isinstance(error, GeneratorExit | asyncio.CancelledError):
            return  # who is thrown away may not wait, and who is in a hurry need not
        await asyncio.shield(ending)

    async def _roll_back(self, *, answers: bool) -> None:
        """Never give back a connection that is still in a transaction: what cannot be rolled back is closed."""
        try:
            if not answers:
                raise TimeoutError
            async with asyncio.timeout(_ROLLBACK_TIMEOUT):
                await self.driver.execute("ROLLBACK")
        except DRIVER_FAULTS:
            self.driver.terminate()
        except BaseException:
            self.driver.terminate()
            raise
        finally:
            try:
                if self.driver.is_closed() and self._lent.is_valid:  # else SQLAlchemy has noticed, and done so
                    await greenlet_spawn(self._lent.invalidate)
            finally:
                await self._close()


def _refuse_closed(driver: Any, *_: object) -> None:
    """Have the pool replace a connection that the server has closed; asking is free, unlike a round trip."""
    if driver.driver_connection.is_closed():
        raise DisconnectionError
