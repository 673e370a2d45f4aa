"""Roles and grants: nobody hands on what they do not hold, as stored now, at that scope and for that time."""

import pytest

from application.roles import (
    ChangeRole,
    DefineRole,
    EffectivePermissions,
    GrantRole,
    ListGrants,
    ListPermissions,
    ListRoles,
    RemoveRole,
    RevokeGrant,
    RoleChanges,
)
from application.users import CreateUser, DeleteUser, NewUser, SuspendUser
from builders import DAY, a_role, new_id
from contracts.steps import at_once, within
from domain.audit import Action
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from domain.policies import Reason
from domain.ports import GrantQuery
from domain.roles import GrantId, Permission
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserId

ZOE = "zoë@example.org"
ACME = Scope("org/acme")


def content(*permissions, parents=(), **more):
    fields = {"permissions", "parents", *more}
    return RoleChanges(frozenset(fields), permissions=permissions, parents=parents, **more)


async def define(server, name, *permissions, parents=(), actor=None):
    actor = actor or await server.operator()
    return await (await server.get(DefineRole))(actor, name, content(*permissions, parents=parents))


async def holding(server, email, *permissions, scope=EVERYWHERE, **times):
    """A signed-in user with a role of their own that has these permissions."""
    name = f"role.{len(await (await server.get(ListRoles))(await server.operator()))}"
    await define(server, name, *permissions)
    user = (await server.a_user(email)).user.id
    await (await server.get(GrantRole))(await server.operator(), user, name, scope, **times)
    return await server.actor(user)


async def grants_of(server, id):
    return await within(server.store, server.store.grants.of_user(id))


# ---------------------------------------------------------------------------------------------------------------- roles


async def test_a_role_gives_what_its_parents_give(service):
    await define(service, "writer", "docs:write")
    await define(service, "chief", "docs:publish", parents=["writer"])
    zoe = await service.a_user(ZOE, "chief")
    actor = await service.actor(zoe.user.id)
    assert actor.decide(Permission.parse("docs:write"), EVERYWHERE).reasons == (
        Reason("granted", "chief -> writer holds docs:write, granted at *", *_through(actor, "chief", "writer")),
    )


def _through(actor, *path):
    return actor.facts.grants[0].id, path


async def test_roles_and_permissions_are_listed_in_order(service):
    await define(service, "writer", "docs:write")
    operator = await service.operator()
    roles = await service.get(ListRoles)
    assert [r.name for r in await roles(operator)] == ["admin", "manager", "user", "writer"]
    assert (await roles.one(operator, "writer")).version == 1
    with pytest.raises(NotFound):
        await roles.one(operator, "reader")
    known = await (await service.get(ListPermissions))(operator)
    assert known[Permission.parse("users:read")]
    assert known[Permission.parse("docs:write")] == ""


@pytest.mark.parametrize(
    ("name", "permissions", "parents", "error"),
    [
        ("Writer", (), (), Invalid),
        ("writer", ("docs",), (), Invalid),
        ("writer", (), ("nobody",), Invalid),
        ("writer", (), ("writer",), Conflict),
        ("manager", (), (), Conflict),
        ("writer", tuple(f"docs:a{n}" for n in range(501)), (), Invalid),
    ],
    ids=["name", "permission", "unknown parent", "own parent", "taken", "too many permissions"],
)
async def test_a_role_that_breaks_a_rule_is_refused(service, name, permissions, parents, error):
    before = await service.events()
    with pytest.raises(error):
        await define(service, name, *permissions, parents=parents)
    assert await service.events() == before


async def test_a_role_is_changed_from_the_version_that_was_read(service):
    await define(service, "writer", "docs:write")
    change, operator = await service.get(ChangeRole), await service.operator()
    changed = await change(operator, "writer", 1, RoleChanges({"description"}, description="Writes."))
    assert (changed.version, changed.description) == (2, "Writes.")
    assert changed.permissions == {Permission.parse("docs:write")}
    with pytest.raises(Stale):
        await change(operator, "writer", 1, content())
    with pytest.raises(Invalid):
        await change(operator, "writer", 2, RoleChanges({"description"}, description="x" * 501))
    before = await service.events()
    assert await change(operator, "writer", 2, RoleChanges({"description"}, description="Writes.")) == changed
    assert await service.events() == before
    with pytest.raises(NotFound):
        await change(operator, "reader", None, content())


@pytest.mark.parametrize("name", ["admin", "manager", "user"])
async def test_built_in_roles_are_not_changed_or_removed_even_by_the_operator(service, name):
    operator = await service.operator()
    for attempt in (
        (await service.get(ChangeRole))(operator, name, None, content("docs:read")),
        (await service.get(RemoveRole))(operator, name, None),
    ):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.reason_code == "role_built_in"


async def test_a_role_is_removed_only_while_nobody_holds_it_and_none_builds_on_it(anywhere):
    await define(anywhere, "writer", "docs:write")
    await define(anywhere, "chief", parents=["writer"])
    zoe = (await anywhere.a_user(ZOE, "chief")).user.id
    remove, operator = await anywhere.get(RemoveRole), await anywhere.operator()
    for name in ("writer", "chief"):
        with pytest.raises(Conflict) as refused:
            await remove(operator, name, None)
        assert refused.value.reason_code == "role_in_use"
    await (await anywhere.get(RevokeGrant)).by_role(operator, zoe, "chief")
    await remove(operator, "chief", 1)
    await remove(operator, "writer", 1)
    with pytest.raises(NotFound):
        await remove(operator, "writer", None)


async def test_of_two_definitions_of_one_name_at_once_one_is_left(anywhere):
    results = await at_once(*(define(anywhere, "writer", f"docs:{action}") for action in ("read", "write", "publish")))
    assert [r.reason_code for r in results if isinstance(r, Conflict)] == ["role_exists"] * 2


async def test_two_roles_cannot_become_parents_of_each_other_at_once(anywhere):
    await define(anywhere, "one")
    await define(anywhere, "two")
    change, operator = await anywhere.get(ChangeRole), await anywhere.operator()
    results = await at_once(
        change(operator, "one", 1, RoleChanges({"parents"}, parents=["two"])),
        change(operator, "two", 1, RoleChanges({"parents"}, parents=["one"])),
    )
    assert [r.reason_code for r in results if isinstance(r, Conflict)] == ["role_cycle"]


async def test_a_role_given_and_removed_at_once_is_either_held_or_gone(anywhere):
    await define(anywhere, "writer", "docs:write")
    zoe = (await anywhere.a_user(ZOE)).user.id
    operator = await anywhere.operator()
    grant, remove = await anywhere.get(GrantRole), await anywhere.get(RemoveRole)
    given, removed = await at_once(grant(operator, zoe, "writer"), remove(operator, "writer", 1))
    held = [g.role for g in await grants_of(anywhere, zoe)]
    assert (held, getattr(removed, "reason_code", removed)) in [(["writer"], "role_in_use"), ([], None)]
    assert isinstance(given, Invalid) == (held == [])


# -------------------------------------------------------------------------------- nobody hands on what they do not hold


async def test_R08_nobody_defines_changes_or_removes_a_role_that_holds_more_than_they_do(service):
    actor = await holding(service, ZOE, "roles:*", "docs:read")
    await define(service, "strong", "docs:write")
    await define(service, "weak", "docs:read")
    change, remove = await service.get(ChangeRole), await service.get(RemoveRole)
    attempts = [
        define(service, "mine", "docs:write", actor=actor),
        define(service, "mine", "docs:*", actor=actor),
        define(service, "mine", parents=["strong"], actor=actor),
        change(actor, "weak", None, content("docs:write")),
        change(actor, "weak", None, content(parents=["strong"])),
        change(actor, "strong", None, content()),
        remove(actor, "strong", None),
    ]
    before = await service.events()
    for attempt in attempts:
        with pytest.raises(Forbidden, match="does not hold"):
            await attempt
    assert await service.events() == before
    await define(service, "mine", "docs:read", actor=actor)
    await change(actor, "weak", None, content("roles:read", "docs:read"))
    await remove(actor, "weak", None)


async def test_R08_roles_hold_everywhere_so_a_right_somewhere_or_for_a_time_defines_none(service):
    until = service.clock.now() + DAY
    for email, scope, times in (
        ("somewhere@example.org", ACME, {}),
        ("for.a.time@example.org", EVERYWHERE, {"expires_at": until}),
    ):
        actor = await holding(service, email, "roles:*", "docs:read", scope=scope, **times)
        with pytest.raises(Forbidden):
            await define(service, "mine", "docs:read", actor=actor)


@pytest.mark.parametrize(
    ("scope", "days", "allowed"),
    [
        (ACME, (None, 5), True),
        (Scope("org/acme/team"), (2, 3), True),
        (ACME, (None, 6), False),
        (ACME, (None, None), False),
        (Scope("org/acme-2"), (None, 1), False),
        (Scope("org"), (None, 1), False),
        (EVERYWHERE, (None, 1), False),
    ],
)
async def test_R08_nobody_grants_beyond_their_own_scope_and_time(service, scope, days, allowed):
    now = service.clock.now()
    actor = await holding(service, ZOE, "grants:write", "docs:*", scope=ACME, expires_at=now + 5 * DAY)
    await define(service, "writer", "docs:write")
    li = (await service.a_user("li@example.org")).user.id
    starts_at, expires_at = (None if n is None else now + n * DAY for n in days)
    attempt = (await service.get(GrantRole))(actor, li, "writer", scope, starts_at, expires_at)
    if allowed:
        await attempt
    else:
        with pytest.raises(Forbidden):
            await attempt
    assert len(await grants_of(service, li)) == int(allowed)


async def test_R08_nobody_takes_away_or_shortens_what_they_could_not_give(service):
    boss = await service.actor((await service.a_user("boss@example.org", "manager")).user.id)
    revoke, grant = await service.get(RevokeGrant), await service.get(GrantRole)
    [held] = await grants_of(service, service.root)
    for attempt in (
        revoke(boss, held.id),
        revoke.by_role(boss, service.root, "admin"),
        grant(boss, service.root, "admin", expires_at=service.clock.now() + DAY, replacing=True),
    ):
        with pytest.raises(Forbidden):
            await attempt
    assert await grants_of(service, service.root) == [held]


# --------------------------------------------------------------- what is stored counts, not what this worker last heard


async def test_R08_a_role_widened_a_moment_ago_counts_for_whoever_hands_it_on(service):
    await define(service, "helper")
    boss = await service.actor((await service.a_user("boss@example.org", "manager")).user.id)
    zoe = (await service.a_user(ZOE)).user.id
    await (await service.get(ChangeRole))(await service.operator(), "helper", 1, content("*:*"))
    assert boss.rules.permissions_of("helper") == frozenset(), "the worker has not heard of it yet"
    with pytest.raises(Forbidden):
        await (await service.get(GrantRole))(boss, zoe, "helper")
    with pytest.raises(Forbidden):
        await (await service.get(CreateUser))(boss, NewUser("li@example.org", roles=("helper",)))
    assert await grants_of(service, zoe) == []


async def lose_the_role(server, id):
    await (await server.get(RevokeGrant)).by_role(await server.operator(), id, "admin")


async def be_suspended(server, id):
    await (await server.get(SuspendUser))(await server.operator(), id)


async def be_deleted(server, id):
    await (await server.get(DeleteUser))(await server.operator(), id, None)


@pytest.mark.parametrize("happen", [lose_the_role, be_suspended, be_deleted])
async def test_R08_authority_that_was_lost_a_moment_ago_is_handed_on_no_more(service, happen):
    boss = (await service.a_user("boss@example.org", "admin")).user.id
    zoe = (await service.a_user(ZOE)).user.id
    actor = await service.actor(boss)
    await happen(service, boss)
    before = await service.events()
    for attempt in (
        (await service.get(GrantRole))(actor, zoe, "user"),
        (await service.get(RevokeGrant)).by_role(actor, service.root, "admin"),
        (await service.get(CreateUser))(actor, NewUser("li@example.org", roles=("user",))),
        (await service.get(SuspendUser))(actor, zoe),
        (await service.get(DefineRole))(actor, "mine", content("docs:read")),
    ):
        with pytest.raises(Forbidden):
            await attempt
    assert await service.events() == before


# --------------------------------------------------------------------------------------------------------------- grants


async def test_the_same_grant_again_is_refused_or_changes_nothing_when_asked_to_replace(service):
    zoe = (await service.a_user(ZOE)).user.id
    grant, operator = await service.get(GrantRole), await service.operator()
    first = await grant(operator, zoe, "user", ACME)
    with pytest.raises(Conflict) as refused:
        await grant(operator, zoe, "user", ACME)
    assert refused.value.reason_code == "grant_exists"
    before = await service.events()
    assert await grant(operator, zoe, "user", ACME, replacing=True) == first
    assert await service.events() == before
    until = service.clock.now() + DAY
    second = await grant(operator, zoe, "user", ACME, expires_at=until, replacing=True)
    assert (second.id, second.expires_at) == (first.id, until)
    assert (await service.events())[-1].action is Action.GRANT_UPDATED


async def test_of_many_grants_of_one_role_at_once_one_is_made(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user.id
    grant, operator = await anywhere.get(GrantRole), await anywhere.operator()
    results = await at_once(*(grant(operator, zoe, "user") for _ in range(5)))
    assert [r.reason_code for r in results if isinstance(r, Conflict)] == ["grant_exists"] * 4
    results = await at_once(*(grant(operator, zoe, "manager", replacing=True) for _ in range(5)))
    assert len({r.id for r in results}) == 1
    assert sorted(g.role for g in await grants_of(anywhere, zoe)) == ["manager", "user"]


async def test_grants_go_to_people_who_are_there(service):
    grant, operator = await service.get(GrantRole), await service.operator()
    zoe = (await service.a_user(ZOE)).user.id
    await be_suspended(service, zoe)
    with pytest.raises(Conflict) as refused:
        await grant(operator, zoe, "user")
    assert refused.value.reason_code == "user_status"
    await be_deleted(service, zoe)
    for gone in (zoe, UserId(new_id())):
        with pytest.raises(NotFound):
            await grant(operator, gone, "user")
        with pytest.raises(NotFound):
            await (await service.get(RevokeGrant)).by_role(operator, gone, "user")
    with pytest.raises(Invalid):
        await grant(operator, service.root, "no-such-role")
    now = service.clock.now()
    for times in ((None, now), (now + 2 * DAY, now + DAY), (now + DAY, now + DAY)):
        with pytest.raises(Invalid):
            await grant(operator, service.root, "user", EVERYWHERE, *times)


async def test_taking_away_what_is_not_held_is_no_error_and_no_event(service):
    zoe = (await service.a_user(ZOE, "user")).user.id
    revoke, operator = await service.get(RevokeGrant), await service.operator()
    [held] = await grants_of(service, zoe)
    await revoke(operator, held.id)
    before = await service.events()
    await revoke.by_role(operator, zoe, "user")
    assert await service.events() == before
    with pytest.raises(NotFound):
        await revoke(operator, held.id)


async def test_the_version_of_a_user_rises_with_the_roles_that_are_shown(service):
    zoe = (await service.a_user(ZOE)).user
    grant, revoke, operator = await service.get(GrantRole), await service.get(RevokeGrant), await service.operator()
    await grant(operator, zoe.id, "user", ACME)
    assert (await service.found(zoe.id)).version == zoe.version
    await grant(operator, zoe.id, "user")
    assert (await service.found(zoe.id)).version == zoe.version + 1
    await revoke.by_role(operator, zoe.id, "user")
    assert (await service.found(zoe.id)).version == zoe.version + 2
    await revoke.by_role(operator, zoe.id, "user", ACME)
    assert (await service.found(zoe.id)).version == zoe.version + 2


async def test_people_see_their_own_grants_and_those_their_scopes_reach(service):
    zoe = await holding(service, ZOE, "grants:read", scope=ACME)
    grant, operator, grants = await service.get(GrantRole), await service.operator(), await service.get(ListGrants)
    li = (await service.a_user("li@example.org", "user")).user.id
    seen = await grant(operator, li, "user", Scope("org/acme/team"))
    hidden = await grant(operator, li, "user", Scope("org/other"))
    assert [g.id for g in (await grants(zoe, GrantQuery((), user_id=li))).items] == [seen.id]
    own = await grants(await service.actor(li), GrantQuery((), user_id=li))
    assert len(own.items) == 3
    with pytest.raises(Forbidden):
        await grants(await service.actor(li), GrantQuery(()))
    assert await grants.one(zoe, seen.id) == seen
    assert await grants.one(await service.actor(li), hidden.id) == hidden
    for id in (hidden.id, GrantId(new_id())):
        with pytest.raises(NotFound):
            await grants.one(zoe, id)
    with pytest.raises(Forbidden):
        await grants.one(await service.actor(li), GrantId(new_id()))


# ------------------------------------------------------------------------------------------------ effective permissions


async def test_effective_permissions_are_those_in_force_with_their_paths_and_ends(service):
    await within(service.store, service.store.roles.add(a_role("writer", "docs:write", parents=["user"])))
    await define(service, "chief", parents=["writer"])
    zoe = (await service.a_user(ZOE)).user.id
    grant, effective = await service.get(GrantRole), await service.get(EffectivePermissions)
    operator = await service.operator()
    soon = service.clock.now() + DAY
    await grant(operator, zoe, "chief", ACME, expires_at=soon)
    await grant(operator, zoe, "manager", starts_at=soon)
    [held] = await effective(operator, zoe)
    assert (str(held.permission), held.scope, held.path, held.expires_at) == (
        "docs:write", ACME, ("chief", "writer"), soon
    )  # fmt: skip
    service.clock.move(DAY)
    assert {str(e.permission) for e in await effective(operator, zoe)} >= {"users:read", "grants:write"}
    await be_suspended(service, zoe)
    assert await effective(operator, zoe) == []


async def test_effective_permissions_are_shown_to_their_holder_and_to_those_who_may_see_them(service):
    effective, grant = await service.get(EffectivePermissions), await service.get(GrantRole)
    zoe = await holding(service, ZOE, "grants:read", "users:read", scope=ACME)
    li = (await service.a_user("li@example.org", "manager", scope="org/acme")).user.id
    await grant(await service.operator(), li, "user", ACME)
    await grant(await service.operator(), li, "admin", ACME)
    assert {e.scope for e in await effective(zoe, li)} == {ACME}
    assert {e.scope for e in await effective(await service.actor(li), li)} == {EVERYWHERE, ACME}
    with pytest.raises(NotFound):
        await effective(zoe, service.root)
    nobody = await service.actor((await service.a_user("nobody@example.org")).user.id)
    with pytest.raises(Forbidden):
        await effective(nobody, li)
