"""What applications have of a browser's session: it ends with it, whoever is faster."""

import asyncio

import pytest

from builders import NOW, a_client, a_family, a_session, a_user
from contracts.steps import beside, finished, waits, within
from domain.clients import PAGES, ClientId
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
