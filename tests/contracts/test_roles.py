"""Roles: one snapshot of all of them, changed under one lock."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import NOW, SECOND, a_grant, a_role, a_user, new_id, permissions
from contracts.steps import at_once, beside, finished, waits, within
from domain.errors import Conflict, Invalid
from domain.roles import BUILT_IN_ROLES, MAX_PERMISSIONS, Permission


async def add(store, *roles):
    async with store.transaction():
        for role in roles:
            await store.roles.add(role)


async def rules(store):
    return await within(store, store.roles.rules())


async def test_R15_a_fresh_store_holds_the_built_in_roles_with_their_permissions(store):
    found = (await rules(store)).roles
    assert {name: (role.description, role.permissions) for name, role in found.items()} == dict(BUILT_IN_ROLES)
    assert all(role.built_in and role.parents == frozenset() and role.version == 1 for role in found.values())
    assert all(name == role.name for name, role in found.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "Zoë's rôle 李 😀 %_\\ '"},
        {"description": "x" * 10_000},
        {"permissions": permissions("*:*", "users:*", "*:read", "a.b-c_d:x")},
        {"permissions": frozenset(Permission("r" * 64, f"a{n}") for n in range(MAX_PERMISSIONS))},
        {"parents": frozenset({"admin", "user", "manager"})},
        {"version": 41, "updated_at": NOW + SECOND},
    ],
    ids=["any script", "a long description", "wildcards", "many permissions", "parents", "a later version"],
)
async def test_whatever_was_stored_can_be_read_back(store, changes):
    role = a_role(**changes)
    await add(store, role)
    assert (await rules(store)).roles[role.name] == role
    assert (await within(store, store.roles.locked())).roles[role.name] == role


words = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,5}[a-z0-9]|\*", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(
    st.frozensets(st.builds(Permission, words, words), max_size=5),
    st.frozensets(st.sampled_from(sorted(BUILT_IN_ROLES))),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=50),
)
async def test_any_role_can_be_stored_changed_and_read_back(store, held, parents, description):
    name = f"r{new_id().hex}"
    await add(store, a_role(name, permissions=held, description="before", parents=["user"]))
    changed = a_role(name, permissions=held, description=description, parents=parents, version=2)
    await within(store, store.roles.locked(), store.roles.save(changed))
    assert (await rules(store)).roles[name] == changed


async def test_a_name_is_taken_once(store):
    await add(store, a_role("writer"))
    for name in ("writer", "admin"):
        with pytest.raises(Conflict) as refused:
            await add(store, a_role(name, "docs:read"))
        assert refused.value.reason_code == "role_exists"
    assert (await rules(store)).permissions_of("writer") == frozenset()


async def test_of_two_parallel_definitions_of_one_name_one_is_left(store):
    outcomes = await at_once(add(store, a_role("twin", "docs:read")), add(store, a_role("twin", "docs:write")))
    assert sorted(type(outcome) for outcome in outcomes if outcome) == [Conflict]
    assert len((await rules(store)).permissions_of("twin")) == 1


async def test_a_removed_role_is_gone_and_its_name_is_free(store):
    await add(store, a_role("writer", parents=["user"]))
    await within(store, store.roles.remove("writer"))
    assert "writer" not in (await rules(store)).roles
    await add(store, a_role("writer"))


async def test_a_role_that_a_grant_names_stays(store):
    user = a_user()
    grant = a_grant(user, "writer")
    await add(store, a_role("writer"))
    await within(store, store.users.add(user), store.grants.add(grant))
    with pytest.raises(Conflict) as refused:
        await within(store, store.roles.remove("writer"))
    assert refused.value.reason_code == "role_in_use"
    await within(store, store.grants.remove(grant.id), store.roles.remove("writer"))
    assert "writer" not in (await rules(store)).roles


async def test_a_role_that_a_child_names_stays(store):
    child = a_role("child", parents=["parent"])
    await add(store, a_role("parent"), child)
    with pytest.raises(Conflict) as refused:
        await within(store, store.roles.remove("parent"))
    assert refused.value.reason_code == "role_in_use"
    await within(store, store.roles.locked(), store.roles.save(a_role("child")), store.roles.remove("parent"))
    assert "parent" not in (await rules(store)).roles


async def test_a_role_is_never_granted_and_removed_at_the_same_moment(store):
    for number in range(5):
        user, name = a_user(), f"gone{number}"
        grant = a_grant(user, name)
        await within(store, store.users.add(user), store.roles.add(a_role(name)))
        outcomes = await at_once(within(store, store.grants.add(grant)), within(store, store.roles.remove(name)))
        refusals = [outcome for outcome in outcomes if outcome is not None]
        assert [type(refusal) for refusal in refusals] in ([Invalid], [Conflict])
        granted = await within(store, store.grants.find(grant.id)) is not None
        assert granted == (name in (await rules(store)).roles)


async def test_locked_roles_make_the_next_writer_wait_and_see_the_change(store):
    async with store.transaction():
        await store.roles.locked()
        other = beside(within(store, store.roles.locked()))
        assert await waits(other)
        await store.roles.add(a_role("first"))
    assert "first" in (await finished(other)).roles


async def test_readers_get_a_snapshot_that_later_changes_leave_alone(store):
    before = await rules(store)
    await add(store, a_role("later"))
    assert "later" not in before.roles


async def test_the_rules_version_rises_with_every_change_that_is_announced(store):
    before = (await rules(store)).version
    await within(store, store.roles.locked(), store.roles.add(a_role()), store.changes.rules())
    await within(store, store.changes.rules())
    assert (await rules(store)).version == before + 2
    assert (await within(store, store.roles.locked())).version == before + 2
