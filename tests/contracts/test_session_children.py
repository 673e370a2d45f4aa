"""What applications have of a browser's session: it ends with it, whoever is faster."""

import asyncio
from dataclasses import replace

import pytest

from builders import NOW, SECOND, a_client, a_family, a_session, a_user
from contracts.steps import at_once, beside, finished, waits, within
from domain.clients import PAGES, ClientId
from domain.ports import Change, ChangeKind
from domain.sessions import EndReason

NOTES = ClientId("notes")


@pytest.fixture
async def browser(store):
    user = a_user()
    session = a_session(user, client_id=PAGES)
    steps = [store.users.add(user), store.clients.add(a_client(id=NOTES)), store.sessions.add(session)]
    await within(store, *steps)
    return session


def a_child(browser, **changes):
    return a_session(browser.user_id, client_id=NOTES, parent_id=browser.id, **changes)


async def end(store, session):
    return await within(store, store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT))


async def test_a_child_and_its_family_end_with_the_browsers_session_and_an_offline_one_does_not(store, browser):
    child, offline = a_child(browser), a_session(browser.user_id, client_id=NOTES, offline=True)
    families = [a_family(child), a_family(offline)]
    await within(store, *(store.sessions.add(s) for s in (child, offline)), *map(store.families.add, families))
    assert await within(store, store.sessions.open_child(browser.id, NOTES)) == child
    assert [s.id for s in await within(store, store.sessions.open_of(browser.user_id))] == [browser.id, offline.id]
    assert len(await within(store, store.sessions.open_at(browser.user_id, NOTES))) == 2
    assert list(await end(store, browser)) == [browser.id]
    assert (await within(store, store.sessions.find(child.id))).end_reason is EndReason.SIGNED_OUT
    assert (await within(store, store.families.find(families[0].id))).ended_at == NOW
    assert (await within(store, store.sessions.find(offline.id))).ended_at is None
    assert (await within(store, store.families.find(families[1].id))).ended_at is None
    await within(store, store.sessions.end_all_of(browser.user_id, NOW, EndReason.SUSPENDED))
    assert (await within(store, store.sessions.find(offline.id))).ended_at == NOW


async def test_a_child_that_is_being_added_while_the_parent_ends_is_ended_too(store, browser):
    child = a_child(browser)
    family, may_end = a_family(child), asyncio.Event()

    async def add():
        async with store.transaction():
            assert (await store.sessions.locked(browser.id)).ended_at is None
            await store.sessions.add(child)
            await store.families.add(family)
            may_end.set()
            await asyncio.sleep(0.2)

    adding = beside(add())
    await may_end.wait()
    ending = beside(end(store, browser))
    assert await waits(ending)
    await finished(adding)
    await finished(ending)
    assert (await within(store, store.sessions.find(child.id))).ended_at == NOW
    assert (await within(store, store.families.find(family.id))).ended_at == NOW


async def test_who_waits_for_a_session_that_is_being_ended_sees_it_ended(store, browser):
    ended = asyncio.Event()

    async def ending():
        async with store.transaction():
            await store.sessions.end([browser.id], NOW, EndReason.SIGNED_OUT)
            ended.set()
            await asyncio.sleep(0.2)

    task = beside(ending())
    await ended.wait()
    assert (await within(store, store.sessions.locked(browser.id))).ended_at == NOW
    await finished(task)


async def test_families_of_a_client_end_together(store, browser):
    child = a_child(browser)
    family = a_family(child)
    await within(store, store.sessions.add(child), store.families.add(family))
    assert await within(store, store.families.end_at(NOTES, NOW, EndReason.CLIENT_DISABLED)) == 1
    assert await within(store, store.families.end_at(NOTES, NOW, EndReason.CLIENT_DISABLED)) == 0
    assert (await within(store, store.families.find(family.id))).end_reason is EndReason.CLIENT_DISABLED


async def test_a_child_is_found_by_its_parent_and_client_while_it_is_open(store, browser):
    other = a_session(browser.user_id, client_id=PAGES)
    child, stranger = a_child(browser), a_child(other)
    await within(store, *(store.sessions.add(session) for session in (other, child, stranger)))
    async with store.transaction():
        assert await store.sessions.open_child(browser.id, NOTES) == child
        assert await store.sessions.open_child(browser.id, PAGES) is None
        assert await store.sessions.open_child(child.id, NOTES) is None
    await end(store, child)
    assert await within(store, store.sessions.open_child(browser.id, NOTES)) is None
    assert (await within(store, store.sessions.find(browser.id))).ended_at is None


async def test_what_is_open_at_a_client_is_a_persons_own_with_and_without_a_parent_oldest_first(store, browser):
    child, offline, over = a_child(browser, created_at=NOW + SECOND), a_child(browser), a_child(browser)
    offline = replace(offline, parent_id=None, offline=True, created_at=NOW)
    stranger = a_user()
    theirs = a_session(stranger, client_id=NOTES)
    await within(store, store.users.add(stranger), *(store.sessions.add(s) for s in (child, offline, over, theirs)))
    await end(store, over)
    assert list(await within(store, store.sessions.open_at(browser.user_id, NOTES))) == [offline, child]
    assert list(await within(store, store.sessions.open_at(browser.user_id, PAGES))) == [browser]
    assert list(await within(store, store.sessions.open_at(browser.user_id, ClientId("\x00")))) == []


async def test_every_child_that_ends_is_told_to_the_change_feed(store, browser, new_feed):
    feed = await new_feed()
    children = [a_child(browser), a_child(browser)]
    await within(store, *map(store.sessions.add, children))
    await end(store, browser)
    await feed.wait(1)
    told = set((await feed.read()).changes)
    assert told == {Change(ChangeKind.SESSION, str(session.id)) for session in (browser, *children)}


async def test_a_child_that_ended_before_keeps_its_reason_and_one_that_is_given_is_answered(store, browser):
    before, given, other = (a_child(browser) for _ in range(3))
    await within(store, *map(store.sessions.add, (before, given, other)))
    await within(store, store.sessions.end([before.id], NOW - SECOND, EndReason.REPLAYED))
    ids = [before.id, given.id, browser.id]
    ended = await within(store, store.sessions.end(ids, NOW, EndReason.SIGNED_OUT))
    assert sorted(ended) == sorted([given.id, browser.id])
    async with store.transaction():
        reasons = [(await store.sessions.find(session.id)).end_reason for session in (before, given, other)]
    assert reasons == [EndReason.REPLAYED, EndReason.SIGNED_OUT, EndReason.SIGNED_OUT]


async def test_a_child_of_a_session_that_has_ended_ends_when_that_is_ended_again(store, browser):
    """Nobody adds one; where there is one all the same, ending its parent once more is how to be rid of it."""
    await end(store, browser)
    child = a_child(browser)
    await within(store, store.sessions.add(child))
    assert list(await end(store, browser)) == []
    assert (await within(store, store.sessions.find(child.id))).ended_at == NOW


async def test_ending_all_of_a_person_names_their_children_too(store, browser):
    child = a_child(browser)
    family = a_family(child)
    await within(store, store.sessions.add(child), store.families.add(family))
    ended = await within(store, store.sessions.end_all_of(browser.user_id, NOW, EndReason.SUSPENDED))
    assert sorted(ended) == sorted([browser.id, child.id])
    assert (await within(store, store.families.find(family.id))).end_reason is EndReason.SUSPENDED


async def test_a_child_that_is_being_added_while_all_of_a_person_ends_is_ended_too(store, browser):
    child = a_child(browser)
    family = a_family(child)
    async with store.transaction():
        await store.sessions.locked(browser.id)
        everything = store.sessions.end_all_of(browser.user_id, NOW, EndReason.SUSPENDED)
        ending = beside(within(store, everything))
        assert await waits(ending)
        await store.sessions.add(child)
        await store.families.add(family)
    await finished(ending)
    assert (await within(store, store.sessions.find(child.id))).end_reason is EndReason.SUSPENDED
    assert (await within(store, store.families.find(family.id))).end_reason is EndReason.SUSPENDED


async def test_who_would_add_a_child_waits_for_the_end_of_the_parent_and_sees_it(store, browser):
    async def try_to_add():
        async with store.transaction():
            held = await store.sessions.locked(browser.id)
            return held.refusal(NOW), await store.sessions.open_child(browser.id, NOTES)

    await within(store, store.sessions.add(a_child(browser)))
    async with store.transaction():
        await store.sessions.end([browser.id], NOW, EndReason.SIGNED_OUT)
        adding = beside(try_to_add())
        assert await waits(adding)
    assert await finished(adding) == ("session_signed_out", None)


async def test_a_child_that_is_being_ended_is_not_used_again(store, browser):
    """Else whoever goes on with it would write it back as open."""
    child = a_child(browser)
    await within(store, store.sessions.add(child))

    async def go_on():
        async with store.transaction():
            await store.sessions.locked(browser.id)
            found = await store.sessions.open_child(browser.id, NOTES)
            if found is not None:
                await store.sessions.save(replace(found, last_used_at=NOW + SECOND))
            return found

    async with store.transaction():
        await store.sessions.end([child.id], NOW, EndReason.REVOKED)
        going_on = beside(go_on())
        assert await waits(going_on)
    assert await finished(going_on) is None
    assert (await within(store, store.sessions.find(child.id))).end_reason is EndReason.REVOKED


async def test_a_family_that_is_being_added_to_a_child_ends_with_the_child(store, browser):
    child = a_child(browser)
    family = a_family(child)
    await within(store, store.sessions.add(child))
    async with store.transaction():
        await store.sessions.locked(browser.id)
        assert await store.sessions.open_child(browser.id, NOTES) == child
        ending = beside(end(store, child))
        assert await waits(ending)
        await store.sessions.save(replace(child, last_used_at=NOW + SECOND))
        await store.families.add(family)
    assert list(await finished(ending)) == [child.id]
    found = await within(store, store.sessions.find(child.id))
    assert (found.last_used_at, found.end_reason) == (NOW + SECOND, EndReason.SIGNED_OUT)
    assert (await within(store, store.families.find(family.id))).end_reason is EndReason.SIGNED_OUT


@pytest.mark.slow
async def test_however_many_add_children_while_the_parent_ends_none_is_left_open(store, browser):
    families = []

    async def add():
        async with store.transaction():
            if (await store.sessions.locked(browser.id)).ended_at is not None:
                return
            child = await store.sessions.open_child(browser.id, NOTES)
            if child is None:
                child = a_child(browser)
                await store.sessions.add(child)
            families.append(a_family(child))
            await store.families.add(families[-1])

    adding = [add() for _ in range(30)]
    outcomes = await at_once(*adding[:15], end(store, browser), *adding[15:])
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    async with store.transaction():
        assert all([(await store.families.find(family.id)).ended_at is not None for family in families])
        assert not await store.sessions.open_at(browser.user_id, NOTES)
