"""Two servers on one PostgreSQL, each with a pool of its own, as two workers have, and the database behind them."""

import os
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.postgres.database import Database
from adapters.postgres.store import PostgresStore
from adapters.postgres.urls import connect
from contracts.postgres_cluster import start_cluster
from contracts.steps import at_once
from use_cases.service import Server, a_server
from wired import always

ROUNDS = 10 if os.environ.get("SOAK") else 1
"""How often each race is run."""


@dataclass
class Pair:
    """The two servers, and a superuser's connection to look behind them."""

    servers: list[Server]
    superuser: Any

    @property
    def one(self) -> Server:
        return self.servers[0]

    async def race(self, *works: Any) -> list[Any]:
        """Call each of them with a server, the servers in turn, all at once; results and errors in order."""
        return await at_once(*(work(self.servers[number % 2]) for number, work in enumerate(works)))

    async def ask(self, query: str, *values: object) -> Any:
        """One value out of the database."""
        return await self.superuser.fetchval(query, *values)

    async def told(self, subject: object) -> Counter[str]:
        """How often the trail tells of each action on a subject."""
        rows = await self.superuser.fetch(
            "SELECT action, count(*) FROM hexward.audit_events WHERE subject = $1 AND outcome = 'success' GROUP BY 1",
            str(subject),
        )
        return Counter(dict(rows))

    async def version(self, id: object) -> int:
        return await self.ask("SELECT version FROM hexward.users WHERE id = $1", id)


@pytest.fixture
async def cluster():
    return start_cluster(18)


@pytest.fixture
async def pair(cluster, clock):
    name = await cluster.create_database()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(cluster.drop_database, name)
        servers = []
        for prepared in (True, False):
            database = Database(cluster.service_url(name), pool_size=6, pool_timeout=25.0)
            stack.push_async_callback(database.close)
            store = PostgresStore.on(database)
            feed = store.feed(cluster.service_url(name))
            stack.push_async_callback(feed.close)
            server = await stack.enter_async_context(a_server(store, always(feed), clock, prepared=prepared))
            await server.catch_up()
            servers.append(server)
        servers[1].root = servers[0].root
        superuser = await connect(cluster.superuser_url(name), settings={})
        stack.push_async_callback(superuser.close)
        yield Pair(servers, superuser)


@pytest.fixture(params=range(ROUNDS))
def again(request):
    """As often as there are rounds."""
    return request.param


def codes(results: list[Any]) -> Counter[str]:
    """The codes of what was refused; what went well counts as `done`."""
    return Counter(getattr(result, "reason_code", repr(result)) if isinstance(result, BaseException) else "done"
                   for result in results)  # fmt: skip
