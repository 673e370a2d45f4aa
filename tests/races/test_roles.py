"""Roles and grants under races: no cycle, no grant of a role that is gone, and one count of every change."""

import pytest

from application.roles import ChangeRole, DefineRole, GrantRole, RemoveRole, RevokeGrant, RoleChanges
from domain.roles import MAX_GLOBAL_GRANTS
from races.conftest import codes

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.usefixtures("again"), pytest.mark.long]

ZOE = "zoë@example.org"
RULES = "SELECT rules_version FROM hexward.installation"


def defining(name, *permissions):
    async def define(server):
        content = RoleChanges({"permissions"}, permissions=permissions)
        return await (await server.get(DefineRole))(await server.operator(), name, content)

    return define


def changing(name, version=None, **changes):
    async def change(server):
        content = RoleChanges(frozenset(changes), **changes)
        return await (await server.get(ChangeRole))(await server.operator(), name, version, content)

    return change


def removing(name):
    async def remove(server):
        await (await server.get(RemoveRole))(await server.operator(), name, None)

    return remove


def granting(id, role, **more):
    async def grant(server):
        return await (await server.get(GrantRole))(await server.operator(), id, role, **more)

    return grant


def revoking(id, role):
    async def revoke(server):
        await (await server.get(RevokeGrant)).by_role(await server.operator(), id, role)

    return revoke


async def test_of_all_who_define_one_name_one_does(pair):
    before = await pair.ask(RULES)
    results = await pair.race(*(defining("writer", f"docs:a{n}") for n in range(16)))
    assert codes(results) == {"done": 1, "role_exists": 15}
    assert await pair.told("role:writer") == {"role.created": 1}
    assert await pair.ask(RULES) == before + 1


async def test_changes_of_one_role_count_up_without_gaps(pair):
    await defining("writer", "docs:read")(pair.one)
    before = await pair.ask(RULES)
    results = await pair.race(*(changing("writer", description=f"writes {n}") for n in range(20)))
    assert sorted(r.version for r in results) == list(range(2, 22))
    results = await pair.race(*(changing("writer", 21, description=f"wrote {n}") for n in range(10)))
    assert codes(results) == {"done": 1, "stale_version": 9}
    assert await pair.ask(RULES) == before + 21
    assert await pair.told("role:writer") == {"role.created": 1, "role.updated": 21}


async def test_a_ring_of_parents_is_closed_by_nobody(pair):
    names = [f"link{n}" for n in range(6)]
    for name in names:
        await defining(name)(pair.one)
    results = await pair.race(
        *(changing(name, parents=[names[(n + 1) % 6]]) for n, name in enumerate(names)),
    )
    assert codes(results) == {"done": 5, "role_cycle": 1}


async def test_of_all_who_give_one_role_one_does(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    results = await pair.race(*(granting(id, "manager") for _ in range(16)))
    assert codes(results) == {"done": 1, "grant_exists": 15}
    assert await pair.told(f"user:{id}") == {"user.created": 1, "grant.created": 1}
    assert await pair.version(id) == 2


async def test_a_role_that_is_given_and_taken_away_at_once_counts_every_change(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    results = await pair.race(
        *((granting(id, "manager", replacing=True), revoking(id, "manager"))[n // 2 % 2] for n in range(24))
    )
    assert codes(results) == {"done": 24}
    told = await pair.told(f"user:{id}")
    held = await pair.ask("SELECT count(*) FROM hexward.grants WHERE user_id = $1", id)
    assert told["grant.created"] - told["grant.revoked"] == held
    assert await pair.version(id) == 1 + told["grant.created"] + told["grant.revoked"]


async def test_roles_that_are_given_and_removed_at_once_are_held_or_gone(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    names = [f"passing{n}" for n in range(10)]
    for name in names:
        await defining(name, "docs:read")(pair.one)
    works = [work for name in names for work in (granting(id, name), removing(name))]
    results = await pair.race(*works)
    for name, given, removed in zip(names, results[::2], results[1::2], strict=True):
        held = await pair.ask("SELECT count(*) FROM hexward.grants WHERE role = $1", name)
        there = await pair.ask("SELECT count(*) FROM hexward.roles WHERE name = $1", name)
        assert (held, there) in {(1, 1), (0, 0)}
        assert codes([given, removed]) in ({"done": 1, "role_in_use": 1}, {"done": 1, "role_unknown": 1},
                                           {"done": 1, "invalid": 1})  # fmt: skip
        assert (await pair.told(f"role:{name}"))["role.deleted"] == 1 - there


async def test_there_is_room_for_so_many_grants_also_at_once(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    names = [f"role{n}" for n in range(MAX_GLOBAL_GRANTS + 8)]
    for name in names:
        await defining(name)(pair.one)
    results = await pair.race(*(granting(id, name) for name in names))
    assert codes(results)["done"] == MAX_GLOBAL_GRANTS
    assert await pair.ask("SELECT count(*) FROM hexward.grants WHERE user_id = $1", id) == MAX_GLOBAL_GRANTS
    assert (await pair.told(f"user:{id}"))["grant.created"] == MAX_GLOBAL_GRANTS
