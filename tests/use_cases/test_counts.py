"""What can happen too often for the trail: tokens that services get, and requests that anybody can have refused."""

import asyncio

import pytest

from adapters.memory.store import MemoryStore
from application.oauth.sampling import REFUSALS_TOLD, REFUSALS_WINDOW, TOLD_AGAIN, IssueCounts, Refusals
from builders import SECOND
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


async def test_a_clock_that_is_set_back_silences_nobody(service):
    counts, refusals = await service.get(IssueCounts), await service.get(Refusals)
    for _ in range(REFUSALS_TOLD + 1):
        await refusals.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
    await counts.count(CLIENT, ORIGIN)
    service.clock.move(-10 * TOLD_AGAIN)
    await counts.count(CLIENT, ORIGIN)
    await refusals.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
    assert sorted(await told(service)) == [1, 1]
    events = await service.events(action=Action.AUTHORIZATION_REFUSED)
    assert sum(event.details.get("untold", 0) for event in events) == 1


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


async def refusals(server):
    return [event.details.get("untold", 0) for event in await server.events(action=Action.AUTHORIZATION_REFUSED)]


async def test_nobody_fills_the_trail_with_refused_requests_and_none_goes_uncounted(service):
    refused = await service.get(Refusals)
    for _ in range(REFUSALS_TOLD + 50):
        await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
    assert await refusals(service) == [0] * REFUSALS_TOLD
    service.clock.move(REFUSALS_WINDOW - SECOND)
    await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
    assert len(await refusals(service)) == REFUSALS_TOLD
    service.clock.move(SECOND)
    for _ in range(2):
        await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
    assert (await refusals(service))[REFUSALS_TOLD:] == [51, 0]


async def test_a_count_of_refusals_that_could_not_be_told_is_told_by_the_next(clock):
    store = MemoryStore()
    away = Away(store.audit)
    away.away = False
    async with a_server(store, store.feed, clock, instead(ports.AuditLog, away), prepared=False) as server:
        refused = await server.get(Refusals)
        for _ in range(REFUSALS_TOLD + 1):
            await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
        clock.move(REFUSALS_WINDOW)
        away.away = True
        with pytest.raises(Unavailable):
            await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
        away.away = False
        await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
        assert (await refusals(server))[-1] == 2


async def test_one_kind_of_refusal_takes_no_room_from_another(service):
    refused = await service.get(Refusals)
    for _ in range(REFUSALS_TOLD + 1):
        await refused.tell(Action.CLIENT_REFUSED, "client_unknown", ORIGIN)
    await refused.tell(Action.AUTHORIZATION_REFUSED, "client_unknown", ORIGIN)
    assert await refusals(service) == [0]
