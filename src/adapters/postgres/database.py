"""The connection pool and the transaction that all storage ports of this adapter work in.

SQLAlchemy lends the connections and composes statements; BEGIN, COMMIT and ROLLBACK are sent here. SQLAlchemy would
send BEGIN only before its own first statement, and statements that go to asyncpg directly would not be inside.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, cast

from sqlalchemy import Connection, CursorResult, Executable, event, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import greenlet_spawn

from adapters.postgres.faults import DRIVER_FAULTS, passes, unavailable
from adapters.postgres.tables import SERVICE_ROLE
from adapters.postgres.urls import connect, dsn, refused_later
from domain.errors import Unavailable

POOL_SIZE = 10
POOL_TIMEOUT = 5.0
"""Seconds to wait for a free connection."""

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
_COMMAND_TIMEOUT = 15.0  # seconds; over statement_timeout, so it only ends waiting for a server that is gone
_ROLLBACK_TIMEOUT = 2.0  # seconds
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_FAULTS = (DBAPIError, *DRIVER_FAULTS)


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
            pool_timeout=pool_timeout,
            pool_use_lifo=True,
            pool_reset_on_return=None,
            hide_parameters=True,  # they are people's data, and errors reach logs
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        self._current: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)
        self._endings: set[asyncio.Task[Any]] = set()

    async def _connect(self) -> Any:
        with refused_later():
            return await connect(self.url, settings=SETTINGS, role=self._service_role, command_timeout=_COMMAND_TIMEOUT)

    def transaction(self) -> "_Transaction":
        """`async with database.transaction():` begins, commits at the end, rolls back if the block raises.

        Raises RuntimeError when this task already is in one, Unavailable.
        """
        return _Transaction(self)

    __call__ = transaction

    def reading(self) -> "_Transaction":
        """`async with database.reading():` for hot statements that only read and each stand alone: no BEGIN, no COMMIT.

        Raises as `transaction` does, and RuntimeError for whatever would write.
        """
        return _Transaction(self, reading=True)

    @property
    def connection(self) -> AsyncConnection:
        """The connection of the transaction that this task is in; raises RuntimeError if it is in none."""
        return self._joined().composing()

    async def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement in the transaction. Raises IntegrityError, Unavailable."""
        connection = self._joined().composing()
        with _told():
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
        if joined.reading and not hot.reads:
            raise RuntimeError("this statement may write, and so needs a transaction")
        sql, names, constants = hot.compiled
        values |= constants
        with _told():
            rows: Sequence[Row] = await joined.driver.fetch(sql, *[values[name] for name in names])
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
        pool = cast(QueuePool, self._engine.pool)
        with _told():
            if pool.checkedin() > 0:
                return await self._open()
            return await self._connect_to_the_end()

    async def _connect_to_the_end(self) -> PoolProxiedConnection:
        """Open a connection; a caller who is cancelled meanwhile leaves it to the pool, not half open to nobody."""
        opening = asyncio.create_task(self._open())
        self._endings.add(opening)
        opening.add_done_callback(self._endings.discard)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._give_back)
            raise

    async def _open(self) -> PoolProxiedConnection:
        return await greenlet_spawn(self._engine.pool.connect)

    def _give_back(self, opening: asyncio.Task[PoolProxiedConnection]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            opening.result().close()

    def _joined(self) -> "_Transaction":
        current = self._current.get()
        if current is None or current.task is not asyncio.current_task():
            raise RuntimeError("storage is used inside a transaction only, and by the task that began it")
        return current


class Hot:
    """A statement that is compiled once, when it is first used, and then run on asyncpg directly.

    asyncpg takes lists, intervals and ids as they are, but JSON as text (and gives it decoded).
    """

    def __init__(self, statement: ClauseElement) -> None:
        """`statement` names its parameters with `bindparam`; a malformed one raises CompileError when it is used."""
        self._statement = statement

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


class _Transaction:
    """One transaction, or one stretch of reading, on one connection, of one task."""

    __slots__ = ("_composing", "_database", "_lent", "driver", "reading", "task")

    def __init__(self, database: Database, *, reading: bool = False) -> None:
        self._database = database
        self._composing: AsyncConnection | None = None
        self.reading = reading
        self.task: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        current = self._database._current.get()
        if current is not None and current.task is task:
            raise RuntimeError("transactions do not nest")
        self._lent = await self._database._lend()
        self.driver = cast(Any, self._lent.driver_connection)
        if not self.reading:
            try:
                with _told():
                    await self.driver.execute(_BEGIN)
            except BaseException as error:
                await self._abandon(error)
                raise
        self.task = task
        self._database._current.set(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task = None
        self._database._current.set(None)
        if error is not None:
            await self._abandon(error)
            return
        if self.reading:
            self._lent.close()
            return
        try:
            with _told():
                outcome = await self.driver.execute("COMMIT")
        except BaseException as fault:
            await self._abandon(fault)
            raise
        await self._close()
        if outcome != "COMMIT":
            raise RuntimeError("a statement of this transaction failed and its error was swallowed; nothing is stored")

    def composing(self) -> AsyncConnection:
        """The connection for statements that SQLAlchemy composes; most transactions need none."""
        if self.reading:
            raise RuntimeError("only hot statements may read outside a transaction")
        if self._composing is None:
            engine = self._database._engine
            self._composing = AsyncConnection(engine, Connection(engine.sync_engine, self._lent))
        return self._composing

    async def _close(self) -> None:
        if self._composing is not None:
            await self._composing.close()
        elif self._lent.is_valid:
            self._lent.close()

    async def _abandon(self, error: BaseException) -> None:
        """Roll back and give the connection back, also if the caller is cancelled (again) meanwhile."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # it is gone, and its connections with it
            return
        ending = loop.create_task(self._roll_back())
        self._database._endings.add(ending)
        ending.add_done_callback(self._database._endings.discard)
        if not isinstance(error, GeneratorExit):  # a coroutine that is thrown away may not wait
            await asyncio.shield(ending)

    async def _roll_back(self) -> None:
        """Never give back a connection that is still in a transaction: what cannot be rolled back is closed."""
        try:
            async with asyncio.timeout(_ROLLBACK_TIMEOUT):
                await self.driver.execute("ROLLBACK")
        except DRIVER_FAULTS:
            self.driver.terminate()
        except BaseException:
            self.driver.terminate()
            raise
        finally:
            if self.driver.is_closed() and self._lent.is_valid:  # else SQLAlchemy has noticed, and done so
                await greenlet_spawn(self._lent.invalidate)
            await self._close()


def _refuse_closed(driver: Any, *_: object) -> None:
    """Have the pool replace a connection that the server has closed; asking is free, unlike a round trip."""
    if driver.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def _told() -> Iterator[None]:
    """Faults that pass by themselves become Unavailable."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("all database connections are in use") from error
    except _FAULTS as error:
        if passes(error):
            raise unavailable(error) from error
        raise
