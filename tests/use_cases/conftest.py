"""Servers for tests of use cases: on memory, and on every adapter where adapters could differ."""

from contextlib import AsyncExitStack

import pytest

from adapters.memory.store import MemoryStore
from use_cases.service import a_server


@pytest.fixture
async def service(clock):
    """A server on the memory store."""
    store = MemoryStore()
    async with a_server(store, store.feed, clock) as server:
        yield server


@pytest.fixture
async def new_server(adapter, clock):
    """Makes servers that share one store, once per adapter; see `a_server`."""
    store, new_feed = adapter
    async with AsyncExitStack() as stack:

        async def make(*more, **options):
            async def feed():
                made = new_feed()
                stack.push_async_callback(made.close)
                return made

            return await stack.enter_async_context(a_server(store, feed, clock, *more, **options))

        yield make


@pytest.fixture
async def anywhere(new_server):
    """A server, once per adapter."""
    return await new_server()
