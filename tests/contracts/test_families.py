"""Families: of all who present a generation, one moves the family on."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_family, a_grant, a_session, a_user, an_application, an_event
from contracts.steps import Mishap, at_once, beside, failing, finished, waits, within
from domain.clients import FIRST_PARTY, PAGES, ClientId
from domain.ports import Standing
from domain.scopes import Scope
from domain.sessions import EndReason, FamilyId, Rotated, rotate

KEY = "ffffffffffffffff"
MICROSECOND = timedelta(microseconds=1)


async def stored(store, **changes):
    user = a_user()
    session = a_session(user)
    family = a_family(session, **changes)
    async with store.transaction():
        await store.users.add(user)
        await store.sessions.add(session)
        await store.families.add(family)
    return family


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"counter": 2**40, "epoch": 2**31 - 1},
        {"idle": timedelta(days=30, microseconds=1), "expires_at": NOW + 10_000 * DAY},
        {
            "scope": "openid offline_access a:b",
            "audience": ("https://b.example/", "urn:a"),
            "claims": ("email", "name"),
        },
        {"scope": "", "audience": ("{}", "a,b", "NULL")},
        *({"ended_at": NOW, "end_reason": reason} for reason in EndReason),
    ],
)
async def test_whatever_was_stored_can_be_read_back(store, changes):
    family = await stored(store, **changes)
    async with store.transaction():
        assert await store.families.find(family.id) == family
        assert await store.families.locked(family.id) == family
        assert (await store.families.standing(family.id)).family == family


async def test_moving_on_leaves_what_was_granted_as_it_is(store):
    family = await stored(store, scope="openid", audience=("urn:a",), claims=("email",))
    moved = await within(store, store.families.advance(family.id, 0, KEY, NOW + SECOND, an_event()))
    assert moved == replace(family, counter=1, key_id=KEY, rotated_at=NOW + SECOND)


async def test_a_family_of_an_application_stands_on_all_that_is_registered_of_it(store):
    user, client = a_user(), an_application(
        name="Zoë's", jwks={"keys": [{"kty": "EC"}]}, audiences=("urn:a",), trusted=True, scope_path=Scope("org/acme"),
    )  # fmt: skip
    browser = a_session(user, client_id=PAGES)
    session = a_session(user, client_id=client.id, parent_id=browser.id, offline=True)
    family = a_family(session)
    async with store.transaction():
        await store.users.add(user)
        await store.clients.add(client)
        await store.sessions.add(browser)
        await store.sessions.add(session)
        await store.families.add(family)
        for role in ("manager", "user"):
            await store.grants.add(a_grant(user, role))
    found = await within(store, store.families.standing(family.id))
    assert (found.family, found.session, found.client) == (family, session, client)
    assert len(found.facts.grants) == 2


async def test_a_family_stands_on_its_session_its_client_and_the_facts_about_its_user(store):
    user = a_user()
    session = a_session(user, amr=("pwd", "otp"), address="192.0.2.1")
    family = a_family(session)
    held = [a_grant(user, "manager"), a_grant(user, "user", scope=Scope("org/acme"))]
    async with store.transaction():
        await store.users.add(user)
        await store.sessions.add(session)
        await store.families.add(family)
        bare = await store.families.standing(family.id)
        for grant in held:
            await store.grants.add(grant)
        await store.changes.authority(user.id)
    async with store.transaction():
        found = await store.families.standing(family.id)
        client, facts = await store.clients.find(FIRST_PARTY), await store.users.facts(user.id)
    assert bare.facts.grants == ()
    assert found == Standing(family, session, client, facts)
    assert (set(found.facts.grants), found.facts.authv) == (set(held), bare.facts.authv + 1)


async def test_an_unknown_family_is_none(store):
    id, event = FamilyId(a_family().id), an_event()
    async with store.transaction():
        assert await store.families.find(id) is None
        assert await store.families.standing(id) is None
        assert await store.families.locked(id) is None
        assert await store.families.advance(id, 0, KEY, NOW, event) is None
        assert await store.audit.find(event.id) is None


async def test_the_current_generation_moves_the_family_on_and_writes_the_event_with_it(store):
    family, event = await stored(store, counter=7), an_event(NOW + SECOND)
    moved = await within(store, store.families.advance(family.id, 7, KEY, NOW + SECOND, event))
    assert moved == replace(family, counter=8, key_id=KEY, rotated_at=NOW + SECOND)
    async with store.transaction():
        assert await store.families.find(family.id) == moved
        assert await store.audit.find(event.id) == event


edges = st.sampled_from([-1, 0, 1]).map(lambda n: n * MICROSECOND)
spans = st.builds(lambda days, edge: days * DAY + edge, st.sampled_from([0, 1, 29, 31, 200]), edges)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(
    counter=st.integers(0, 3),
    presented=st.integers(0, 4),
    idle=st.sampled_from([DAY, 31 * DAY, 200 * DAY]),
    expires=st.sampled_from([DAY, 29 * DAY, 200 * DAY]),
    later=spans,
    ended=st.one_of(st.none(), st.sampled_from(EndReason)),
)
async def test_moving_on_agrees_with_the_rule(store, counter, presented, idle, expires, later, ended):
    family = await stored(
        store, counter=counter, idle=idle, expires_at=NOW + expires,
        ended_at=None if ended is None else NOW, end_reason=ended,
    )  # fmt: skip
    event, outcome = an_event(NOW + later), rotate(family, presented, KEY, NOW + later)
    expected = outcome.family if isinstance(outcome, Rotated) else None
    assert await within(store, store.families.advance(family.id, presented, KEY, NOW + later, event)) == expected
    async with store.transaction():
        assert await store.families.find(family.id) == (expected or family)
        assert (await store.audit.find(event.id) is not None) == (expected is not None)


async def test_of_many_parallel_callers_with_one_generation_exactly_one_wins(store):
    family = await stored(store, counter=7)
    events = [an_event() for _ in range(50)]
    outcomes = await at_once(
        *(within(store, store.families.advance(family.id, 7, f"{n:016x}", NOW, e)) for n, e in enumerate(events))
    )
    [winner] = [outcome for outcome in outcomes if outcome is not None]
    async with store.transaction():
        assert await store.families.find(family.id) == winner
        written = [event for event in events if await store.audit.find(event.id) is not None]
    assert written == [events[outcomes.index(winner)]]


async def test_callers_in_a_row_move_the_family_on_one_by_one(store):
    family = await stored(store)
    for generation in range(5):
        moved = await within(store, store.families.advance(family.id, generation, KEY, NOW, an_event()))
        assert moved.counter == generation + 1
    assert await within(store, store.families.advance(family.id, 3, KEY, NOW, an_event())) is None


async def test_a_failure_after_moving_on_takes_it_back(store):
    family, event = await stored(store), an_event()
    with pytest.raises(Mishap):
        await failing(store, store.families.advance(family.id, 0, KEY, NOW, event))
    async with store.transaction():
        assert await store.families.find(family.id) == family
        assert await store.audit.find(event.id) is None


async def test_a_caller_that_waits_for_one_who_fails_wins(store):
    family, others = await stored(store), []

    async def somebody_waits():
        others.append(beside(within(store, store.families.advance(family.id, 0, KEY, NOW, an_event()))))
        assert await waits(others[0])

    with pytest.raises(Mishap):
        await failing(store, store.families.advance(family.id, 0, "a" * 16, NOW, an_event()), somebody_waits())
    assert (await finished(others[0])).key_id == KEY


async def test_a_locked_family_makes_the_next_caller_wait_and_see_the_change(store):
    family = await stored(store, counter=5)
    async with store.transaction():
        held = await store.families.locked(family.id)
        locker = beside(within(store, store.families.locked(family.id)))
        mover = beside(within(store, store.families.advance(family.id, 5, KEY, NOW, an_event())))
        assert await waits(locker)
        assert await waits(mover)
        await store.families.save(held.ended(NOW, EndReason.REPLAYED))
    assert (await finished(locker)).end_reason is EndReason.REPLAYED
    assert await finished(mover) is None


async def test_the_last_rotation_of_a_session_is_the_latest_of_all_its_families(store):
    user = a_user()
    busy, quiet, bare, other = (a_session(user) for _ in range(4))
    early = a_family(busy, rotated_at=NOW)
    late = a_family(busy, rotated_at=NOW + DAY, ended_at=NOW + DAY, end_reason=EndReason.SIGNED_OUT)
    async with store.transaction():
        await store.users.add(user)
        for session in (busy, quiet, bare, other):
            await store.sessions.add(session)
        for family in (late, early, a_family(quiet), a_family(other)):
            await store.families.add(family)
        asked = [busy.id, quiet.id, bare.id, a_session().id]
        assert await store.families.last_rotations(asked) == {busy.id: NOW + DAY, quiet.id: NOW}
        assert await store.families.last_rotations([]) == {}


async def test_a_rotation_is_the_last_one_from_its_commit_on(store):
    family = await stored(store)
    await within(store, store.families.advance(family.id, 0, KEY, NOW + SECOND, an_event()))
    found = await within(store, store.families.last_rotations([family.session_id]))
    assert found == {family.session_id: NOW + SECOND}


# ------------------------------------------------------------------------------------------------ all those of a client


async def families_at(store, *clients):
    """A family of another person at each of these clients."""
    made = []
    for client in clients:
        user = a_user()
        session = a_session(user, client_id=client.id)
        made.append(a_family(session))
        await within(store, store.users.add(user), store.sessions.add(session), store.families.add(made[-1]))
    return made


async def test_all_families_of_a_client_end_and_no_others_nor_their_sessions(store):
    client, other = an_application(), an_application()
    await within(store, store.clients.add(client), store.clients.add(other))
    *mine, _, theirs = made = await families_at(store, client, client, client, client, other)
    over = made[3].ended(NOW - DAY, EndReason.SIGNED_OUT)
    await within(store, store.families.save(over))
    async with store.transaction():
        await store.clients.locked(client.id)
        assert await store.families.end_at(client.id, NOW, EndReason.CLIENT_DISABLED) == 3
        assert await store.families.end_at(client.id, NOW + DAY, EndReason.REVOKED) == 0
    async with store.transaction():
        found = [await store.families.find(family.id) for family in made]
        sessions = [await store.sessions.find(family.session_id) for family in made]
    assert found == [*(family.ended(NOW, EndReason.CLIENT_DISABLED) for family in mine), over, theirs]
    assert all(session.ended_at is None for session in sessions)


async def test_a_client_without_families_has_none_to_end(store):
    await stored(store)
    assert await within(store, store.families.end_at(ClientId("ghost"), NOW, EndReason.REVOKED)) == 0


async def test_a_refresh_that_waits_for_its_client_being_disabled_gets_nothing(store):
    family = await stored(store)
    async with store.transaction():
        assert await store.families.end_at(family.client_id, NOW, EndReason.CLIENT_DISABLED) == 1
        refresh = beside(within(store, store.families.advance(family.id, 0, KEY, NOW, an_event())))
        assert await waits(refresh)
    assert await finished(refresh) is None


async def test_disabling_a_client_waits_for_a_refresh_and_ends_what_that_made(store):
    family = await stored(store)
    async with store.transaction():
        assert await store.families.advance(family.id, 0, KEY, NOW, an_event()) is not None
        end = beside(within(store, store.families.end_at(family.client_id, NOW, EndReason.CLIENT_DISABLED)))
        assert await waits(end)
    assert await finished(end) == 1
    found = await within(store, store.families.find(family.id))
    assert (found.counter, found.end_reason) == (1, EndReason.CLIENT_DISABLED)
