"""Changes and ChangeFeed: every reader hears of every commit, and of nothing else."""

import asyncio
import time

import pytest

from builders import NOW, a_role, a_user
from contracts.steps import PATIENCE, Mishap, at_once, beside, failing, finished, waits, within
from domain.ports import Change, ChangeKind, News

BOUND = 2.0
"""Seconds within which a waiting reader has to wake: far more than it takes, far less than it would sleep."""


def authority_of(user):
    return Change(ChangeKind.AUTHORITY, str(user.id))


async def somebody(store):
    user = a_user()
    await within(store, store.users.add(user))
    return user


async def heard(feed, *expected):
    """All that the feed tells until it has told what is expected."""
    told, deadline = set(), time.monotonic() + PATIENCE
    while not set(expected) <= told:
        assert time.monotonic() < deadline, f"heard only {told}"
        await feed.wait(0.2)
        news = await feed.read()
        assert not news.reset
        told |= set(news.changes)
    return told


async def test_the_first_read_is_a_reset_and_the_next_one_is_not(store, new_feed):
    feed = await new_feed(fresh=True)
    assert (await feed.read()).reset
    assert await feed.read() == News()


async def test_what_changed_before_the_first_read_is_covered_by_the_reset(store, new_feed):
    user = await somebody(store)
    await within(store, store.changes.authority(user.id))
    feed = await new_feed(fresh=True)
    await within(store, store.changes.rules())
    assert (await feed.read()).reset


async def test_a_committed_change_is_told_once_to_every_reader(store, new_feed):
    user = await somebody(store)
    feeds = [await new_feed(), await new_feed()]
    await within(store, store.changes.authority(user.id), store.changes.rules())
    for feed in feeds:
        assert await heard(feed, authority_of(user)) == {authority_of(user), Change(ChangeKind.RULES)}
        assert await feed.read() == News()


async def test_other_writes_are_not_told(store, new_feed):
    feed = await new_feed()
    await within(store, store.users.add(a_user()), store.roles.add(a_role()), store.failures.add(b"k", NOW))
    assert await feed.read() == News()


async def test_a_rollback_tells_nothing(store, new_feed):
    user, feed = await somebody(store), await new_feed()
    version = (await within(store, store.users.facts(user.id))).authv
    with pytest.raises(Mishap):
        await failing(store, store.changes.authority(user.id), store.changes.rules())
    assert await feed.read() == News()
    assert (await within(store, store.users.facts(user.id))).authv == version


async def test_a_caller_that_hangs_up_tells_nothing(store, new_feed):
    user, feed = await somebody(store), await new_feed()
    announced = asyncio.Event()

    async def hang_up():
        async with store.transaction():
            await store.changes.authority(user.id)
            announced.set()
            await asyncio.Event().wait()

    task = beside(hang_up())
    await announced.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finished(task)
    assert await feed.read() == News()


async def test_a_change_is_not_told_before_its_commit(store, new_feed):
    user, feed = await somebody(store), await new_feed()
    async with store.transaction():
        await store.changes.authority(user.id)
        assert await feed.read() == News()
    assert await heard(feed, authority_of(user)) == {authority_of(user)}


async def test_a_late_commit_is_not_missed(store, new_feed):
    """The first to announce is the last to commit: a reader that remembers only the highest number would lose it."""
    late, early, feed = await somebody(store), await somebody(store), await new_feed()
    told = set()
    async with store.transaction():
        await store.changes.authority(late.id)
        other = beside(within(store, store.changes.authority(early.id)))
        await waits(other)
        told |= set((await feed.read()).changes)
        assert authority_of(late) not in told
    await finished(other)
    told |= await heard(feed, *({authority_of(late), authority_of(early)} - told))
    assert told == {authority_of(late), authority_of(early)}


async def test_of_many_parallel_changes_none_is_missed(store, new_feed):
    feed = await new_feed()
    people = [await somebody(store) for _ in range(30)]
    writing = asyncio.ensure_future(
        at_once(*(within(store, store.changes.authority(user.id)) for user in people)),
    )
    told = await heard(feed, *map(authority_of, people))
    assert await writing == [None] * 30
    assert told == set(map(authority_of, people))


async def test_a_commit_wakes_a_reader_that_waits(store, new_feed):
    user, feed = await somebody(store), await new_feed()
    waiting = beside(feed.wait(60))
    assert await waits(waiting)
    started = time.monotonic()
    await within(store, store.changes.authority(user.id))
    await finished(waiting)
    assert time.monotonic() - started < BOUND
    assert await heard(feed, authority_of(user)) == {authority_of(user)}


async def test_a_commit_between_reading_and_waiting_is_not_slept_over(store, new_feed):
    user, feed = await somebody(store), await new_feed()
    await within(store, store.changes.authority(user.id))
    started = time.monotonic()
    await feed.wait(60)
    assert time.monotonic() - started < BOUND


async def test_without_news_a_reader_wakes_after_the_time_it_named(store, new_feed):
    feed = await new_feed()
    started = time.monotonic()
    await feed.wait(0.1)
    assert time.monotonic() - started < BOUND
    assert await feed.read() == News()


async def test_a_reader_that_stops_waiting_misses_nothing(store, new_feed):
    user, feed = await somebody(store), await new_feed()
    waiting = beside(feed.wait(60))
    assert await waits(waiting, 0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finished(waiting)
    await within(store, store.changes.authority(user.id))
    assert await heard(feed, authority_of(user)) == {authority_of(user)}


async def test_a_closed_feed_lets_go_and_leaves_others_alone(store, new_feed):
    user, closed, feed = await somebody(store), await new_feed(), await new_feed()
    await closed.close()
    await closed.close()
    await within(store, store.changes.authority(user.id))
    assert await heard(feed, authority_of(user)) == {authority_of(user)}


async def test_each_change_of_a_subject_raises_its_version_and_no_other(store):
    user, other = await somebody(store), await somebody(store)
    before = [(await within(store, store.users.facts(u.id))).authv for u in (user, other)]
    await at_once(*(within(store, store.changes.authority(user.id)) for _ in range(10)))
    after = [(await within(store, store.users.facts(u.id))).authv for u in (user, other)]
    assert after == [before[0] + 10, before[1]]
