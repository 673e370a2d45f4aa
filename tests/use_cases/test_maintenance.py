"""Maintenance: what is due goes and nothing else does, a round at a time, by one server for all."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.memory.store import MemoryStore
from application.maintenance import BATCH, RESTS, Budget, Maintain, RemoveLeftovers, in_words
from builders import DAY, NOW, SECOND, a_family, a_session, a_user, an_event
from contracts.steps import at_once, within
from domain.errors import Unavailable
from domain.ports import Upkeep
from domain.upkeep import INTERVAL, KEPT, LEASE, PAUSE, Leftover, Removed, Upkept
from use_cases.service import a_server
from wired import instead

KEPT_SESSION = KEPT[Leftover.SESSIONS]


async def fill(store, count, expires_at=NOW):
    """That many sessions of one user, with a family each."""
    user = a_user()
    sessions = [a_session(user, expires_at=expires_at + n * timedelta(microseconds=1)) for n in range(count)]
    await within(store, store.users.add(user), *(store.sessions.add(s) for s in sessions))
    await within(store, *(store.families.add(a_family(s)) for s in sessions))
    return sessions


async def left(store, sessions):
    async with store.transaction():
        return [s for s in sessions if await store.sessions.find(s.id) is not None]


async def upkept(store):
    return await within(store, store.upkeep.read())


@pytest.fixture
async def remove(service):
    return await service.get(RemoveLeftovers)


@pytest.fixture
async def maintain(service):
    return await service.get(Maintain)


async def test_what_is_due_goes_and_what_is_not_stays(anywhere):
    store, clock = anywhere.store, anywhere.clock
    over, young = await fill(store, 3), await fill(store, 2, NOW + DAY)
    await within(store, store.failures.add(b"old", NOW), store.audit.append(event := an_event(NOW - 400 * DAY)))
    clock.move(KEPT_SESSION + SECOND)
    await within(store, store.failures.add(b"new", clock.now()))
    done = await (await anywhere.get(RemoveLeftovers))()
    assert done.removed["sessions"] == 3
    assert not done.backlog
    assert await left(store, [*over, *young]) == young
    async with store.transaction():
        assert await store.failures.get(b"old") is None
        assert await store.failures.get(b"new") is not None
        assert await store.audit.find(event.id) == event  # for ever, unless a setting says otherwise


async def test_nothing_goes_before_its_time(service, remove):
    sessions = await fill(service.store, 2)
    service.clock.move(KEPT_SESSION)
    assert not (await remove()).useful
    assert await left(service.store, sessions) == sessions


async def test_audit_events_go_by_whole_months_once_a_setting_says_so(clock):
    """On memory: in PostgreSQL the owner makes the months, see contracts/test_postgres_upkeep.py."""
    ages = (400, 100, 81, 79, 60, 59, 1)  # days before 20 November; 1 September is 80 days ago
    events = [an_event(NOW - age * DAY) for age in ages]
    store = MemoryStore()
    async with a_server(store, store.feed, clock, AUDIT_RETENTION_DAYS="60") as server:
        await within(store, *(store.audit.append(event) for event in events))
        done = await (await server.get(RemoveLeftovers))()
        assert (done.removed["audit_months"], done.backlog) == (2, False)
        assert [event for event in await server.events() if event in events] == events[3:]


@pytest.mark.parametrize("budget", [Budget(rows=BATCH * 2 + 100), Budget(rows=BATCH)])
async def test_a_round_ends_with_its_budget_of_rows_and_the_next_one_comes_soon(service, remove, budget):
    sessions = await fill(service.store, BATCH * 3)
    service.clock.move(KEPT_SESSION + DAY)
    done = await remove(budget)
    assert done.removed["sessions"] == budget.rows
    assert done.backlog
    assert await left(service.store, sessions) == sessions[budget.rows :]
    assert await upkept(service.store) == Upkept(service.clock.now() + PAUSE, service.clock.now(), backlog=True)


class SlowUpkeep:
    """The port on what another adapter does, at a price: each batch takes `seconds` of the settable clock."""

    def __init__(self, upkeep, clock, seconds):
        self._upkeep, self._clock, self._seconds = upkeep, clock, seconds
        self.asked = []

    async def remove(self, kind, before, limit):
        self.asked.append(kind)
        self._clock.move(timedelta(seconds=self._seconds))
        return await self._upkeep.remove(kind, before, limit)

    def __getattr__(self, name):
        return getattr(self._upkeep, name)


@pytest.fixture
async def slow(service):
    """A round on batches of 0.4 s."""
    upkeep = SlowUpkeep(service.store.upkeep, service.clock, 0.4)
    return upkeep, replace(await service.get(RemoveLeftovers), upkeep=upkeep)


async def test_a_round_ends_with_its_budget_of_time_and_rests_for_longer_than_it_works(service, slow):
    upkeep, remove = slow
    await fill(service.store, BATCH * 20)
    service.clock.move(KEPT_SESSION + DAY)
    began = service.clock.now()
    done = await remove(Budget(seconds=2.0))
    assert done.backlog
    assert len(upkeep.asked) == 5
    assert done.seconds == pytest.approx(2.0)
    assert service.clock.now() - began == timedelta(seconds=2 + RESTS * 2)


async def test_a_backlog_of_one_kind_keeps_no_other_waiting(service, slow):
    upkeep, remove = slow
    await fill(service.store, BATCH * 20)
    await within(service.store, *(service.store.failures.add(n.to_bytes(4), NOW) for n in range(100)))
    service.clock.move(KEPT_SESSION + DAY)
    done = await remove(Budget(seconds=2.0))
    assert done.removed["sign_in_failures"] == 100
    assert set(upkeep.asked[: len(Leftover)]) == set(Leftover)


async def test_rounds_come_to_an_end_and_then_the_next_one_is_an_hour_away(service, remove):
    sessions = await fill(service.store, BATCH + 10)
    service.clock.move(KEPT_SESSION + DAY)
    assert (await remove(Budget(rows=BATCH))).backlog
    assert not (await remove(Budget(rows=BATCH))).backlog
    assert await left(service.store, sessions) == []
    assert await upkept(service.store) == Upkept(service.clock.now() + INTERVAL, service.clock.now())


async def test_what_is_in_use_is_left_for_an_hour_rather_than_tried_again_and_again(service, remove):
    class InUse(SlowUpkeep):
        async def remove(self, kind, before, limit):
            return Removed(0, more=kind is Leftover.SESSIONS)

    busy = InUse(service.store.upkeep, service.clock, 0)
    done = await replace(remove, upkeep=busy)()
    assert (done.useful, done.backlog) == (False, True)
    assert await upkept(service.store) == Upkept(service.clock.now() + INTERVAL, service.clock.now(), backlog=True)


async def test_a_round_that_finds_another_at_it_leaves_it_the_work(service, remove):
    class Claimed(SlowUpkeep):
        async def claim(self):
            return False

    sessions = await fill(service.store, 3)
    service.clock.move(KEPT_SESSION + DAY)
    done = await replace(remove, upkeep=Claimed(service.store.upkeep, service.clock, 0))()
    assert (done.yielded, done.useful) == (True, False)
    assert await left(service.store, sessions) == sessions
    assert await upkept(service.store) == Upkept()


async def test_what_was_removed_before_an_error_stays_removed_and_the_rest_goes_next_time(service, slow):
    _, remove = slow
    sessions = await fill(service.store, BATCH * 3)
    service.clock.move(KEPT_SESSION + DAY)

    class Failing(SlowUpkeep):
        async def remove(self, kind, before, limit):
            if self.asked.count(Leftover.SESSIONS) == 2 and kind is Leftover.SESSIONS:
                raise Unavailable("the database does not answer")
            return await super().remove(kind, before, limit)

    with pytest.raises(Unavailable):
        await replace(remove, upkeep=Failing(service.store.upkeep, service.clock, 0))()
    assert await left(service.store, sessions) == sessions[BATCH * 2 :]
    assert (await remove()).removed["sessions"] == BATCH


async def test_a_cancelled_round_leaves_nothing_half_done(service, remove):
    class Interrupted(SlowUpkeep):
        async def remove(self, kind, before, limit):
            removed = await super().remove(kind, before, limit)
            if kind is Leftover.SESSIONS:
                await asyncio.sleep(60)
            return removed

    sessions = await fill(service.store, 3)
    service.clock.move(KEPT_SESSION + DAY)
    task = asyncio.create_task(replace(remove, upkeep=Interrupted(service.store.upkeep, service.clock, 0))())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(service.store, sessions) == sessions
    assert (await remove()).removed["sessions"] == 3


async def test_of_servers_that_look_at_once_one_does_the_round(new_server):
    servers = [await new_server() for _ in range(4)]
    store = servers[0].store
    sessions = await fill(store, 20)
    servers[0].clock.move(KEPT_SESSION + DAY)
    rounds = await at_once(*[(await server.get(Maintain))() for server in servers])
    assert [done.removed["sessions"] for done in rounds if done is not None] == [20]
    assert await left(store, sessions) == []


async def test_no_round_is_made_before_the_next_one_is_due(service, maintain):
    assert await maintain() is not None
    assert await maintain() is None
    service.clock.move(INTERVAL - SECOND)
    assert await maintain() is None
    service.clock.move(SECOND)
    assert await maintain() is not None


async def test_a_round_that_somebody_began_and_never_ended_is_made_by_another(service, maintain):
    await within(service.store, service.store.upkeep.save(Upkept(service.clock.now() + LEASE)))
    assert await maintain() is None
    service.clock.move(LEASE)
    assert await maintain() is not None


async def test_a_round_that_fails_is_made_again_after_a_minute(new_server, clock):
    server = await new_server()
    broken = SlowUpkeep(server.store.upkeep, clock, 0)

    async def fails(*_):
        raise Unavailable("the database does not answer")

    broken.remove = fails
    other = await new_server(instead(Upkeep, broken))
    with pytest.raises(Unavailable):
        await (await other.get(Maintain))()
    maintain = await server.get(Maintain)
    assert await maintain() is None
    clock.move(LEASE)
    assert await maintain() is not None


def test_what_went_is_told_in_words():
    assert in_words({"sessions": 3, "changes": 0, "audit_months": 1}) == "3 sessions, 1 audit months"
    assert in_words({"sessions": 0}) == "nothing"
