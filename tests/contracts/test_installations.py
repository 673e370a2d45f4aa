"""Installations: one row about the installation, prepared once."""

from builders import NOW, SECOND
from contracts.steps import at_once, beside, finished, waits, within
from domain.ports import Installation


async def test_a_fresh_store_is_in_its_first_life_and_not_prepared(store):
    assert await within(store, store.installations.read()) == Installation(1, None, None)
    assert await within(store, store.installations.locked()) == Installation(1, None, None)


async def test_a_first_start_is_remembered_with_its_secret(store):
    secret = bytes(range(256))
    await within(store, store.installations.prepared(secret, NOW))
    assert await within(store, store.installations.read()) == Installation(1, secret, NOW)


async def test_a_locked_installation_makes_the_next_server_wait_and_see_the_change(store):
    async with store.transaction():
        await store.installations.locked()
        other = beside(within(store, store.installations.locked()))
        assert await waits(other)
        await store.installations.prepared(b"first", NOW)
    assert await finished(other) == Installation(1, b"first", NOW)


async def test_of_servers_that_start_together_one_prepares(store):
    async def start(number):
        async with store.transaction():
            if (await store.installations.locked()).prepared_at is None:
                await store.installations.prepared(bytes([number]), NOW + number * SECOND)
                return number
        return None

    outcomes = await at_once(*(start(number) for number in range(6)))
    [winner] = [number for number in outcomes if number is not None]
    assert (await within(store, store.installations.read())).secret == bytes([winner])
