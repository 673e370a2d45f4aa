"""Tokens that services get: counted by the thousand, told of once an hour."""

import asyncio

import pytest

from adapters.memory.store import MemoryStore
from application.oauth.sampling import TOLD_AGAIN, IssueCounts
from domain import ports
from domain.audit import Action
from domain.clients import ClientId
from domain.errors import Unavailable
from use_cases.service import ORIGIN, a_server
from wired import instead

CLIENT = ClientId("orders")


async def told(server):
    return [event.details["issued"] for event in await server.events(action=Action.CLIENT_TOKENS)]


async def test_of_calls_at_one_moment_one_is_told_and_the_others_are_counted(service):
    counts = await service.get(IssueCounts)
    await asyncio.gather(*(counts.count(CLIENT, ORIGIN) for _ in range(20)))
    assert await told(service) == [1]
    service.clock.move(TOLD_AGAIN)
    await asyncio.gather(*(counts.count(CLIENT, ORIGIN) for _ in range(20)))
    assert await told(service) == [1, 20]


class Away:
    """A trail that cannot be written to until `away` is lifted."""

    def __init__(self, trail):
        self.trail, self.away = trail, True

    async def append(self, event):
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("the trail is away")
        await self.trail.append(event)

    def __getattr__(self, name):
        return getattr(self.trail, name)


async def test_what_could_not_be_told_is_told_by_the_next(clock):
    store = MemoryStore()
    away = Away(store.audit)
    async with a_server(store, store.feed, clock, instead(ports.AuditLog, away), prepared=False) as server:
        counts = await server.get(IssueCounts)
        failing = asyncio.create_task(counts.count(CLIENT, ORIGIN))
        await asyncio.sleep(0)
        await counts.count(CLIENT, ORIGIN)  # beside it, and answered
        with pytest.raises(Unavailable):
            await failing
        away.away = False
        await counts.count(CLIENT, ORIGIN)
        assert await told(server) == [2]
