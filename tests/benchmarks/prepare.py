"""People, sessions and tokens, made where they are stored and not over HTTP: ten thousand in a second or so."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from dishka import AsyncContainer

from adapters.postgres.clients import read_client
from adapters.postgres.sessions import read_family, read_session
from application.sessions import IssueTokens
from domain.policies import Facts
from domain.ports import Clock, PasswordHasher
from domain.tokens import TokenSet
from domain.users import UserId, UserStatus
from entrypoints.ground import opened
from entrypoints.settings import load
from entrypoints.wiring.container import wire
from entrypoints.wiring.footing import EmbeddedPostgres
from journeys.server_process import PASSWORD, Server

PEOPLE = """
WITH person AS (
  INSERT INTO hexward.users (id, email, email_key, email_verified, username, username_key, display_name,
    display_name_key, status, scope, version, created_at, updated_at)
  SELECT uuidv7(), 'person' || n || '@example.org', 'person' || n || '@example.org', true, 'person' || n,
    'person' || n, 'Person ' || n, 'person ' || n, 'active', '*', 1, at, at
  FROM (SELECT lpad(i::text, 7, '0') AS n, now() - make_interval(secs => $1 - i) AS at
        FROM generate_series(0, $1 - 1) AS i) AS numbered
  RETURNING id
), granted AS (
  INSERT INTO hexward.grants (id, user_id, role, scope, granted_by, created_at)
  SELECT uuidv7(), id, 'user', '*', 'system:benchmark', now() FROM person
), session AS (
  INSERT INTO hexward.sessions (id, user_id, client_id, created_at, auth_time, amr, last_used_at, expires_at)
  SELECT uuidv7(), id, 'hexward-api', now(), now(), '{pwd}', now(), now() + interval '30 days' FROM person
  RETURNING id, user_id
)
INSERT INTO hexward.families (id, session_id, user_id, client_id, counter, key_id, epoch, created_at, rotated_at, idle,
  expires_at)
SELECT uuidv7(), session.id, session.user_id, client.id, 0, key.id, installation.epoch, now(), now(),
  client.family_idle, now() + client.family_lifetime
FROM session, hexward.clients AS client, hexward.keys AS key, hexward.installation
WHERE client.id = 'hexward-api' AND key.use = 'refresh' AND key.superseded_at IS NULL AND key.revoked_at IS NULL
"""
PASSWORDS = """
INSERT INTO hexward.password_credentials (user_id, hash, changed_at)
SELECT id, $1, now() FROM hexward.users WHERE email_key LIKE 'person%' ORDER BY email_key LIMIT $2
"""
IN_USE = """
SELECT family, session, users.authv
FROM hexward.families AS family JOIN hexward.sessions AS session ON session.id = family.session_id
JOIN hexward.users ON users.id = family.user_id
WHERE users.email_key LIKE 'person%' ORDER BY users.email_key LIMIT $1
"""


def email(number: int) -> str:
    """The address of a prepared person."""
    return f"person{number:07}@example.org"


@asynccontextmanager
async def owner(server: Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server's database that may do anything."""
    cluster = EmbeddedPostgres(server.data_dir).attach()
    if cluster is None:
        raise RuntimeError("the server's database is not there")
    connection = await asyncpg.connect(cluster.url("hexward_owner"))
    try:
        yield connection
    finally:
        await connection.close()


async def people(server: Server, count: int) -> None:
    """That many active users with the role `user`, an open session and a family of refresh tokens each."""
    async with owner(server) as connection:
        await connection.execute(
            "SET session_replication_role = replica"
        )  # checks no reference: they are right, and many
        await connection.execute(PEOPLE, count)
        await connection.execute("VACUUM (ANALYZE) hexward.users, hexward.grants, hexward.sessions, hexward.families")
        await connection.execute("CHECKPOINT")  # or the first measurement pays for it


async def passwords(server: Server, count: int) -> None:
    """The usual password for the first of the prepared people."""
    async with _wired(server) as container:
        hasher = await container.get(PasswordHasher)
        hashed = await hasher.hash(PASSWORD)
    async with owner(server) as connection:
        await connection.execute(PASSWORDS, hashed, count)


async def user_ids(server: Server, count: int) -> Sequence[str]:
    """The ids of the first of the prepared people."""
    statement = "SELECT id FROM hexward.users WHERE email_key LIKE 'person%' ORDER BY email_key LIMIT $1"
    async with owner(server) as connection:
        return [str(row["id"]) for row in await connection.fetch(statement, count)]


async def tokens(server: Server, count: int) -> Sequence[TokenSet]:
    """What the sessions of the first of the prepared people would get now, as if each had just been refreshed."""
    async with owner(server) as connection:
        rows = await connection.fetch(IN_USE, count)
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        client = read_client(await connection.fetchrow("SELECT * FROM hexward.clients WHERE id = 'hexward-api'"))
    async with _wired(server) as container:
        issue, now = await container.get(IssueTokens), (await container.get(Clock)).now()
        rules = await issue.ready(now)
        return [
            issue(
                read_family(row["family"]),
                read_session(row["session"]),
                client,
                Facts(UserId(row["family"]["user_id"]), UserStatus.ACTIVE, (), row["authv"]),
                rules,
                now,
            )
            for row in rows
        ]


async def administrator(server: Server) -> str:
    """An access token that may do everything, good for five minutes."""
    with server.client() as client:
        return server.login(client)["Authorization"].removeprefix("Bearer ")


@asynccontextmanager
async def _wired(server: Server) -> AsyncIterator[AsyncContainer]:
    """The server's own parts, in this process: its settings give the same issuer, keys and database."""
    environment = {"HEXWARD_DATA_DIR": str(server.data_dir), "HEXWARD_PORT": str(server.port)}
    with opened(load(environment, Path.cwd())) as ground:
        container = wire(ground.settings, ground.place)
        try:
            yield container
        finally:
            await container.close()
