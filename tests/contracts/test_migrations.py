"""Migrations: one path to the schema, up and down, for one process at a time, with two database roles."""

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from adapters.memory.store import BUILT_IN_CLIENTS
from adapters.postgres import migrate
from adapters.postgres.audit import ensure_partitions
from adapters.postgres.database import Database
from adapters.postgres.store import PostgresStore
from adapters.postgres.tables import metadata
from adapters.postgres.urls import connect
from builders import an_event
from contracts.postgres_cluster import SERVICE, VERSIONS, start_cluster
from domain.errors import StartRefused, Unavailable
from domain.roles import BUILT_IN_ROLES

pytestmark = pytest.mark.postgres

CATALOG = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod) || coalesce(' ' || o.collname, '')
  || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || a.attidentity::text
  || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_collation o ON o.oid = a.attcollation AND o.collname <> 'default'
WHERE c.relnamespace = to_regnamespace('hexward') AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = to_regnamespace('hexward') AND contype <> 'n'
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'hexward'
UNION ALL
SELECT 'table', relname, relkind::text, coalesce(array_to_string(reloptions, ','), '') FROM pg_class
WHERE relnamespace = to_regnamespace('hexward') AND relkind IN ('r', 'p')
"""


@pytest.fixture(params=VERSIONS, ids=lambda version: f"postgres{version}")
def cluster(request):
    return start_cluster(request.param)


@pytest.fixture
async def empty(cluster):
    name = await cluster.create_database(migrated=False)
    yield name
    await cluster.drop_database(name)


@pytest.fixture
async def migrated(cluster):
    name = await cluster.create_database()
    yield name
    await cluster.drop_database(name)


async def ask(url, query, *values):
    connection = await connect(url, settings={})
    try:
        return await connection.fetch(query, *values)
    finally:
        await connection.close()


async def on_connection(url, work):
    """Run synchronous work on a SQLAlchemy connection, as a developer's script would."""

    async def opened():
        return await connect(url, settings={})

    engine = create_async_engine("postgresql+asyncpg://", async_creator=opened, poolclass=NullPool)
    async with engine.begin() as connection:
        return await connection.run_sync(work)


async def catalog(url):
    rows = await ask(url, CATALOG)
    return sorted(tuple(row) for row in rows if not re.search(r"audit_events_|alembic_version", row[1]))


async def test_every_revision_goes_up_and_down_and_up_again(cluster, empty):
    url = cluster.owner_url(empty)
    await migrate.upgrade(url)
    first = await catalog(url)
    await on_connection(url, lambda connection: command.downgrade(migrate.configuration(connection), "base"))
    assert await catalog(url) == []
    assert await migrate.current(url) is None
    await migrate.upgrade(url)
    assert await catalog(url) == first
    assert await migrate.current(url) == migrate.head()


async def test_the_migrated_schema_is_the_one_in_the_code(cluster, migrated, empty):
    def create(connection):
        connection.exec_driver_sql("CREATE SCHEMA hexward")
        metadata.create_all(connection)

    await on_connection(cluster.owner_url(empty), create)
    by_code, by_migrations = await catalog(cluster.owner_url(empty)), await catalog(cluster.owner_url(migrated))
    assert by_migrations == by_code
    assert len(by_code) > 150
    assert await migrate.check(cluster.owner_url(migrated)) == []


async def test_the_check_tells_of_drift_and_of_a_schema_that_is_behind(cluster, migrated, empty):
    url = cluster.owner_url(migrated)
    await ask(url, "ALTER TABLE hexward.users ADD COLUMN surplus text")
    assert "surplus" in "".join(await migrate.check(url))
    (behind,) = await migrate.check(cluster.owner_url(empty))
    assert "hexward db upgrade" in behind


async def test_R15_the_migrations_seed_what_is_built_in(cluster, migrated):
    database = Database(cluster.service_url(migrated))
    store = PostgresStore.on(database)
    async with database.transaction():
        rules, installation = await store.roles.rules(), await store.installations.read()
        clients = tuple([await store.clients.find(client.id) for client in BUILT_IN_CLIENTS])
    await database.close()
    assert {name: (role.description, role.permissions) for name, role in rules.roles.items()} == dict(BUILT_IN_ROLES)
    assert all(role.built_in and role.version == 1 and not role.parents for role in rules.roles.values())
    assert clients == BUILT_IN_CLIENTS
    assert (rules.version, installation.epoch, installation.prepared_at) == (0, 1, None)


@pytest.mark.parametrize("login", ["owner_url", "service_url"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hexward.audit_events SET actor = 'nobody'",
        "DELETE FROM hexward.audit_events",
        "TRUNCATE hexward.audit_events",
        "DROP TABLE hexward.audit_events_default",
        "DELETE FROM hexward.audit_events_default",
        "ALTER TABLE hexward.audit_events DETACH PARTITION hexward.audit_events_default",
        "CREATE TABLE hexward.mine (id integer)",
        "UPDATE hexward.alembic_version SET version_num = '0000'",
        "DELETE FROM hexward.users",
    ],
)
async def test_the_service_cannot_touch_what_is_not_its_own_whoever_logs_in(cluster, migrated, login, statement):
    database = Database(getattr(cluster, login)(migrated))
    with pytest.raises(DBAPIError, match="permission denied|must be owner"):
        async with database.transaction():
            await database.execute(text(statement))
    await database.close()


async def test_resetting_a_connection_does_not_give_the_owners_rights_back(cluster, migrated):
    database = Database(cluster.owner_url(migrated), pool_size=1)
    async with database.transaction():
        await database.execute(text("RESET ALL"))
    async with database.transaction():
        row = await database.row(text("SELECT current_user AS name"))
    await database.close()
    assert row["name"] == "hexward_service"


async def test_a_login_that_may_not_act_as_the_service_is_told_what_to_do(cluster, migrated):
    await ask(cluster.superuser_url(), f"REVOKE hexward_service FROM {SERVICE}")
    database = Database(cluster.service_url(migrated))
    try:
        with pytest.raises(Unavailable) as refused:  # a running server waits until it is mended
            await database.ping()
        assert "GRANT hexward_service TO" in str(refused.value.__cause__)  # what a start says
    finally:
        await ask(cluster.superuser_url(), f"GRANT hexward_service TO {SERVICE}")
        await database.close()


async def test_a_newer_schema_is_refused_and_left_alone(cluster, migrated):
    url = cluster.owner_url(migrated)
    await ask(url, "UPDATE hexward.alembic_version SET version_num = '9999'")
    with pytest.raises(StartRefused, match="newer Hexward \\(revision 9999\\)"):
        await migrate.upgrade(url)
    assert await migrate.current(url) == "9999"


async def test_two_upgrades_at_once_both_end_well(cluster, empty):
    url = cluster.owner_url(empty)
    await asyncio.gather(*(migrate.upgrade(url) for _ in range(4)))
    assert await migrate.check(url) == []


async def test_upgrades_of_two_databases_at_once_both_end_well(cluster, empty):
    other = await cluster.create_database(migrated=False)
    await asyncio.gather(*(migrate.upgrade(cluster.owner_url(name)) for name in (empty, other)))
    assert await migrate.current(cluster.owner_url(other)) == migrate.head()
    await cluster.drop_database(other)


async def test_an_upgrade_waits_for_another_but_not_for_ever(cluster, empty):
    url = cluster.owner_url(empty)
    other = await connect(url, settings={})
    await other.execute(f"SELECT pg_advisory_lock({migrate.LOCK})")
    with pytest.raises(StartRefused, match="another process"):
        await migrate.upgrade(url, patience=0.1)
    waiting = asyncio.create_task(migrate.upgrade(url))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await other.close()
    await waiting
    assert await migrate.current(url) == migrate.head()


async def test_a_failed_upgrade_changes_nothing(cluster, empty):
    url = cluster.owner_url(empty)
    await ask(url, "CREATE SCHEMA hexward")
    await ask(url, "CREATE TABLE hexward.keys (mine integer)")
    before = await catalog(url)
    with pytest.raises(StartRefused, match="already exists"):
        await migrate.upgrade(url)
    assert await catalog(url) == before
    assert await migrate.current(url) is None


@pytest.mark.parametrize(
    "preparation",
    [
        "CREATE ROLE poor LOGIN",  # may not create the schema
        "CREATE ROLE poor LOGIN; GRANT CREATE ON DATABASE {name} TO poor",  # may not take on the service's role
    ],
)
async def test_a_login_with_too_few_rights_is_told_the_statements_to_run(cluster, empty, preparation):
    superuser = await connect(cluster.superuser_url(), settings={})
    await superuser.execute(preparation.format(name=empty))
    try:
        with pytest.raises(StartRefused, match="GRANT hexward_service TO <login>"):
            await migrate.upgrade(cluster.owner_url(empty).replace("test_owner", "poor"))
        assert await catalog(cluster.superuser_url(empty)) == []
    finally:
        await superuser.execute(f"REVOKE ALL ON DATABASE {empty} FROM poor; DROP ROLE poor")
        await superuser.close()


async def test_an_unreachable_database_is_named_without_its_password():
    url = "postgresql://somebody:very-secret@127.0.0.1:9/hexward"
    with pytest.raises(StartRefused, match=r"127\.0\.0\.1:9") as refused:
        await migrate.upgrade(url)
    assert "very-secret" not in refused.value.message
    with pytest.raises(Unavailable) as unavailable:
        await migrate.current(url)
    assert "very-secret" not in unavailable.value.message


async def test_an_address_that_cannot_be_read_is_not_shown():
    for url in ("mysql://root:very-secret@host/db", "postgresql://u:very-secret@host:notaport/db", "very-secret"):
        with pytest.raises(StartRefused) as refused:
            await migrate.upgrade(url)
        assert "very-secret" not in refused.value.message


def test_asking_for_the_newest_revision_loads_neither_sqlalchemy_nor_alembic():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from adapters.postgres import migrate; print(migrate.head());"
        "assert not {'sqlalchemy', 'alembic'} & set(sys.modules), 'slow imports'"
    )
    source = Path(migrate.__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", program, source], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == migrate.head()


async def test_events_go_into_the_partition_of_their_month_even_if_it_is_made_late(cluster, migrated):
    owner, now = cluster.owner_url(migrated), datetime.now(UTC)
    month = now.strftime("audit_events_%Y_%m")
    await ask(owner, f"DROP TABLE hexward.{month}")
    database = Database(cluster.service_url(migrated))
    store = PostgresStore.on(database)
    event = an_event(now)
    async with database.transaction():
        await store.audit.append(event)
    assert [row["count"] for row in await ask(owner, "SELECT count(*) FROM hexward.audit_events_default")] == [1]
    assert await ensure_partitions(database) == 1
    assert await ensure_partitions(database) == 0
    assert [row["count"] for row in await ask(owner, f"SELECT count(*) FROM hexward.{month}")] == [1]
    async with database.transaction():
        assert await store.audit.find(event.id) == event
    await database.close()


def allows_more(old, new):
    """Whether a constraint lists the values of the old one and more, and is the same otherwise."""
    listed = r"'[^']*'::text(, )?"
    return set(re.findall(r"'[^']*'", old)) <= set(re.findall(r"'[^']*'", new)) and re.sub(listed, "", old) == re.sub(
        listed, "", new
    )


def columns(rows):
    return {(table, name) for what, table, name, _ in rows if what == "column"}


def about_new_columns(definition, table, names):
    """Whether a constraint is about a column that nobody writes yet, and so can refuse nobody."""
    return any(
        t == table.removeprefix("hexward.") and re.search(rf"\({re.escape(name)}\b", definition) for t, name in names
    )


async def test_each_revision_only_adds_to_the_one_before_it(cluster, empty):
    """So servers of the version before go on while it is rolled out: no column goes or changes, no constraint comes but
    one that allows more values than before, and what is new in a table that was there need not be given."""
    url = cluster.owner_url(empty)
    revisions = sorted(migrate._revisions())
    await on_connection(url, lambda connection: connection.exec_driver_sql("CREATE SCHEMA hexward"))
    before, tables = set(), set()
    for revision in revisions:
        await on_connection(url, lambda connection, to=revision: command.upgrade(migrate.configuration(connection), to))
        after = set(await catalog(url))
        wider = {
            (what, table, name, definition)
            for what, table, name, definition in after - before
            if any(allows_more(old, definition) for w, t, n, old in before - after if (w, t, n) == (what, table, name))
        }
        replaced = {(what, table, name) for what, table, name, _ in wider}
        assert {row for row in before if row[:3] not in replaced} <= after
        of_what_is_new = {(table, name) for _, table, name, _ in after - before if (table, name) not in columns(before)}
        new = {
            (what, table, name, definition)
            for what, table, name, definition in after - before - wider
            if not about_new_columns(definition, table, of_what_is_new)
        }
        assert not [
            (table, name, definition)
            for what, table, name, definition in new
            if table.removeprefix("hexward.") in tables
            and (
                what == "constraint"
                or (what == "column" and "not null" in definition and not re.search("default|nulla$", definition))
            )
        ]
        before, tables = after, {table for what, table, *_ in after if what == "table"}
    assert len(revisions) >= 2
