"""Grants: one a user, role and scope; and the lock that guards the last administrator."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_grant, a_role, a_user, new_id
from contracts.steps import at_once, beside, every_page, finished, waits, within
from domain.errors import Conflict, Invalid
from domain.ports import GrantQuery
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserStatus

ACME = Scope("org/acme")


async def add(store, *things):
    async with store.transaction():
        for thing in things:
            await (store.users.add(thing) if hasattr(thing, "email") else store.grants.add(thing))


async def listed(store, between=None, **query):
    query = {"scopes": [EVERYWHERE], **query}
    return await every_page(store, lambda after: store.grants.page(GrantQuery(**{**query, "after": after})), between)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scope": Scope("/".join(["a" * 50] * 5)), "starts_at": NOW - DAY, "expires_at": NOW + 10_000 * DAY},
        {"granted_by": "operator:zoë", "starts_at": NOW + SECOND},
        {"expires_at": NOW - 10_000 * DAY},
    ],
)
async def test_whatever_was_stored_can_be_read_back(store, changes):
    user = a_user()
    grant = a_grant(user, "manager", **changes)
    await add(store, user, grant)
    async with store.transaction():
        assert await store.grants.find(grant.id) == grant
        assert await store.grants.find_by(user.id, "manager", grant.scope) == grant
        assert list(await store.grants.of_user(user.id)) == [grant]
        assert list((await store.grants.of_users([user.id]))[user.id]) == [grant]
    assert await listed(store) == [grant]


async def test_of_something_unknown_there_is_nothing(store):
    user = a_user()
    await add(store, user, a_grant(user, "user", scope=ACME))
    async with store.transaction():
        assert await store.grants.find(a_grant(user).id) is None
        assert await store.grants.find_by(user.id, "user", EVERYWHERE) is None
        assert await store.grants.find_by(user.id, "manager", ACME) is None
        assert list(await store.grants.of_user(a_user().id)) == []
        assert not (await store.grants.of_users([a_user().id])).get(user.id)
        assert await store.grants.of_users([]) == {}
        await store.grants.remove(a_grant(user).id)


async def test_a_user_holds_a_role_at_a_scope_once(store):
    user, other = a_user(), a_user()
    await add(store, user, other, a_grant(user, "user", scope=ACME))
    with pytest.raises(Conflict) as refused:
        await add(store, a_grant(user, "user", scope=ACME, expires_at=NOW + DAY))
    assert refused.value.reason_code == "grant_exists"
    await add(store, a_grant(user, "user"), a_grant(user, "manager", scope=ACME), a_grant(other, "user", scope=ACME))


async def test_of_parallel_grants_of_the_same_one_is_left(store):
    user = a_user()
    await add(store, user)
    outcomes = await at_once(*(add(store, a_grant(user, "user")) for _ in range(5)))
    assert [type(o) for o in outcomes if o is not None] == [Conflict] * 4
    assert len(await within(store, store.grants.of_user(user.id))) == 1


async def test_a_role_that_is_gone_cannot_be_granted(store):
    user = a_user()
    await add(store, user)
    with pytest.raises(Invalid) as refused:
        await add(store, a_grant(user, "ghost"))
    assert {refused.value.reason_code, *(f.code for f in refused.value.fields)} >= {"role_unknown"}
    assert await listed(store) == []


async def test_times_of_a_grant_can_be_changed_and_cleared(store):
    user = a_user()
    grant = a_grant(user, "user", starts_at=NOW, expires_at=NOW + DAY)
    await add(store, user, grant)
    changed = a_grant(user, "user", id=grant.id, starts_at=None, expires_at=None)
    await within(store, store.users.locked(user.id), store.grants.save(changed))
    assert await within(store, store.grants.find(grant.id)) == changed


async def test_a_revoked_grant_is_gone_and_others_stay(store):
    user = a_user()
    gone, kept = a_grant(user, "user"), a_grant(user, "manager")
    await add(store, user, gone, kept)
    await within(store, store.grants.remove(gone.id))
    assert list(await within(store, store.grants.of_user(user.id))) == [kept]
    await add(store, a_grant(user, "user"))


async def test_grants_of_several_users_come_together_in_order_of_id(store):
    one, other, without = a_user(), a_user(), a_user()
    grants = [a_grant(u, role) for role in ("user", "manager") for u in (one, other)]
    await add(store, one, other, without, *reversed(grants))
    found = await within(store, store.grants.of_users([one.id, other.id, without.id]))
    assert list(found[one.id]) == [grants[0], grants[2]]
    assert list(found[other.id]) == [grants[1], grants[3]]
    assert not found.get(without.id)


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_pages_are_complete_with_the_newest_last_while_others_come_and_go(store, limit):
    user = a_user()
    grants = [a_grant(user, "user", scope=Scope(f"org/{n}")) for n in range(7)]
    goer = a_grant(user, "manager")
    await add(store, user, *reversed(grants), goer)

    async def somebody_comes_and_one_goes():
        await within(store, store.grants.remove(goer.id))
        await add(store, a_grant(user, "user", scope=Scope(f"later/{new_id().hex}")))

    seen = await listed(store, somebody_comes_and_one_goes if limit > 2 else None, limit=limit)
    assert [g for g in seen if g in grants] == grants
    assert len(seen) == len({g.id for g in seen})


async def test_grants_are_filtered_by_user_and_role(store):
    one, other = a_user(), a_user()
    grants = [a_grant(u, role) for u in (one, other) for role in ("user", "manager")]
    await add(store, one, other, *grants)
    assert await listed(store, user_id=one.id) == grants[:2]
    assert await listed(store, role="user") == [grants[0], grants[2]]
    assert await listed(store, user_id=other.id, role="manager") == [grants[3]]
    assert await listed(store, role="ghost") == []


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 10_000])
async def test_R18_a_role_name_that_cannot_exist_finds_nothing(store, text):
    user = a_user()
    await add(store, user, a_grant(user))
    assert await listed(store, role=text) == []
    assert await within(store, store.grants.find_by(user.id, text, EVERYWHERE)) is None


segments = st.sampled_from(["org", "Org", "o_g", "acme", "acme-2", "acme.", "a", "~"])
scopes = st.one_of(st.just(EVERYWHERE), st.lists(segments, min_size=1, max_size=3).map(lambda s: Scope("/".join(s))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(st.sets(scopes, min_size=1, max_size=6), st.lists(scopes, max_size=3))
async def test_filtering_by_scope_equals_reaching_it_segment_by_segment(store, places, asked):
    user = a_user()
    grants = [a_grant(user, "user", scope=place) for place in sorted(places)]
    await add(store, user, *grants)
    expected = [g for g in grants if any(scope.reaches(g.scope) for scope in asked)]
    assert await listed(store, scopes=asked, user_id=user.id) == expected


async def test_administrators_are_active_holders_of_an_unending_admin_grant_everywhere(store):
    async with store.transaction():
        await store.roles.add(a_role("heir", parents=["admin"]))
    people = {
        "administrator": (a_user(), {"starts_at": NOW}),
        "suspended": (a_user(status=UserStatus.SUSPENDED), {}),
        "invited": (a_user(status=UserStatus.INVITED), {}),
        "ending": (a_user(), {"expires_at": NOW + 10_000 * DAY}),
        "coming": (a_user(), {"starts_at": NOW + SECOND}),
        "somewhere": (a_user(), {"scope": ACME}),
        "by inheritance": (a_user(), {"role": "heir"}),
        "manager": (a_user(), {"role": "manager"}),
    }
    for user, changes in people.values():
        await add(store, user, a_grant(user, **{"role": "admin", **changes}))
    found = await within(store, store.grants.administrators(NOW))
    assert found == {people["administrator"][0].id}
    later = await within(store, store.grants.administrators(NOW + SECOND))
    assert later == {people["administrator"][0].id, people["coming"][0].id}


async def test_who_asks_for_the_administrators_makes_the_next_one_wait_and_see_the_change(store):
    user = a_user()
    grant = a_grant(user, "admin")
    await add(store, user, grant)
    async with store.transaction():
        assert await store.grants.administrators(NOW) == {user.id}
        other = beside(within(store, store.grants.administrators(NOW)))
        assert await waits(other)
        await store.grants.remove(grant.id)
    assert await finished(other) == frozenset()


async def demote(store, user, grant):
    async with store.transaction():
        await store.users.locked(user.id)
        if len(await store.grants.administrators(NOW)) > 1:
            await store.grants.remove(grant.id)


async def suspend(store, user, _):
    async with store.transaction():
        held = await store.users.locked(user.id)
        if len(await store.grants.administrators(NOW)) > 1:
            await store.users.save(held.suspended(NOW))


@pytest.mark.parametrize("ways", [(demote, demote), (suspend, suspend), (demote, suspend)])
async def test_R08_of_the_last_two_administrators_losing_it_at_the_same_moment_one_is_left(store, ways):
    for _ in range(5):
        pairs = [(user, a_grant(user, "admin")) for user in (a_user(), a_user())]
        await add(store, *(thing for pair in pairs for thing in pair))
        outcomes = await at_once(*(way(store, *pair) for way, pair in zip(ways, pairs, strict=True)))
        assert outcomes == [None, None]
        left = await within(store, store.grants.administrators(NOW))
        assert len(left) == 1
        async with store.transaction():
            for _, grant in pairs:
                await store.grants.remove(grant.id)
