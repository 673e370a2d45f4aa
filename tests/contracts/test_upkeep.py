"""Upkeep: what is due goes, oldest first and a little at a time; what is not due stays; nobody is waited for."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from builders import DAY, NOW, SECOND, a_code, a_family, a_session, a_user, an_event
from contracts.steps import Mishap, at_once, beside, failing, finished, waits, within
from domain.credentials import FREE_FAILURES
from domain.idempotency import Answered
from domain.one_time import OneTimeKind
from domain.sessions import EndReason
from domain.upkeep import AUDIT_KEPT_AT_LEAST, Leftover, Removed, Upkept

EXPIRED, OPEN = {"expires_at": NOW}, {"expires_at": NOW + DAY}


async def sessions_of(store, *all_changes):
    """A user's sessions, with two families each."""
    user = a_user()
    opened = [a_session(user, **changes) for changes in all_changes]
    async with store.transaction():
        await store.users.add(user)
        for session in opened:
            await store.sessions.add(session)
            for _ in range(2):
                await store.families.add(a_family(session))
    return opened


async def left(store, port, things):
    async with store.transaction():
        return [thing for thing in things if await port.find(thing.id) is not None]


async def remove(store, kind, before, limit=100):
    return await within(store, store.upkeep.remove(kind, before, limit))


async def test_of_all_that_ask_at_once_one_may(store):
    async with store.transaction():
        assert await store.upkeep.claim()
        assert await store.upkeep.claim()  # still
        other = beside(within(store, store.upkeep.claim()))
        assert await waits(other) or await finished(other) is False
    if not other.done():
        await finished(other)
    assert await within(store, store.upkeep.claim())


async def test_a_claim_ends_with_its_transaction_however_that_ends(store):
    with pytest.raises(Mishap):
        await failing(store, store.upkeep.claim())
    assert await finished(beside(within(store, store.upkeep.claim())))


async def test_how_far_it_has_come_is_remembered(store):
    assert await within(store, store.upkeep.read()) == Upkept()
    for upkept in (Upkept(NOW, NOW - SECOND, True), Upkept(NOW + DAY, None, False)):
        await within(store, store.upkeep.save(upkept))
        assert await within(store, store.upkeep.read()) == upkept
    with pytest.raises(Mishap):
        await failing(store, store.upkeep.save(Upkept()))
    assert (await within(store, store.upkeep.read())).next_at == NOW + DAY


async def test_of_all_that_advance_what_they_saw_one_does(store):
    seen = Upkept(NOW, NOW - SECOND, backlog=True)
    for before in (Upkept(), seen):
        tries = [Upkept(NOW + n * SECOND, before.finished_at) for n in range(1, 9)]
        await within(store, store.upkeep.save(before))
        advanced = await at_once(*(within(store, store.upkeep.advance(before, upkept)) for upkept in tries))
        assert [upkept for upkept, done in zip(tries, advanced, strict=True) if done] == [
            await within(store, store.upkeep.read())
        ]


@pytest.mark.parametrize("changed", [{"next_at": None}, {"finished_at": NOW}, {"backlog": False}])
async def test_what_has_gone_on_since_it_was_seen_is_not_advanced(store, changed):
    now = Upkept(NOW, NOW - SECOND, backlog=True)
    await within(store, store.upkeep.save(now))
    assert not await within(store, store.upkeep.advance(replace(now, **changed), Upkept()))
    assert await within(store, store.upkeep.read()) == now


@pytest.mark.parametrize("kind", Leftover)
async def test_where_there_is_nothing_nothing_goes(store, kind):
    assert await remove(store, kind, NOW) == Removed(0)


async def test_failures_go_once_they_are_older_and_no_sooner(store):
    keys = [number.to_bytes(32) for number in range(6)]
    await within(store, *(store.failures.add(key, NOW + n * SECOND) for n, key in enumerate(keys)))
    await within(store, *(store.failures.add(keys[1], NOW + 10 * SECOND) for _ in range(FREE_FAILURES)))
    assert await remove(store, Leftover.SIGN_IN_FAILURES, NOW + 4 * SECOND) == Removed(3)
    async with store.transaction():
        kept = [n for n, key in enumerate(keys) if await store.failures.get(key) is not None]
        assert kept == [1, 4, 5]
        assert (await store.failures.get(keys[1])).count == FREE_FAILURES + 1


async def test_sessions_go_once_they_are_over_for_long_enough_with_all_their_families(store):
    ended = {"ended_at": NOW - DAY, "end_reason": EndReason.SIGNED_OUT}
    opened = await sessions_of(
        store, EXPIRED, OPEN, {**OPEN, **ended}, {**OPEN, **ended, "ended_at": NOW + SECOND}, {**EXPIRED, **ended}
    )
    assert await remove(store, Leftover.SESSIONS, NOW) == Removed(2)
    assert await left(store, store.sessions, opened) == [opened[0], opened[1], opened[3]]
    assert await remove(store, Leftover.SESSIONS, NOW + SECOND) == Removed(1)
    assert await left(store, store.sessions, opened) == [opened[1], opened[3]]


async def test_families_go_with_their_session_and_no_others(store):
    user = a_user()
    over, going_on = a_session(user, **EXPIRED), a_session(user, **OPEN)
    gone, kept = [a_family(over) for _ in range(3)], [a_family(going_on, expires_at=NOW - DAY) for _ in range(2)]
    await within(store, store.users.add(user), store.sessions.add(over), store.sessions.add(going_on))
    await within(store, *(store.families.add(family) for family in (*gone, *kept)))
    assert await remove(store, Leftover.SESSIONS, NOW + SECOND) == Removed(1)
    assert await left(store, store.families, [*gone, *kept]) == kept


async def test_a_little_at_a_time_goes_the_oldest_first(store):
    opened = await sessions_of(store, *({"expires_at": NOW + n * SECOND} for n in (3, 1, 0, 2, 4)))
    later = NOW + DAY
    assert await remove(store, Leftover.SESSIONS, later, limit=2) == Removed(2, more=True)
    assert await left(store, store.sessions, opened) == [opened[0], opened[3], opened[4]]
    assert await remove(store, Leftover.SESSIONS, later, limit=2) == Removed(2, more=True)
    assert await remove(store, Leftover.SESSIONS, later, limit=2) == Removed(1)
    assert await left(store, store.sessions, opened) == []


async def test_what_a_failed_transaction_removed_is_still_there(store):
    opened = await sessions_of(store, EXPIRED)
    with pytest.raises(Mishap):
        await failing(store, store.upkeep.remove(Leftover.SESSIONS, NOW + SECOND, 10))
    assert await left(store, store.sessions, opened) == opened


async def test_changes_that_readers_have_yet_to_read_stay_whatever_the_clock_here_says(store, new_feed):
    feed = await new_feed()
    user = a_user()
    await within(store, store.users.add(user), store.changes.authority(user.id), store.changes.rules())
    assert await remove(store, Leftover.CHANGES, datetime.now(UTC) + 365 * DAY) == Removed(0)
    assert len((await feed.read()).changes) == 2


async def test_audit_events_that_are_not_old_stay(store):
    now = datetime.now(UTC)
    events = [an_event(now - age * DAY) for age in (0, 1, 29)]
    await within(store, *(store.audit.append(event) for event in events))
    assert await within(store, store.upkeep.drop_audit_month(now, AUDIT_KEPT_AT_LEAST)) == Removed(0)
    assert await left(store, store.audit, events) == events


async def test_no_retention_of_audit_events_is_shorter_than_30_days(store):
    with pytest.raises(ValueError, match="at least 30 days"):
        await within(store, store.upkeep.drop_audit_month(NOW, AUDIT_KEPT_AT_LEAST - SECOND))


async def test_answers_go_once_they_have_expired_and_no_sooner(store):
    answers = [Answered(n.to_bytes(32), b"f" * 32, b"sealed", NOW + n * SECOND) for n in range(1, 5)]
    await within(store, *(store.answers.add(answered, NOW) for answered in answers))
    assert await remove(store, Leftover.ANSWERS, NOW + 3 * SECOND) == Removed(2)
    async with store.transaction():
        found = [await store.answers.claim(answered.id, NOW) for answered in answers]
    assert found == [None, None, *answers[2:]]


async def test_one_time_values_go_once_they_have_expired_used_or_not_and_no_sooner(store):
    values = [a_code(expires_at=NOW + n * SECOND, used_at=NOW if n % 2 else None) for n in (4, 1, 3, 2)]
    await within(store, *(store.one_time_values.add(value) for value in values))
    assert await remove(store, Leftover.ONE_TIME_VALUES, NOW + 3 * SECOND, limit=1) == Removed(1, more=True)
    assert await left_of(store, values) == [values[0], values[2], values[3]]
    assert await remove(store, Leftover.ONE_TIME_VALUES, NOW + 3 * SECOND) == Removed(1)
    assert await left_of(store, values) == [values[0], values[2]]


async def test_a_value_of_another_kind_stays_where_one_of_the_same_text_goes(store):
    gone = a_code(expires_at=NOW)
    kept = replace(gone, kind=OneTimeKind.ASSERTION, expires_at=NOW + DAY)
    await within(store, store.one_time_values.add(gone), store.one_time_values.add(kept))
    assert await remove(store, Leftover.ONE_TIME_VALUES, NOW + SECOND) == Removed(1)
    assert await left_of(store, [gone, kept]) == [kept]


async def left_of(store, values):
    async with store.transaction():
        return [v for v in values if await store.one_time_values.find(v.kind, v.hash) is not None]


async def test_what_applications_have_of_a_session_goes_when_each_is_over_for_long_enough(store):
    user = a_user()
    browser = a_session(user, **EXPIRED)
    child = a_session(user, parent_id=browser.id, expires_at=NOW + SECOND)
    family = a_family(child)
    async with store.transaction():
        await store.users.add(user)
        for session in (child, browser):
            await store.sessions.add(session)
        await store.families.add(family)
    assert await remove(store, Leftover.SESSIONS, NOW + SECOND) == Removed(1)
    assert await left(store, store.sessions, [browser, child]) == [child]
    assert await remove(store, Leftover.SESSIONS, NOW + DAY) == Removed(1)
    assert await left(store, store.families, [family]) == []
