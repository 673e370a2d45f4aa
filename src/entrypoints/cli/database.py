"""What the operator asks PostgreSQL itself, on a connection of its own, beside all use cases: for `db` and `doctor`."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg

from domain.errors import Unavailable

PATIENCE = 5.0  # seconds, to connect and for each answer

# Parameters of libpq that asyncpg would hand to the server, which refuses them.
_OF_LIBPQ_ONLY = (
    "client_encoding", "connect_timeout", "fallback_application_name", "gssencmode", "keepalives", "keepalives_count",
    "keepalives_idle", "keepalives_interval", "tcp_user_timeout",
)  # fmt: skip
_FACTS = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       current_user::text AS login,
       clock_timestamp() AS clock
"""
_ALTERING = """
SELECT privilege,
       has_table_privilege(current_user, t.oid, privilege) AS by_login,
       has_table_privilege(r.oid, t.oid, privilege) AS by_service
FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege,
     pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace,
     pg_roles r
WHERE n.nspname = 'hexward' AND t.relname = 'audit_events' AND r.rolname = 'hexward_service'
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says about itself. `ahead`: how much its clock is ahead of the one here.

    `service_may` and `login_may`: what the service's role, and the login in use, could do to audit events, out of
    UPDATE, DELETE and TRUNCATE; empty before the table exists.
    """

    version: int
    version_text: str
    login: str
    ahead: timedelta
    service_may: Sequence[str]
    login_may: Sequence[str]


async def revision(url: str) -> str | None:
    """The revision of the schema, None before the first migration. Raises Unavailable."""
    async with _connected(url) as connection:
        try:
            return await _revision(connection)
        except asyncpg.InsufficientPrivilegeError:  # a login that may act as the service, no more
            await connection.execute("SET ROLE hexward_service")
            return await _revision(connection)


async def _revision(connection: Any) -> str | None:
    if await connection.fetchval("SELECT to_regclass('hexward.alembic_version')") is None:
        return None
    found: str | None = await connection.fetchval("SELECT version_num FROM hexward.alembic_version")
    return found


async def facts(url: str, now: datetime) -> Facts:
    """What the server says, compared with the time `now`. Raises Unavailable."""
    async with _connected(url) as connection:
        row = await connection.fetchrow(_FACTS)
        altering = await connection.fetch(_ALTERING)
    return Facts(
        row["version"],
        row["version_text"],
        row["login"],
        row["clock"] - now,
        [r["privilege"] for r in altering if r["by_service"]],
        [r["privilege"] for r in altering if r["by_login"]],
    )


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    try:
        connection = await asyncpg.connect(_plain(url), timeout=PATIENCE, command_timeout=PATIENCE)
        try:
            yield connection
        finally:
            await connection.close(timeout=PATIENCE)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"the database cannot be reached: {reason}", code="database_unreachable") from error


def _plain(url: str) -> str:
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in _OF_LIBPQ_ONLY]
    return parts._replace(scheme="postgresql", query=urlencode(kept)).geturl()
