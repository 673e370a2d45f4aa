"""Database addresses, and the one way in which connections are opened.

An address is a libpq URL such as `postgresql://user:password@host:5432/db?sslmode=verify-full`, or with a socket's
folder, `postgresql://user@/db?host=/run/postgresql`. asyncpg reads it; SQLAlchemy is handed the open connections.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg

from adapters.postgres.faults import DRIVER_FAULTS, unavailable
from domain.errors import StartRefused, Unavailable

CONNECT_TIMEOUT = 3.0
"""Seconds, for all hosts of an address together."""

# What libpq knows of how a connection is made and asyncpg would hand to the server, which refuses it.
_OF_LIBPQ_ONLY = {
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
}
_SCHEMES = {"postgresql", "postgres", "postgresql+asyncpg"}
_MALFORMED = "the database address is not like postgresql://user:password@host:5432/database"


def dsn(url: str) -> str:
    """The address as asyncpg reads it. Raises StartRefused, without showing any of it."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise StartRefused(_MALFORMED) from None
    if parts.scheme not in _SCHEMES:
        raise StartRefused(_MALFORMED)
    kept = urlencode([(name, value) for name, value in query if name not in _OF_LIBPQ_ONLY], quote_via=quote)
    return f"postgresql://{parts.netloc}{parts.path}" + (f"?{kept}" if kept else "")


def place(url: str) -> str:
    """Where the address points, for people: host and database, no user and no password. Raises StartRefused."""
    parts = urlsplit(dsn(url))
    query = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or query.get("host", "this machine")
    port = f":{query['port']}" if "port" in query and not host.startswith("/") else ""
    return f"{host}{port}, database {parts.path.removeprefix('/') or query.get('dbname', 'of the user')}"


async def connect(
    url: str,
    *,
    settings: Mapping[str, str],
    role: str | None = None,
    command_timeout: float | None = None,
) -> Any:
    """An open asyncpg connection to a primary, with these session settings, acting as `role` if given.

    Raises Unavailable; StartRefused where the address cannot be read or the login may not act as `role`.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            connection = await asyncpg.connect(
                dsn(url),
                timeout=None,  # the one above counts
                command_timeout=command_timeout,
                target_session_attrs="primary" if "target_session_attrs=" not in url else None,
            )
            try:
                if session := _session(settings, role):
                    await connection.execute(session)
            except BaseException:
                connection.terminate()
                raise
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError) as error:
        if role is None:
            raise Unavailable(f"PostgreSQL refused the connection: {error}") from error
        raise StartRefused(
            f"the database login cannot act as {role} ({error}); migrate the database first (hexward db upgrade), "
            f"then as its owner: GRANT {role} TO <login>"
        ) from error
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise StartRefused(f"{_MALFORMED} ({type(error).__name__})") from None
    except DRIVER_FAULTS as error:
        raise unavailable(error) from error
    return connection


@contextmanager
def refused_later() -> Iterator[None]:
    """What stops a start only puts off the work of a server that already runs: it may be mended under it."""
    try:
        yield
    except StartRefused as error:
        raise Unavailable("the database refuses this service at the moment") from error


async def hang_up(connection: Any) -> None:
    """Close a connection in good manners, or else at once."""
    try:
        await connection.close(timeout=2)
    except DRIVER_FAULTS:
        connection.terminate()


def _session(settings: Mapping[str, str], role: str | None) -> str:
    """Statements rather than start-up parameters: a pooler in between may drop those without a word.

    The role comes last, and nothing that asyncpg or SQLAlchemy do to reset a connection takes it back.
    """
    statements = [f"SET {name} = '{value}'" for name, value in settings.items()]
    if role is not None:
        statements.append(f'SET ROLE "{role}"')
    return ";".join(statements)
