"""Bringing a database to the schema that this code needs, one process at a time.

What every start asks (`head`, `current`) needs neither SQLAlchemy nor Alembic, which are slow to import.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from adapters.postgres.faults import DRIVER_FAULTS, cause_of, passes, state_of, unavailable
from adapters.postgres.urls import connect, hang_up, place
from domain.errors import StartRefused, Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
OLDEST_SERVER = 150000
LOCK = 0x6865_7877_6172_6401
"""The advisory lock of whoever migrates: "hexward" and a number."""

_REVISION = re.compile(r"(\d{4})_\w+\.py")
_alone = threading.Lock()  # of no event loop: tests have many
_SETTINGS: Mapping[str, str] = {
    "application_name": "hexward migration",
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "lock_timeout": "5s",  # better to give up than to have every request wait behind a waiting ALTER TABLE
    "statement_timeout": "0",
}
_VERSION_TABLE = """
SELECT c.oid, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'hexward' AND c.relname = 'alembic_version'
"""


_SERVICE_ROLE = "hexward_service"  # as in tables.py, which is slow to import
_MAKE_ROOM = "SELECT hexward.ensure_audit_partitions(2)"  # this month's events and the next two months'


def head() -> str:
    """The revision that this code needs."""
    return max(_revisions())


async def current(url: str) -> str | None:
    """The revision that the database is at, None before the first migration. Raises Unavailable, StartRefused."""
    connection = await connect(url, settings=_SETTINGS, command_timeout=10.0)
    try:
        return await _revision_of(connection)
    except DRIVER_FAULTS as error:
        raise unavailable(error) from error
    finally:
        await hang_up(connection)


async def upgrade(owner_url: str, *, patience: float = 60.0) -> None:
    """Bring the database to `head()`, with partitions for what is to come.

    Another process that is doing it is waited for, up to `patience` seconds.

    `owner_url` logs in as whoever owns the schema, or shall. Raises StartRefused, with everything as it was before.
    """
    try:
        connection = await connect(owner_url, settings=_SETTINGS)
        try:
            if await _revision_of(connection) != head():
                await _lock(connection, patience)
                found = await _revision_of(connection)
                if found != head():
                    await _require_fitting(connection, found)
                    await _run_alone(owner_url, _upgrade)
            await connection.execute(_MAKE_ROOM)
        finally:
            await hang_up(connection)  # which lets go of the lock
    except Unavailable as error:
        raise StartRefused(
            f"the database at {place(owner_url)} cannot be reached ({_reason(error)}); "
            "start it, or correct HEXWARD_DATABASE_URL"
        ) from error
    except Exception as error:
        if (refusal := _refusal(error, owner_url)) is not None:
            raise refusal from error
        raise


async def check(url: str) -> Sequence[str]:
    """What is wrong with the schema, as sentences: another revision than `head()`, or tables that differ from the
    code's. Raises Unavailable, StartRefused."""
    found = await current(url)
    if found != head():
        return [f"the schema is at revision {found or 'none'} and this Hexward needs {head()}; run: hexward db upgrade"]
    return await _run(url, _differences, as_service=True)


def _revisions() -> set[str]:
    return {match[1] for file in (MIGRATIONS / "versions").iterdir() if (match := _REVISION.fullmatch(file.name))}


async def _revision_of(connection: Any) -> str | None:
    table = await connection.fetchrow(_VERSION_TABLE)
    if table is None:
        return None
    if not table["readable"]:  # a login that may act as the service and does not inherit what that may do
        await connection.execute(f"SET ROLE {_SERVICE_ROLE}")
    revision: str | None = await connection.fetchval("SELECT version_num FROM hexward.alembic_version")
    return revision


async def _lock(connection: Any, patience: float) -> None:
    try:
        await connection.execute(f"SET lock_timeout = {int(patience * 1000)}; SELECT pg_advisory_lock({LOCK})")
    except asyncpg.LockNotAvailableError as error:
        raise StartRefused(
            f"another process has been migrating this database for {patience:.0f} s; wait until it has finished, "
            "then start again"
        ) from error


async def _require_fitting(connection: Any, found: str | None) -> None:
    if found is not None and found not in _revisions():
        raise StartRefused(
            f"this database was written by a newer Hexward (revision {found}); start that version or a newer one"
        )
    version = int(await connection.fetchval("SELECT current_setting('server_version_num')"))
    if version < OLDEST_SERVER:
        raise StartRefused(
            f"the database server is PostgreSQL {version // 10000} "
            f"and Hexward needs {OLDEST_SERVER // 10000} or newer; "
            "upgrade the server"
        )


async def _run_alone(url: str, work: Callable[[Any], None]) -> None:
    """As `_run`, one at a time in this process: Alembic keeps the migration that is running in global variables."""
    while not _alone.acquire(blocking=False):  # noqa: ASYNC110  # an Event belongs to one loop
        await asyncio.sleep(0.02)
    try:
        await _run(url, work)
    finally:
        _alone.release()


async def _run[T](url: str, work: Callable[[Any], T], *, as_service: bool = False) -> T:
    """Run synchronous work on one connection, in one transaction; `as_service` where a plain login may do less."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # slow, and rarely needed
    from sqlalchemy.pool import NullPool  # noqa: PLC0415  # likewise

    async def opened() -> Any:
        return await connect(url, settings=_SETTINGS, role=_SERVICE_ROLE if as_service else None)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=opened, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _upgrade(connection: Any) -> None:
    from alembic import command  # noqa: PLC0415  # slow, and rarely needed

    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS hexward")
    command.upgrade(configuration(connection), "head")


def configuration(connection: Any) -> Any:
    """Alembic's configuration for our migrations on an open (synchronous) SQLAlchemy connection."""
    from alembic.config import Config  # noqa: PLC0415  # slow, and rarely needed

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _differences(connection: Any) -> list[str]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415  # slow, and rarely needed
    from alembic.migration import MigrationContext  # noqa: PLC0415  # likewise
    from sqlalchemy.dialects.postgresql.base import ischema_names  # noqa: PLC0415  # likewise

    from adapters.postgres.tables import SCHEMA, Xid8, metadata  # noqa: PLC0415  # likewise

    ischema_names.setdefault("xid8", Xid8)

    def ours(name: str | None, kind: str, _: object) -> bool:
        if kind == "schema":
            return name == SCHEMA
        return kind != "table" or name is None or not re.fullmatch(r"audit_events_.*|alembic_version", name)

    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_name": ours,
            "compare_type": True,
            "compare_server_default": True,
            "version_table_schema": SCHEMA,
        },
    )
    return [str(difference) for difference in compare_metadata(context, metadata)]


def _reason(error: Unavailable) -> str:
    """The driver's own words: they name users and hosts, never a password."""
    return error.message if error.__cause__ is None else _first_line(error.__cause__)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _refusal(error: BaseException, url: str) -> StartRefused | None:
    """The sentence for a migration that the server did not let happen; None for any other error."""
    state, words = state_of(error), _first_line(cause_of(error))
    if state == "42501":
        return StartRefused(
            f"the database login may not set up Hexward ({words}); as an administrator of {place(url)} run: "
            "CREATE ROLE hexward_service NOLOGIN; GRANT hexward_service TO <login>; "
            "GRANT CREATE ON DATABASE <database> TO <login>"
        )
    if passes(error) and state not in {"3F000", "42P01"}:  # a missing table passes for a running service only
        return StartRefused(f"the migration of {place(url)} was broken off ({words}) and changed nothing; start again")
    if state is not None:
        return StartRefused(
            f"the migration of {place(url)} failed ({words}) and changed nothing; correct that and start again"
        )
    return None
