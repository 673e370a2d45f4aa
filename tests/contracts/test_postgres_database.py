"""What only a real database can do to a transaction: faults, lost connections, callers that hang up by the thousand."""

import asyncio
import random
import time

import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from adapters.postgres.database import Database
from adapters.postgres.store import PostgresStore
from adapters.postgres.urls import connect
from builders import NOW, SECOND, a_family, a_session, a_user, an_event
from contracts.postgres_cluster import VERSIONS, start_cluster
from contracts.steps import beside
from domain.errors import Unavailable

pytestmark = pytest.mark.postgres

OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture(params=VERSIONS, ids=lambda version: f"postgres{version}")
def cluster(request):
    return start_cluster(request.param)


@pytest.fixture
async def name(cluster):
    name = await cluster.create_database()
    yield name
    await cluster.drop_database(name)


@pytest.fixture
async def database(cluster, name):
    database = Database(cluster.service_url(name), pool_size=4, pool_timeout=0.5)
    yield database
    await database.close()


@pytest.fixture
async def administrator(cluster, name):
    connection = await connect(cluster.superuser_url(name), settings={})
    yield connection
    await connection.close()


PAUSE = "a pause between statements"


async def run(database, *statements):
    async with database.transaction():
        for statement in statements:
            await (asyncio.sleep(0.2) if statement is PAUSE else database.execute(text(statement)))


async def test_making_a_database_connects_to_nothing():
    database = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    await database.close()


async def test_a_server_that_is_not_there_is_unavailable_at_once():
    database = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    started = time.monotonic()
    with pytest.raises(Unavailable) as fault:
        await database.ping()
    assert fault.value.retry_after == 1
    assert time.monotonic() - started < 2
    await database.close()


async def test_waiting_too_long_for_a_connection_is_unavailable(database):
    entered, leave = [asyncio.Event() for _ in range(4)], asyncio.Event()

    async def hold(event):
        async with database.transaction():
            event.set()
            await leave.wait()

    holders = [beside(hold(event)) for event in entered]
    for event in entered:
        await event.wait()
    with pytest.raises(Unavailable, match="in use"):
        await database.ping()
    leave.set()
    await asyncio.gather(*holders)
    await database.ping()


@pytest.mark.parametrize(
    "statements",
    [
        ["SET LOCAL statement_timeout = 20", "SELECT pg_sleep(5)"],
        ["SET LOCAL lock_timeout = 20", "LOCK TABLE hexward.grants IN SHARE MODE"],
        ["SET TRANSACTION READ ONLY", "INSERT INTO hexward.user_sign_ins VALUES (gen_random_uuid(), now())"],
        ["SET LOCAL idle_in_transaction_session_timeout = 20", "SELECT 1", PAUSE, "SELECT 1"],
    ],
    ids=["statement time-out", "lock time-out", "no longer the primary", "idle for too long"],
)
async def test_faults_that_pass_are_unavailable_and_the_next_transaction_works(database, administrator, statements):
    async with administrator.transaction():
        await administrator.execute("LOCK TABLE hexward.grants IN ROW EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            await run(database, *statements)
    await database.ping()


async def test_a_deadlock_undoes_one_and_harmless_for_the_other(database):
    store = PostgresStore.on(database)
    first, second = a_user(), a_user()
    async with database.transaction():
        await store.users.add(first)
        await store.users.add(second)
    both = asyncio.Barrier(2)

    async def cross(one, other):
        async with database.transaction():
            await store.users.locked(one.id)
            await both.wait()
            await store.users.locked(other.id)

    outcomes = await asyncio.gather(beside(cross(first, second)), beside(cross(second, first)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "Undone"]


async def test_a_mistake_of_ours_is_not_passed_off_as_unavailable(database):
    with pytest.raises(IntegrityError):
        await run(database, "INSERT INTO hexward.user_sign_ins VALUES (gen_random_uuid(), now())")
    await database.ping()


async def test_connections_that_died_idle_are_replaced_unnoticed(database, administrator):
    await asyncio.gather(*(beside(database.ping()) for _ in range(4)))
    await administrator.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
    await asyncio.sleep(0.1)
    await asyncio.gather(*(beside(database.ping()) for _ in range(8)))


async def test_a_connection_that_dies_in_a_transaction_is_unavailable_and_stores_nothing(database, administrator):
    store, user = PostgresStore.on(database), a_user()

    async def begin():
        async with database.transaction():
            await store.users.add(user)
            await administrator.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")

    with pytest.raises(Unavailable):
        await begin()
    async with database.transaction():
        assert await store.users.find(user.id) is None


async def test_what_is_not_made_to_stand_alone_needs_a_transaction(database):
    store, family = PostgresStore.on(database), a_family()
    for write in (lambda: store.families.save(family), lambda: store.families.locked(family.id)):
        with pytest.raises(RuntimeError, match="needs a transaction"):
            async with database.alone():
                await write()


async def test_a_task_inside_a_transaction_neither_shares_nor_inherits_it(database):
    async with database.transaction():
        await database.execute(text("SELECT 1"))
        with pytest.raises(RuntimeError, match="inside a transaction"):
            await asyncio.create_task(database.execute(text("SELECT 1")))
        await asyncio.create_task(database.ping())


async def test_a_block_that_is_thrown_away_gives_its_connection_back(database, administrator):
    async def lines():
        async with database.transaction():
            await database.execute(text("SELECT 1"))
            yield

    for _ in range(8):
        thrown_away = lines()
        await anext(thrown_away)
        await thrown_away.aclose()
    await database.ping()
    assert await administrator.fetchval(f"SELECT count(*) {OTHERS} AND state LIKE 'idle in%'") == 0


async def test_errors_do_not_show_what_was_to_be_stored(database):
    store, user = PostgresStore.on(database), a_user(locale="very-secret")
    async with database.transaction():
        await store.users.add(user)
    with pytest.raises(UniqueViolationError) as error:
        async with database.transaction():
            await store.users.add(user)
    assert "very-secret" not in str(error.value)


async def test_sessions_keep_the_time_of_the_core_wherever_the_server_stands(database):
    async with database.transaction():
        row = await database.row(text("SELECT current_setting('timezone') AS zone, current_user AS name"))
    assert (row["zone"], row["name"]) == ("UTC", "hexward_service")


@pytest.mark.slow
async def test_thousands_of_callers_that_hang_up_leave_nothing_open_and_mix_up_nothing(database, administrator):
    """SQLAlchemy and asyncpg have both had such bugs: a connection back in the pool with an open transaction, one
    that is never given back, an answer that reaches the next caller."""
    store, chance = PostgresStore.on(database), random.Random(7)  # noqa: S311  # when callers hang up guards nothing
    users = [a_user() for _ in range(20)]
    sessions = [a_session(user) for user in users]
    families = [a_family(session) for session in sessions]
    async with database.transaction():
        for user, session, family in zip(users, sessions, families, strict=True):
            await store.users.add(user)
            await store.sessions.add(session)
            await store.families.add(family)
    answers = []

    async def call(number):
        user, session, family = users[number], sessions[number], families[number]
        async with database.transaction():
            found = await store.users.find(user.id), await store.users.by_login(user.email)
            answers.append(found == (user, user) and await store.sessions.find(session.id) == session)
            current = await store.families.find(family.id)
            moved = await store.families.advance(family.id, current.counter, "k", NOW + SECOND, an_event())
            answers.append(moved is None or moved.id == family.id)

    async def impatient(number):
        task = beside(call(number % 20))
        if number % 10:  # the others hear the answer out
            await asyncio.sleep(chance.random() * 0.02)
            task.cancel()
        try:
            await task
        except (asyncio.CancelledError, Unavailable):
            return False
        return True

    finished = []
    for _ in range(50):
        finished += await asyncio.gather(*(impatient(number) for number in range(40)))
    assert len(finished) == 2000
    assert 0 < sum(finished) < 2000
    assert answers
    assert all(answers)
    await asyncio.gather(*(call(number) for number in range(20)))
    await asyncio.sleep(0.1)
    assert await administrator.fetchval(f"SELECT count(*) {OTHERS} AND state <> 'idle'") == 0
    assert await administrator.fetchval(f"SELECT count(*) {OTHERS} AND backend_type = 'client backend'") <= 4
    counters = [row["counter"] for row in await administrator.fetch("SELECT counter FROM hexward.families")]
    events = await administrator.fetchval("SELECT count(*) FROM hexward.audit_events")
    assert sum(counters) == events
