"""Consents: one a person and application; they widen, whoever else grants meanwhile, and go when they are withdrawn."""

from dataclasses import replace

import pytest

from builders import DAY, NOW, SECOND, a_consent, a_user, an_application
from contracts.steps import Mishap, at_once, failing, within
from domain.clients import ClientId
from domain.users import UserId


async def a_person_and_an_application(store):
    user, client = a_user(), an_application()
    await within(store, store.users.add(user), store.clients.add(client))
    return user, client


async def granted(store, consent):
    await within(store, store.consents.save(consent))
    return consent


async def found(store, user, client):
    return await within(store, store.consents.find(user.id, client.id))


@pytest.mark.parametrize(
    "scopes", [(), ("openid",), ("openid", "offline_access", "a:b", "a,b", "{}", "NULL", 'quo"ted', "back\\slash")]
)
async def test_whatever_was_stored_can_be_read_back(store, scopes):
    user, client = await a_person_and_an_application(store)
    consent = await granted(store, a_consent(user, client, *scopes, updated_at=NOW + DAY))
    assert await found(store, user, client) == consent


async def test_a_consent_is_of_one_person_and_one_application(store):
    user, client = await a_person_and_an_application(store)
    somebody, another = await a_person_and_an_application(store)
    await granted(store, a_consent(user, client, "openid"))
    assert await found(store, somebody, client) is None
    assert await found(store, user, another) is None
    assert list(await within(store, store.consents.of_user(somebody.id))) == []


@pytest.mark.parametrize("text", ["", "ghost", "\x00", "\ud800", "x" * 10_000])
async def test_what_an_unknown_application_has_is_nothing(store, text):
    user, _ = await a_person_and_an_application(store)
    assert await within(store, store.consents.find(user.id, ClientId(text))) is None
    assert await within(store, store.consents.remove(user.id, ClientId(text))) is False


async def test_what_is_granted_later_comes_to_what_there_is_and_the_first_day_stays(store):
    user, client = await a_person_and_an_application(store)
    first = await granted(store, a_consent(user, client, "openid", "email"))
    later = NOW + DAY
    await granted(store, replace(first, scopes=frozenset({"email", "notes"}), granted_at=later, updated_at=later))
    assert await found(store, user, client) == first.widened({"notes"}, later)


async def test_of_many_that_grant_at_once_none_is_lost(store):
    user, client = await a_person_and_an_application(store)
    scopes = [f"scope{n}" for n in range(20)]
    await at_once(*(within(store, store.consents.save(a_consent(user, client, scope))) for scope in scopes))
    assert (await found(store, user, client)).scopes == set(scopes)


async def test_a_consent_that_was_read_before_another_one_was_granted_takes_nothing_back(store):
    """Both read the consent as it was; each saves what it saw and its own scope."""
    user, client = await a_person_and_an_application(store)
    seen = await granted(store, a_consent(user, client, "openid"))
    await granted(store, seen.widened({"email"}, NOW + SECOND))
    await granted(store, seen.widened({"notes"}, NOW + SECOND))
    assert (await found(store, user, client)).scopes == {"openid", "email", "notes"}


async def test_a_consent_can_be_taken_away_once(store):
    user, client = await a_person_and_an_application(store)
    other = an_application()
    await within(store, store.clients.add(other))
    await granted(store, a_consent(user, client, "openid", "notes"))
    kept = await granted(store, a_consent(user, other, "openid"))
    assert await within(store, store.consents.remove(user.id, client.id)) is True
    assert await within(store, store.consents.remove(user.id, client.id)) is False
    assert await found(store, user, client) is None
    assert list(await within(store, store.consents.of_user(user.id))) == [kept]


async def test_what_is_granted_after_it_was_taken_away_is_all_there_is(store):
    user, client = await a_person_and_an_application(store)
    await granted(store, a_consent(user, client, "openid", "notes"))
    await within(store, store.consents.remove(user.id, client.id))
    fresh = await granted(store, a_consent(user, client, "openid", granted_at=NOW + DAY, updated_at=NOW + DAY))
    assert await found(store, user, client) == fresh


async def test_all_of_a_persons_come_oldest_first(store):
    user, _ = await a_person_and_an_application(store)
    clients = [an_application() for _ in range(4)]
    await within(store, *(store.clients.add(client) for client in clients))
    ages = (2, 4, 1, 3)
    made = [
        await granted(store, a_consent(user, c, "openid", granted_at=NOW - n * DAY))
        for c, n in zip(clients, ages, strict=True)
    ]
    assert list(await within(store, store.consents.of_user(user.id))) == [made[1], made[3], made[0], made[2]]
    assert list(await within(store, store.consents.of_user(UserId(a_user().id)))) == []


async def test_what_a_failed_transaction_did_is_undone(store):
    user, client = await a_person_and_an_application(store)
    consent = await granted(store, a_consent(user, client, "openid"))
    with pytest.raises(Mishap):
        await failing(store, store.consents.save(consent.widened({"notes"}, NOW)))
    with pytest.raises(Mishap):
        await failing(store, store.consents.remove(user.id, client.id))
    assert await found(store, user, client) == consent
