"""Clients in PostgreSQL: whoever hands out tokens of one waits for nobody who does the same."""

import pytest

from adapters.postgres.database import Database
from adapters.postgres.store import PostgresStore
from builders import NOW, a_consent, a_family, a_session, a_user, an_application
from contracts.postgres_cluster import VERSIONS, start_cluster
from contracts.steps import beside, finished, waits, within

pytestmark = pytest.mark.postgres


@pytest.fixture(params=VERSIONS, ids=lambda version: f"postgres{version}")
async def store(request):
    cluster = start_cluster(request.param)
    name = await cluster.create_database()
    database = Database(cluster.service_url(name))
    yield PostgresStore.on(database)
    await database.close()
    await cluster.drop_database(name)


async def hand_out(store, client, *, hold):
    """All that a code, its redemption and a consent store, which refer to the client."""
    user = a_user()
    session = a_session(user, client_id=client.id)
    async with store.transaction():
        await store.users.add(user)
        found = await store.clients.held(client.id) if hold else await store.clients.find(client.id)
        await store.sessions.add(session)
        await store.families.add(a_family(session))
        await store.consents.save(a_consent(user, client, "openid"))
    return found


@pytest.mark.parametrize("hold", [True, False])
async def test_any_number_hold_a_client_and_hand_out_its_tokens_at_the_same_time(store, hold):
    client = an_application()
    await within(store, store.clients.add(client))
    async with store.transaction():
        await store.clients.held(client.id)
        assert await finished(beside(hand_out(store, client, hold=hold))) == client


async def test_what_refers_to_a_locked_client_waits_also_where_nobody_thought_of_holding_it(store):
    client = an_application()
    await within(store, store.clients.add(client))
    async with store.transaction():
        await store.clients.locked(client.id)
        other = beside(hand_out(store, client, hold=False))
        assert await waits(other)
        await store.clients.save(client.changed(NOW, enabled=False))
    await finished(other)
