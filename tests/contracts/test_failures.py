"""SignInFailures: every failed sign-in counts, and the count goes away by itself."""

from builders import NOW, SECOND
from contracts.steps import at_once, within
from domain.credentials import FORGOTTEN_AFTER, FREE_FAILURES, Failures

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


async def test_a_name_without_failures_has_none(store):
    assert await within(store, store.failures.get(KEY)) is None


async def test_failures_count_up_and_remember_the_last(store):
    await within(store, store.failures.add(KEY, NOW), store.failures.add(KEY, NOW + SECOND))
    assert await within(store, store.failures.get(KEY)) == Failures(2, NOW + SECOND)
    assert await within(store, store.failures.get(OTHER)) is None


async def test_a_failure_that_comes_late_counts_and_shortens_no_wait(store):
    await within(store, store.failures.add(KEY, NOW), store.failures.add(KEY, NOW - SECOND))
    assert await within(store, store.failures.get(KEY)) == Failures(2, NOW)


async def test_a_success_forgets_them_and_only_them(store):
    await within(store, store.failures.add(KEY, NOW), store.failures.add(OTHER, NOW), store.failures.clear(KEY))
    assert await within(store, store.failures.get(KEY)) is None
    assert (await within(store, store.failures.get(OTHER))).count == 1


async def test_clearing_what_is_not_there_changes_nothing(store):
    await within(store, store.failures.clear(KEY))
    assert await within(store, store.failures.get(KEY)) is None


async def test_of_parallel_failures_each_one_counts(store):
    await at_once(*(within(store, store.failures.add(KEY, NOW)) for _ in range(50)))
    assert (await within(store, store.failures.get(KEY))).count == 50


async def test_a_forgotten_count_begins_again_at_one(store):
    await within(store, *(store.failures.add(KEY, NOW) for _ in range(FREE_FAILURES + 3)))
    late = NOW + FORGOTTEN_AFTER
    await within(store, store.failures.add(KEY, late - SECOND))
    assert (await within(store, store.failures.get(KEY))).count == FREE_FAILURES + 4
    await within(store, store.failures.add(KEY, late - SECOND + FORGOTTEN_AFTER))
    assert (await within(store, store.failures.get(KEY))).count == 1


async def test_making_room_never_forgets_a_count_that_still_matters(store):
    await within(store, *(store.failures.add(KEY, NOW) for _ in range(FREE_FAILURES)))
    names = [number.to_bytes(32) for number in range(300)]
    await within(store, *(store.failures.add(name, NOW) for name in names[:100]))
    later = NOW + FORGOTTEN_AFTER - SECOND
    await within(store, *(store.failures.add(name, later) for name in names[100:]))
    assert (await within(store, store.failures.get(KEY))).count == FREE_FAILURES


async def test_a_flood_of_names_makes_the_forgotten_ones_go(store):
    await within(store, *(store.failures.add(number.to_bytes(32), NOW) for number in range(150)))
    later = NOW + FORGOTTEN_AFTER
    await within(store, *(store.failures.add((10_000 + number).to_bytes(32), later) for number in range(100)))
    async with store.transaction():
        left = [number for number in range(150) if await store.failures.get(number.to_bytes(32)) is not None]
    assert len(left) < 150


async def test_of_those_that_saw_the_same_failures_one_claims_the_turn(store):
    await within(store, store.failures.add(KEY, NOW))
    seen = await within(store, store.failures.get(KEY))
    later = NOW + 2 * SECOND
    claimed = await at_once(*(within(store, store.failures.claim(KEY, seen, later)) for _ in range(20)))
    assert sorted(claimed) == [False] * 19 + [True]
    assert await within(store, store.failures.get(KEY)) == Failures(1, later)


async def test_a_turn_cannot_be_claimed_after_a_success_or_another_failure(store):
    await within(store, store.failures.add(KEY, NOW), store.failures.add(OTHER, NOW))
    seen = await within(store, store.failures.get(KEY))
    await within(store, store.failures.clear(KEY), store.failures.add(OTHER, NOW + SECOND))
    assert await within(store, store.failures.claim(KEY, seen, NOW + SECOND)) is False
    assert await within(store, store.failures.claim(OTHER, seen, NOW + SECOND)) is False
    assert await within(store, store.failures.get(KEY)) is None


async def test_a_turn_that_was_not_used_can_be_given_back_by_who_claimed_it(store):
    await within(store, store.failures.add(KEY, NOW))
    seen = await within(store, store.failures.get(KEY))
    later = NOW + 2 * SECOND
    assert await within(store, store.failures.claim(KEY, seen, later))
    await within(store, store.failures.give_back(KEY, seen, later))
    assert await within(store, store.failures.get(KEY)) == seen
    assert await within(store, store.failures.claim(KEY, seen, later))
    await within(store, store.failures.add(KEY, later + SECOND), store.failures.give_back(KEY, seen, later))
    assert await within(store, store.failures.get(KEY)) == Failures(2, later + SECOND)
