"""Sessions: they end with all their families, once and for one reason."""

from dataclasses import replace

import pytest

from builders import DAY, NOW, SECOND, a_family, a_session, a_user, an_event
from contracts.steps import at_once, beside, finished, waits, within
from domain.clients import PAGES
from domain.ports import Change, ChangeKind
from domain.sessions import EndReason

KEY = "ffffffffffffffff"


async def a_signed_in_user(store, sessions=1, families=1):
    user = a_user()
    opened = [a_session(user, created_at=NOW + n * SECOND) for n in range(sessions)]
    chains = [a_family(session) for session in opened for _ in range(families)]
    async with store.transaction():
        await store.users.add(user)
        for session in reversed(opened):
            await store.sessions.add(session)
        for family in chains:
            await store.families.add(family)
    return user, opened, chains


async def ends_of(store, things, port):
    async with store.transaction():
        found = [await port.find(thing.id) for thing in things]
    return [(thing.ended_at, thing.end_reason) for thing in found]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"address": None, "user_agent": None, "amr": ()},
        {"address": "2001:db8::1", "user_agent": "Zoë 李 😀 " + "x" * 10_000, "amr": ("pwd", "otp", "mfa")},
        {"auth_time": NOW - DAY, "last_used_at": NOW + SECOND},
        {"parent_id": a_session().id, "client_id": PAGES},  # a parent may be gone
        {"offline": True, "expires_at": NOW + 90 * DAY},
        *({"ended_at": NOW, "end_reason": reason} for reason in EndReason),
    ],
)
async def test_whatever_was_stored_can_be_read_back(store, changes):
    user = a_user()
    session = a_session(user, **changes)
    await within(store, store.users.add(user), store.sessions.add(session))
    assert await within(store, store.sessions.find(session.id)) == session


async def test_an_unknown_session_is_none(store):
    async with store.transaction():
        assert await store.sessions.find(a_session().id) is None
        assert await store.sessions.locked(a_session().id) is None


async def test_a_locked_session_can_be_replaced_and_others_stay_as_they_are(store):
    _, [session, other], chains = await a_signed_in_user(store, sessions=2)
    going_on = replace(
        session, auth_time=NOW + DAY, amr=("pwd", "otp"), last_used_at=NOW + DAY, expires_at=NOW + 2 * DAY,
        address=None, user_agent="another", offline=True,
    )  # fmt: skip
    async with store.transaction():
        assert await store.sessions.locked(session.id) == session
        await store.sessions.save(going_on)
    async with store.transaction():
        assert await store.sessions.find(session.id) == going_on
        assert await store.sessions.find(other.id) == other
        assert [await store.families.find(family.id) for family in chains] == chains


async def test_of_many_at_once_who_lock_a_session_no_change_is_lost(store):
    _, [session], _ = await a_signed_in_user(store)

    async def use():
        async with store.transaction():
            found = await store.sessions.locked(session.id)
            await store.sessions.save(replace(found, last_used_at=found.last_used_at + SECOND))

    assert await at_once(*(use() for _ in range(20))) == [None] * 20
    assert (await within(store, store.sessions.find(session.id))).last_used_at == NOW + 20 * SECOND


async def test_who_waits_for_a_session_that_is_being_ended_sees_it_ended(store):
    _, [session], _ = await a_signed_in_user(store)
    async with store.transaction():
        await store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT)
        other = beside(within(store, store.sessions.locked(session.id)))
        assert await waits(other)
    assert (await finished(other)).end_reason is EndReason.SIGNED_OUT


async def test_a_session_that_is_locked_ends_as_it_was_left(store):
    """Else its use would write back a session that is open."""
    _, [session], _ = await a_signed_in_user(store)
    async with store.transaction():
        held = await store.sessions.locked(session.id)
        end = beside(within(store, store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT)))
        assert await waits(end)
        await store.sessions.save(replace(held, last_used_at=NOW + DAY))
    assert list(await finished(end)) == [session.id]
    found = await within(store, store.sessions.find(session.id))
    assert (found.last_used_at, found.end_reason) == (NOW + DAY, EndReason.SIGNED_OUT)


async def test_a_family_that_is_being_added_to_a_session_ends_with_it(store):
    _, [session], _ = await a_signed_in_user(store)
    family = a_family(session)
    async with store.transaction():
        await store.sessions.locked(session.id)
        end = beside(within(store, store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT)))
        assert await waits(end)
        await store.families.add(family)
    await finished(end)
    assert await ends_of(store, [session], store.sessions) == [(NOW, EndReason.SIGNED_OUT)]
    assert await ends_of(store, [family], store.families) == [(NOW, EndReason.SIGNED_OUT)]


async def test_open_sessions_come_oldest_first_and_without_those_that_ended(store):
    user, opened, _ = await a_signed_in_user(store, sessions=4)
    await a_signed_in_user(store)
    await within(store, store.sessions.end([opened[1].id], NOW, EndReason.SIGNED_OUT))
    found = await within(store, store.sessions.open_of(user.id))
    assert list(found) == [opened[0], opened[2], opened[3]]
    assert list(await within(store, store.sessions.open_of(a_user().id))) == []


async def test_ending_a_session_ends_its_families_and_no_others(store):
    _, opened, chains = await a_signed_in_user(store, sessions=3, families=2)
    ended = [opened[0].id, opened[2].id]
    await within(store, store.sessions.end(ended, NOW + SECOND, EndReason.SIGNED_OUT))
    over = (NOW + SECOND, EndReason.SIGNED_OUT)
    open_still = (None, None)
    assert await ends_of(store, opened, store.sessions) == [over, open_still, over]
    assert await ends_of(store, chains, store.families) == [over, over, open_still, open_still, over, over]


async def test_the_first_reason_stands(store):
    user, opened, chains = await a_signed_in_user(store, sessions=2)
    await within(store, store.sessions.end([opened[0].id], NOW, EndReason.REPLAYED))
    await within(store, store.sessions.end([opened[0].id], NOW + DAY, EndReason.SIGNED_OUT))
    await within(store, store.sessions.end_all_of(user.id, NOW + DAY, EndReason.SUSPENDED))
    expected = [(NOW, EndReason.REPLAYED), (NOW + DAY, EndReason.SUSPENDED)]
    assert await ends_of(store, opened, store.sessions) == expected
    assert await ends_of(store, chains, store.families) == expected


async def test_a_family_that_ended_before_its_session_keeps_its_reason(store):
    _, [session], [family] = await a_signed_in_user(store)
    await within(store, store.families.save(family.ended(NOW, EndReason.ROLLED_BACK)))
    await within(store, store.sessions.end([session.id], NOW + SECOND, EndReason.SIGNED_OUT))
    assert await ends_of(store, [family], store.families) == [(NOW, EndReason.ROLLED_BACK)]


async def test_ending_nothing_or_something_unknown_changes_nothing(store):
    _, opened, _ = await a_signed_in_user(store)
    await within(store, store.sessions.end([], NOW, EndReason.SIGNED_OUT))
    await within(store, store.sessions.end([a_session().id], NOW, EndReason.SIGNED_OUT))
    assert await ends_of(store, opened, store.sessions) == [(None, None)]


async def test_ending_all_of_a_user_says_which_were_open_and_leaves_others_alone(store):
    user, opened, chains = await a_signed_in_user(store, sessions=3)
    _, others, other_chains = await a_signed_in_user(store, sessions=2)
    await within(store, store.sessions.end([opened[0].id], NOW, EndReason.SIGNED_OUT))
    async with store.transaction():
        await store.users.locked(user.id)
        ended = await store.sessions.end_all_of(user.id, NOW, EndReason.PASSWORD_CHANGED)
    assert sorted(ended) == sorted(session.id for session in opened[1:])
    assert await within(store, store.sessions.open_of(user.id)) == []
    assert all(at is not None for at, _ in await ends_of(store, chains, store.families))
    assert await ends_of(store, others, store.sessions) == [(None, None)] * 2
    assert await ends_of(store, other_chains, store.families) == [(None, None)] * 2
    assert list(await within(store, store.sessions.end_all_of(user.id, NOW, EndReason.SUSPENDED))) == []


async def test_every_session_that_ends_is_told_to_the_change_feed(store, new_feed):
    feed = await new_feed()
    user, opened, _ = await a_signed_in_user(store, sessions=3)
    await within(store, store.sessions.end([opened[0].id], NOW, EndReason.SIGNED_OUT))
    await within(store, store.sessions.end_all_of(user.id, NOW, EndReason.SUSPENDED))
    await feed.wait(1)
    told = set((await feed.read()).changes)
    assert told == {Change(ChangeKind.SESSION, str(session.id)) for session in opened}


@pytest.mark.parametrize(
    "end",
    [
        lambda store, session: store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT),
        lambda store, session: store.sessions.end_all_of(session.user_id, NOW, EndReason.SUSPENDED),
    ],
    ids=["one", "all"],
)
async def test_a_refresh_that_waits_for_a_session_being_ended_gets_nothing(store, end):
    """PostgreSQL re-reads only the row it waited for, so the family itself has to say that it is over."""
    _, [session], [family] = await a_signed_in_user(store)
    event = an_event()
    async with store.transaction():
        await end(store, session)
        refresh = beside(within(store, store.families.advance(family.id, 0, KEY, NOW, event)))
        assert await waits(refresh)
    assert await finished(refresh) is None
    async with store.transaction():
        assert (await store.families.find(family.id)).counter == 0
        assert await store.audit.find(event.id) is None


async def test_an_end_that_waits_for_a_refresh_ends_what_the_refresh_made(store):
    _, [session], [family] = await a_signed_in_user(store)
    async with store.transaction():
        assert await store.families.advance(family.id, 0, KEY, NOW, an_event()) is not None
        end = beside(within(store, store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT)))
        assert await waits(end)
    await finished(end)
    found = await within(store, store.families.find(family.id))
    assert (found.counter, found.end_reason) == (1, EndReason.SIGNED_OUT)
