"""What an operator asks PostgreSQL itself, beside all use cases: for the checks of `hexward doctor`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.postgres.faults import DRIVER_FAULTS, unavailable
from adapters.postgres.urls import connect, hang_up

_PATIENCE = 5.0  # seconds for each answer
_SERVER = """
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
class ServerFacts:
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


async def server_facts(url: str, now: datetime) -> ServerFacts:
    """What the server says, compared with the time `now`. Raises Unavailable, StartRefused."""
    connection = await connect(url, settings={}, command_timeout=_PATIENCE)
    try:
        row = await connection.fetchrow(_SERVER)
        altering = await connection.fetch(_ALTERING)
    except DRIVER_FAULTS as error:
        raise unavailable(error) from error
    finally:
        await hang_up(connection)
    return ServerFacts(
        row["version"],
        row["version_text"],
        row["login"],
        row["clock"] - now,
        [r["privilege"] for r in altering if r["by_service"]],
        [r["privilege"] for r in altering if r["by_login"]],
    )
