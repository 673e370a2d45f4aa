"""Keys: stored sealed, replaced under one lock, and every change is told."""

import pytest

from builders import DAY, NOW, SECOND, a_key
from contracts.steps import at_once, beside, finished, waits, within
from domain.errors import Conflict
from domain.keys import LEAD, KeyUse, active, succeed
from domain.ports import Change, ChangeKind


async def found(store):
    return {key.id: key for key in await within(store, store.keys.all())}


async def test_a_fresh_store_holds_no_keys(store):
    assert await found(store) == {}


async def test_whatever_was_stored_can_be_read_back(store):
    keys = [
        a_key(),
        a_key(KeyUse.REFRESH, sealed=bytes(range(256)) * 40),
        a_key(algorithm="RS256", public={"kty": "RSA", "n": "x" * 700, "e": "AQAB"}),
        a_key(superseded_at=NOW + DAY),
        a_key(revoked_at=NOW),
        a_key(activates_at=NOW + DAY),
    ]
    await within(store, store.keys.save(keys))
    assert await found(store) == {key.id: key for key in keys}
    assert {key.id: key for key in await within(store, store.keys.locked())} == {key.id: key for key in keys}


async def test_saving_replaces_a_key_and_leaves_others_alone(store):
    one, other = a_key(), a_key()
    await within(store, store.keys.save([one, other]))
    changed = a_key(id=one.id, superseded_at=NOW + SECOND, revoked_at=NOW + DAY)
    await within(store, store.keys.save([changed]))
    assert await found(store) == {one.id: changed, other.id: other}


async def test_locked_keys_make_the_next_writer_wait_and_see_the_change(store):
    first = a_key()
    async with store.transaction():
        await store.keys.locked()
        other = beside(within(store, store.keys.locked()))
        assert await waits(other)
        await store.keys.save([first])
    assert list(await finished(other)) == [first]


async def rotate(store, use):
    async with store.transaction():
        keys = await store.keys.locked()
        fresh = a_key(use, activates_at=NOW + LEAD[use] if keys else NOW)
        await store.keys.save(succeed(keys, fresh))


@pytest.mark.parametrize("use", KeyUse)
async def test_of_parallel_rotations_one_takes_place(store, use):
    await rotate(store, use)
    outcomes = await at_once(*(rotate(store, use) for _ in range(4)))
    assert [type(o) for o in outcomes if o is not None] == [Conflict] * 3
    keys = (await found(store)).values()
    assert len(keys) == 2
    assert active(keys, use, NOW) != active(keys, use, NOW + DAY)


async def test_of_servers_that_start_together_one_makes_the_first_key(store):
    async def start():
        async with store.transaction():
            if not await store.keys.locked():
                await store.keys.save([a_key()])

    await at_once(*(start() for _ in range(5)))
    assert len(await found(store)) == 1


async def test_a_change_of_keys_is_told_to_the_change_feed(store, new_feed):
    feed = await new_feed()
    await within(store, store.keys.save([a_key()]))
    await feed.wait(1)
    assert set((await feed.read()).changes) == {Change(ChangeKind.KEYS)}
