"""One-time values: of all who use one, one does; none passes for one of another kind; kept for a while, then gone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import NOW, SECOND, a_code, a_user, new_id
from contracts.steps import Mishap, at_once, beside, failing, finished, waits, within
from domain.clients import FIRST_PARTY, ClientId
from domain.errors import Conflict
from domain.one_time import OneTimeKind
from domain.sessions import SessionId
from domain.upkeep import KEPT, Leftover

CODE, ASSERTION = OneTimeKind.AUTHORIZATION_CODE, OneTimeKind.ASSERTION
MICROSECOND = timedelta(microseconds=1)
KEPT_LONGER = KEPT[Leftover.ONE_TIME_VALUES]


async def added(store, **changes):
    value = a_code(**changes)
    await within(store, store.one_time_values.add(value))
    return value


async def found(store, value):
    return await within(store, store.one_time_values.find(value.kind, value.hash))


async def redeem(store, value, at=NOW, made=None, **changes):
    wanted = replace(value, **changes)
    return await within(store, store.one_time_values.redeem(wanted.kind, wanted.hash, at, made))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": ASSERTION, "client_id": None, "used_at": NOW},
        {"client_id": ClientId("not registered"), "session_id": SessionId(new_id()), "made": new_id(), "used_at": NOW},
        {"hash": b"\x00\xff" * 16, "expires_at": NOW + MICROSECOND},
        {"details": {"scopes": ["a", "b"], "n": None, "at": 1795176000.000001, "deep": {"x": [True, -1, {}]}, "": ""}},
        {"details": {"order": 1, "b": 1, "a": 1, "nonce": "Zoë 李 😀 'quoted\" \\u0041 %(x)s $1"}},
        {"details": {"nonce": "what a client sent: \x00 \x1f \x7f \ud800 \udfff"}},
    ],
)
async def test_whatever_was_stored_can_be_read_back(store, changes):
    user = a_user()
    value = a_code(user, **changes)
    await within(store, store.users.add(user), store.one_time_values.add(value))
    assert await found(store, value) == value


async def test_an_unknown_value_is_none_and_cannot_be_used(store):
    value = a_code()
    assert await found(store, value) is None
    assert not await redeem(store, value)


async def test_a_use_is_remembered_with_what_it_made(store):
    value, other = await added(store), await added(store)
    made = new_id()
    assert await redeem(store, value, NOW + SECOND, made)
    assert await found(store, value) == replace(value, used_at=NOW + SECOND, made=made)
    assert await found(store, other) == other


async def test_a_second_use_changes_nothing(store):
    value, made = await added(store), new_id()
    assert await redeem(store, value, NOW, made)
    assert not await redeem(store, value, NOW + SECOND, new_id())
    assert await found(store, value) == replace(value, used_at=NOW, made=made)


async def test_of_fifty_that_use_a_value_at_once_exactly_one_does(store):
    value = await added(store)
    made = [new_id() for _ in range(50)]
    outcomes = await at_once(*(redeem(store, value, NOW, id) for id in made))
    assert sorted(outcomes) == [False] * 49 + [True]
    assert (await found(store, value)).made == made[outcomes.index(True)]


async def test_who_waits_for_a_use_that_fails_uses_it(store):
    value, others, made = await added(store), [], new_id()

    async def somebody_waits():
        others.append(beside(redeem(store, value, NOW, made)))
        assert await waits(others[0])

    with pytest.raises(Mishap):
        await failing(store, store.one_time_values.redeem(value.kind, value.hash, NOW, new_id()), somebody_waits())
    assert await finished(others[0])
    assert (await found(store, value)).made == made


async def test_who_waits_for_a_use_that_goes_well_does_not_use_it(store):
    value = await added(store)
    async with store.transaction():
        assert await store.one_time_values.redeem(value.kind, value.hash, NOW, None)
        other = beside(redeem(store, value))
        assert await waits(other)
    assert not await finished(other)


async def test_a_value_is_good_until_it_expires_and_no_longer(store):
    value = await added(store)
    assert not await redeem(store, value, value.expires_at + SECOND)
    assert not await redeem(store, value, value.expires_at)
    assert (await found(store, value)).used_at is None
    assert await redeem(store, value, value.expires_at - MICROSECOND)


async def test_R03_a_value_of_one_kind_is_none_of_another(store):
    value = await added(store)
    assert await found(store, replace(value, kind=ASSERTION)) is None
    assert not await redeem(store, value, kind=ASSERTION)
    twin = await added(store, kind=ASSERTION, hash=value.hash)  # the same text, and yet another value
    assert await redeem(store, twin)
    assert (await found(store, value)).used_at is None
    assert await redeem(store, value)


@pytest.mark.parametrize("used_at", [None, NOW])
async def test_a_value_that_is_there_is_refused_used_or_not_expired_or_not(store, used_at):
    value = await added(store, used_at=used_at)
    again = replace(value, client_id=None, created_at=value.expires_at, expires_at=value.expires_at + SECOND)
    with pytest.raises(Conflict) as refused:
        await within(store, store.one_time_values.add(again))
    assert refused.value.reason_code == "one_time_value_known"
    assert await found(store, value) == value


async def test_of_many_that_add_one_value_at_once_one_does(store):
    """So an assertion is used by being stored (RFC 7523, 3: `jti`)."""
    value = a_code(kind=ASSERTION, used_at=NOW)
    outcomes = await at_once(*(within(store, store.one_time_values.add(value)) for _ in range(20)))
    assert outcomes.count(None) == 1
    assert {getattr(o, "reason_code", None) for o in outcomes} == {None, "one_time_value_known"}


async def test_a_refused_value_spoils_its_transaction(store):
    value, other = await added(store), a_code()

    async def swallow():
        with pytest.raises(Conflict):
            await store.one_time_values.add(value)

    with pytest.raises(RuntimeError):
        await within(store, store.one_time_values.add(other), swallow())
    assert await found(store, other) is None


async def test_what_a_failed_transaction_did_is_undone(store):
    value, never = await added(store), a_code()
    with pytest.raises(Mishap):
        await failing(store, store.one_time_values.redeem(value.kind, value.hash, NOW, new_id()))
    with pytest.raises(Mishap):
        await failing(store, store.one_time_values.add(never))
    assert await found(store, value) == value
    assert await found(store, never) is None


async def test_a_used_value_is_known_until_an_hour_after_its_end_and_then_makes_room(store):
    """A code that comes again tells of a theft (RFC 6749, 10.5)."""
    value = await added(store, used_at=NOW, made=new_id())

    async def others_come(at):
        for _ in range(200):
            await added(store, created_at=at, expires_at=at + SECOND)

    await others_come(value.expires_at + KEPT_LONGER)
    assert await found(store, value) == value
    await others_come(value.expires_at + KEPT_LONGER + MICROSECOND)
    assert await found(store, value) is None


async def test_making_room_takes_nothing_that_is_still_good(store):
    twin = await added(store, expires_at=NOW + 30 * KEPT_LONGER)
    await added(store, kind=ASSERTION, hash=twin.hash)
    later = NOW + 2 * KEPT_LONGER
    for _ in range(200):
        await added(store, created_at=later, expires_at=later + SECOND)
    assert await found(store, replace(twin, kind=ASSERTION)) is None
    assert await found(store, twin) == twin


async def test_a_value_may_name_a_session_that_is_gone(store):
    user = a_user()
    value = a_code(user, session_id=SessionId(new_id()), client_id=FIRST_PARTY)
    await within(store, store.users.add(user), store.one_time_values.add(value))
    assert await redeem(store, value)
