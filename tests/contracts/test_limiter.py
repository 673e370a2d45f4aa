"""Limiter: each caller has a quota of their own."""

import asyncio
from datetime import timedelta

import pytest

from adapters.memory import limits
from adapters.memory.limits import MemoryLimiter
from domain.limits import Quota

QUOTA = Quota("test", limit=10, seconds=60)
OTHER = Quota("other", limit=1, seconds=60)


@pytest.fixture
def limiter(clock):
    return MemoryLimiter(clock)


async def test_of_many_at_once_exactly_the_limit_passes(limiter):
    allowances = await asyncio.gather(*(limiter.take(QUOTA, "zoe") for _ in range(64)))
    assert sum(a.allowed for a in allowances) == QUOTA.limit


async def test_callers_and_quotas_never_meet(limiter):
    for _ in range(QUOTA.limit):
        await limiter.take(QUOTA, "zoe")
    assert not (await limiter.take(QUOTA, "zoe")).allowed
    assert (await limiter.take(QUOTA, "li")).allowed
    assert (await limiter.take(OTHER, "zoe")).allowed


async def test_a_quota_refills_with_time(limiter, clock):
    await limiter.take(QUOTA, "zoe", cost=10)
    refused = await limiter.take(QUOTA, "zoe")
    clock.move(timedelta(seconds=refused.retry_after))
    assert (await limiter.take(QUOTA, "zoe")).allowed


async def test_memory_is_bounded_and_whoever_asks_is_not_forgotten(limiter, monkeypatch):
    monkeypatch.setattr(limits, "ROOM", 100)
    await limiter.take(OTHER, "busy")
    for number in range(1000):
        await limiter.take(OTHER, f"passing {number}")
        assert not (await limiter.take(OTHER, "busy")).allowed
    assert len(limiter._full_at) <= 100
