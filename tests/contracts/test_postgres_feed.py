"""What only the PostgreSQL feed can meet: commits out of order, a lost connection, a restored database."""

import asyncio
import time

import pytest

from adapters.postgres.changes import PostgresFeed
from adapters.postgres.database import Database
from adapters.postgres.store import PostgresStore
from adapters.postgres.urls import connect
from builders import a_user
from contracts.postgres_cluster import VERSIONS, start_cluster
from contracts.steps import beside
from domain.errors import Unavailable
from domain.ports import Change, ChangeKind, News

pytestmark = pytest.mark.postgres


@pytest.fixture(params=VERSIONS, ids=lambda version: f"postgres{version}")
def cluster(request):
    return start_cluster(request.param)


@pytest.fixture
async def name(cluster):
    name = await cluster.create_database()
    yield name
    await cluster.drop_database(name)


@pytest.fixture
async def store(cluster, name):
    database = Database(cluster.service_url(name))
    yield PostgresStore.on(database)
    await database.close()


@pytest.fixture
async def feed(cluster, name):
    feed = PostgresFeed(cluster.service_url(name))
    assert (await feed.read()).reset
    yield feed
    await feed.close()


@pytest.fixture
async def administrator(cluster, name):
    connection = await connect(cluster.superuser_url(name), settings={})
    yield connection
    await connection.close()


async def somebody(store):
    user = a_user()
    async with store.transaction():
        await store.users.add(user)
    return user


async def change(store, user):
    async with store.transaction():
        await store.changes.authority(user.id)


def authority_of(*users):
    return News(tuple(Change(ChangeKind.AUTHORITY, str(user.id)) for user in users))


async def kill(administrator, feed):
    """End the server's side of the feed's connection."""
    found = await administrator.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%hexward%' AND pid <> "
        "pg_backend_pid() AND datname = current_database()"
    )
    assert found


async def test_what_began_first_and_commits_last_is_still_read(store, feed):
    """Exactly the interleaving that a position by row number would lose."""
    early, late = await somebody(store), await somebody(store)
    async with store.transaction():
        await store.changes.authority(early.id)  # takes the lower number ...
        await beside(change(store, late))
        assert await feed.read() == authority_of(late)
        assert await feed.read() == News()
    assert await feed.read() == authority_of(early)  # ... and commits after the higher one was read
    assert await feed.read() == News()


async def test_a_long_transaction_elsewhere_neither_hides_nor_repeats_anything(store, feed, administrator):
    user = await somebody(store)
    async with administrator.transaction():
        await administrator.execute("SELECT pg_current_xact_id()")
        for _ in range(3):
            await change(store, user)
            assert await feed.read() == authority_of(user)
            assert await feed.read() == News()
    assert await feed.read() == News()


async def test_after_a_lost_connection_the_next_read_is_a_reset(store, feed, administrator):
    user = await somebody(store)
    await kill(administrator, feed)
    await change(store, user)
    try:
        news = await feed.read()
    except Unavailable:
        news = await feed.read()
    assert news == News(reset=True)
    await change(store, user)
    assert await feed.read() == authority_of(user)


async def test_a_lost_connection_ends_waiting_and_waiting_then_does_not_spin(feed, administrator):
    waiting = beside(feed.wait(60))
    await asyncio.sleep(0.05)
    await kill(administrator, feed)
    async with asyncio.timeout(2):
        await waiting
    started = time.monotonic()
    await feed.wait(60)
    assert 0.01 < time.monotonic() - started < 2


async def test_a_restored_database_is_a_reset(store, feed, administrator):
    await administrator.execute("UPDATE hexward.installation SET epoch = epoch + 1")
    assert await feed.read() == News(reset=True)
    assert await feed.read() == News()


async def test_a_server_that_does_not_answer_in_time_is_unavailable_and_then_a_reset(store, feed, administrator):
    async with administrator.transaction():
        await administrator.execute("LOCK TABLE hexward.changes IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await feed.read()
        assert time.monotonic() - started < 3
    assert await feed.read() == News(reset=True)


async def test_a_cancelled_read_does_not_lose_what_it_was_reading(store, feed):
    user = await somebody(store)
    await change(store, user)
    reading = beside(feed.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await feed.read() in (authority_of(user), News(reset=True))


async def test_old_changes_make_room_as_new_ones_come(store, feed, administrator):
    user = await somebody(store)
    await administrator.execute(
        "INSERT INTO hexward.changes (kind, subject, at) "
        "SELECT 'rules', '', now() - interval '2 hours' FROM generate_series(1, 25)"
    )
    for _ in range(3):
        await change(store, user)
    assert await administrator.fetchval("SELECT count(*) FROM hexward.changes") == 3


async def test_tokens_being_refreshed_wake_nobody(store, feed):
    """NOTIFY makes commits queue behind one lock, so it is for changes of authority only."""
    waiting = beside(feed.wait(0.3))
    await somebody(store)
    started = time.monotonic()
    await waiting
    assert time.monotonic() - started > 0.15
