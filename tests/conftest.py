"""Fixtures for all tests: a store per adapter, a settable clock, and how hard Hypothesis tries."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from adapters.memory.store import MemoryStore
from builders import SettableClock
from domain.ports import ChangeFeed

settings.register_profile("fast", deadline=None, max_examples=60)
settings.register_profile(
    "nightly", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres18", marks=pytest.mark.postgres),
        pytest.param("postgres15", marks=[pytest.mark.postgres, pytest.mark.long]),
    ]
)
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Callable[[], ChangeFeed]]]:
    """An empty store of each adapter, as its first start finds it, and how a feed of its changes is made."""
    if (named := request.config.getoption("--adapter", default=None)) is not None:
        async with _from_elsewhere(named) as made:
            yield made
        return
    if request.param == "memory":
        store = MemoryStore()
        yield store, store.feed
        return
    async with _postgres(int(request.param.removeprefix("postgres"))) as made:
        yield made


@asynccontextmanager
async def _from_elsewhere(named: str) -> AsyncIterator[tuple[Any, Callable[[], ChangeFeed]]]:
    """What `--adapter MODULE:FACTORY` makes: a store, or an async context manager that gives one."""
    module, _, attribute = named.partition(":")
    made = getattr(import_module(module), attribute)()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(made) if hasattr(made, "__aenter__") else made
        yield store, store.feed


@asynccontextmanager
async def _postgres(version: int) -> AsyncIterator[tuple[Any, Callable[[], ChangeFeed]]]:
    # imported late, so that tests on memory alone load no driver and start no server
    from adapters.postgres.database import Database  # noqa: PLC0415  # see above
    from adapters.postgres.store import PostgresStore  # noqa: PLC0415  # see above
    from contracts.postgres_cluster import start_cluster  # noqa: PLC0415  # see above

    cluster = start_cluster(version)
    name = await cluster.create_database()
    url = cluster.service_url(name)
    database = Database(url)
    try:
        store = PostgresStore.on(database)
        yield store, lambda: store.feed(url)
    finally:
        await database.close()
        await cluster.drop_database(name)


@pytest.fixture
async def store(adapter: tuple[Any, Callable[[], ChangeFeed]]) -> Any:
    """All storage ports on one empty state, once per adapter."""
    return adapter[0]


@pytest.fixture
async def new_feed(
    adapter: tuple[Any, Callable[[], ChangeFeed]],
) -> AsyncIterator[Callable[..., Awaitable[ChangeFeed]]]:
    """Makes readers of changes; unless asked for a fresh one, the first read, which is a reset, is behind them."""
    feeds = []

    async def make(*, fresh: bool = False) -> ChangeFeed:
        feed = adapter[1]()
        feeds.append(feed)
        if not fresh:
            await feed.read()
        return feed

    yield make
    for feed in feeds:
        await feed.close()
