"""Users: what a change asks for, what it leaves behind when it fails, and who wins when two come at once."""

import pytest

from application.roles import GrantRole, RevokeGrant
from application.users import (
    CreateUser,
    DeleteUser,
    ListUsers,
    NewUser,
    ReactivateUser,
    SetPassword,
    ShowUser,
    SuspendUser,
    UpdateUser,
    UserChanges,
)
from builders import DAY, a_role, new_id
from contracts.steps import at_once, within
from domain import ports
from domain.audit import Action
from domain.errors import Conflict, Forbidden, Invalid, InvalidGrant, NotFound, Stale, Unavailable
from domain.ports import GrantQuery, UserQuery
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserId, UserStatus
from http_world import PASSWORD
from use_cases.service import ROOT
from wired import instead

ZOE = "zoë@example.org"
OTHER = "a quite different pass phrase"
STRANGER = UserId(new_id())


async def stored(server):
    """What there is of people: users, grants and the trail."""
    async with server.store.transaction():
        users = (await server.store.users.page(UserQuery([EVERYWHERE], limit=200))).items
        grants = (await server.store.grants.page(GrantQuery([EVERYWHERE], limit=200))).items
    return users, grants, await server.events()


async def administrators(server):
    async with server.store.transaction():
        return await server.store.grants.administrators(server.clock.now())


# --------------------------------------------------------------------------------------------------------------- create


async def test_with_a_password_an_account_is_active_and_without_one_invited(service):
    active = await service.a_user(ZOE, "user", "manager", "user")
    assert (active.user.status, active.roles) == (UserStatus.ACTIVE, ("manager", "user"))
    assert (await service.a_user("li@example.org", password=None)).user.status is UserStatus.INVITED
    await service.sign_in(ZOE)
    with pytest.raises(InvalidGrant):
        await service.sign_in("li@example.org")


@pytest.mark.parametrize(
    ("new", "error"),
    [
        (NewUser(ZOE, PASSWORD, roles=("user", "no-such-role")), Invalid),
        (NewUser(ROOT.upper(), PASSWORD, roles=("user",)), Conflict),
        (NewUser(ZOE, PASSWORD, username="Taken", roles=("user",)), Conflict),
        (NewUser(ZOE, "too short", roles=("user",)), Invalid),
        (NewUser("nobody", PASSWORD), Invalid),
        (NewUser(ZOE, PASSWORD, scope="a//b"), Invalid),
    ],
    ids=["unknown role", "address taken", "username taken", "weak password", "no address", "no scope"],
)
async def test_R11_a_refused_create_leaves_nothing_behind(anywhere, new, error):
    await anywhere.a_user("li@example.org", username="taken")
    before = await stored(anywhere)
    with pytest.raises(error):
        await (await anywhere.get(CreateUser))(await anywhere.operator(), new)
    assert await stored(anywhere) == before
    await anywhere.a_user(ZOE)


class SilentChanges:
    """Changes that cannot be announced: the last step of a use case fails."""

    async def authority(self, user_id):
        raise Unavailable("the database went away")


async def test_R11_a_create_that_fails_at_its_last_step_leaves_nothing_behind(new_server):
    await new_server()
    failing = await new_server(instead(ports.Changes, SilentChanges()))
    before = await stored(failing)
    with pytest.raises(Unavailable):
        await failing.a_user(ZOE, "user")
    assert await stored(failing) == before
    assert await within(failing.store, failing.store.users.by_login(ZOE)) is None


async def test_of_many_creates_of_one_address_in_different_case_one_is_left(anywhere):
    spellings = ["Zoe@example.org", "zoe@EXAMPLE.org", "ZOE@example.org", "zoE@Example.Org"] * 3
    results = await at_once(*(anywhere.a_user(email, "user") for email in spellings))
    refused = [r for r in results if isinstance(r, BaseException)]
    assert len(refused) == len(spellings) - 1
    assert {(type(r), r.reason_code) for r in refused} == {(Conflict, "email_taken")}
    users, grants, _ = await stored(anywhere)
    assert len(users) == len(grants) == 2


async def test_R13_many_parallel_creates_all_succeed(anywhere):
    results = await at_once(*(anywhere.a_user(f"user{n}@example.org", "user") for n in range(24)))
    assert [r for r in results if isinstance(r, BaseException)] == []
    assert len((await stored(anywhere))[0]) == 25


async def test_R22_an_over_long_password_is_refused_before_any_hashing(service):
    hashed = service.hasher.hashed
    with pytest.raises(Invalid) as refused:
        await service.a_user(ZOE, password="x y z " * 50)
    assert [f.code for f in refused.value.fields] == ["password_too_long"]
    with pytest.raises(InvalidGrant):
        await service.sign_in(ROOT, PASSWORD + "x" * 300)
    assert (service.hasher.hashed, service.hasher.compared) == (hashed, [])


async def test_who_may_not_create_is_refused_before_any_hashing(service):
    zoe = await service.a_user(ZOE, "user")
    hashed = service.hasher.hashed
    with pytest.raises(Forbidden, match="users:write"):
        await (await service.get(CreateUser))(await service.actor(zoe.user.id), NewUser("li@example.org", PASSWORD))
    assert service.hasher.hashed == hashed


# ----------------------------------------------------------------------------------- nobody gives what they do not hold


@pytest.mark.parametrize("role", ["admin", "auditor"])
async def test_R08_nobody_creates_an_account_that_holds_more_than_they_do(service, role):
    await within(service.store, service.store.roles.add(a_role("auditor", "audit:read")))
    boss = await service.a_user("boss@example.org", "manager")
    with pytest.raises(Forbidden):
        await (await service.get(CreateUser))(await service.actor(boss.user.id), NewUser(ZOE, roles=(role,)))
    assert await within(service.store, service.store.users.by_login(ZOE)) is None


@pytest.mark.parametrize("kind", [SuspendUser, DeleteUser, SetPassword, UpdateUser])
@pytest.mark.parametrize("at", [{}, {"scope": Scope("org/acme")}, {"days": 2}], ids=["everywhere", "somewhere", "soon"])
async def test_R08_nobody_takes_over_an_account_that_holds_more_than_they_do(service, kind, at):
    boss = await service.a_user("boss@example.org", "manager")
    stronger = await service.a_user(ZOE)
    starts_at = service.clock.now() + DAY if "days" in at else None
    grant = await service.get(GrantRole)
    await grant(await service.operator(), stronger.user.id, "admin", at.get("scope", EVERYWHERE), starts_at)
    with pytest.raises(Forbidden):
        await change(service, kind, await service.actor(boss.user.id), stronger.user.id)
    await service.sign_in(ZOE)


async def test_R08_a_grant_that_has_lapsed_makes_nobody_stronger(service):
    boss = await service.a_user("boss@example.org", "manager")
    zoe = await service.a_user(ZOE)
    grant = await service.get(GrantRole)
    await grant(await service.operator(), zoe.user.id, "admin", expires_at=service.clock.now() + DAY)
    service.clock.move(DAY)
    await change(service, SuspendUser, await service.actor(boss.user.id), zoe.user.id)


async def change(server, kind, actor, id):
    """Any of the changes that need control of an account."""
    use_case = await server.get(kind)
    more = {
        SuspendUser: (),
        DeleteUser: (None,),
        SetPassword: (OTHER,),
        UpdateUser: (None, UserChanges({"email"}, email="thief@example.org")),
    }
    return await use_case(actor, id, *more[kind])


async def test_the_right_to_set_a_password_is_asked_for_again_after_the_hashing(service):
    boss = await service.a_user("boss@example.org", "manager")
    zoe = await service.a_user(ZOE)
    grant, operator = await service.get(GrantRole), await service.operator()
    service.hasher.meanwhile = lambda: grant(operator, zoe.user.id, "admin")
    with pytest.raises(Forbidden):
        await change(service, SetPassword, await service.actor(boss.user.id), zoe.user.id)
    await service.sign_in(ZOE, PASSWORD)


# ----------------------------------------------------------------------------------------------- the last administrator


async def demote(server, actor, id):
    await (await server.get(RevokeGrant)).by_role(actor, id, "admin")


async def revoke(server, actor, id):
    async with server.store.transaction():
        [grant] = [g for g in await server.store.grants.of_user(id) if g.role == "admin"]
    await (await server.get(RevokeGrant))(actor, grant.id)


async def limit(server, actor, id):
    expires_at = server.clock.now() + DAY
    await (await server.get(GrantRole))(actor, id, "admin", expires_at=expires_at, replacing=True)


async def suspend(server, actor, id):
    await (await server.get(SuspendUser))(actor, id)


async def delete(server, actor, id):
    await (await server.get(DeleteUser))(actor, id, None)


WAYS_OUT = [demote, revoke, limit, suspend, delete]


@pytest.mark.parametrize("leave", WAYS_OUT)
async def test_R08_the_last_administrator_stays_whoever_asks(service, leave):
    # neither one who is suspended, nor one somewhere, nor one for a time is an administrator
    grant, operator = await service.get(GrantRole), await service.operator()
    for email, times in (("a@example.org", {"expires_at": service.clock.now() + DAY}), ("b@example.org", {})):
        other = await service.a_user(email)
        scope = EVERYWHERE if times else Scope("org/acme")
        await grant(operator, other.user.id, "admin", scope, **times)
    gone = await service.a_user("c@example.org", "admin")
    await suspend(service, operator, gone.user.id)
    before = await stored(service)
    for actor in (operator, await service.actor(service.root)):
        with pytest.raises(Conflict) as refused:
            await leave(service, actor, service.root)
        assert refused.value.reason_code == "last_administrator"
    assert await stored(service) == before


@pytest.mark.parametrize("leave", WAYS_OUT)
async def test_R08_of_the_last_two_administrators_leaving_at_once_one_stays(anywhere, leave):
    other = (await anywhere.a_user("other@example.org", "admin")).user.id
    operator = await anywhere.operator()
    results = await at_once(leave(anywhere, operator, anywhere.root), leave(anywhere, operator, other))
    assert [getattr(r, "reason_code", r) for r in results if r is not None] == ["last_administrator"]
    assert len(await administrators(anywhere)) == 1


async def test_R08_of_many_administrators_leaving_at_once_in_all_ways_one_stays(anywhere):
    people = [(await anywhere.a_user(f"admin{n}@example.org", "admin")).user.id for n in range(9)]
    operator = await anywhere.operator()
    tries = enumerate([*people, anywhere.root] * 2)
    await at_once(*(WAYS_OUT[n % len(WAYS_OUT)](anywhere, operator, id) for n, id in tries))
    assert len(await administrators(anywhere)) == 1


async def test_R08_administrators_who_throw_each_other_out_leave_one(anywhere):
    other = (await anywhere.a_user("other@example.org", "admin")).user.id
    one, two = await anywhere.actor(anywhere.root), await anywhere.actor(other)
    results = await at_once(demote(anywhere, one, other), suspend(anywhere, two, anywhere.root))
    assert sum(r is None for r in results) == 1
    assert len(await administrators(anywhere)) == 1


# -------------------------------------------------------------------------------------------------------------- changes


async def test_of_two_changes_from_one_version_one_is_refused(anywhere):
    zoe = await anywhere.a_user(ZOE)
    update, operator = await anywhere.get(UpdateUser), await anywhere.operator()
    changes = [UserChanges({"display_name"}, display_name=name) for name in ("Zoë", "李")]
    results = await at_once(*(update(operator, zoe.user.id, 1, c) for c in changes))
    assert [type(r) for r in results if isinstance(r, BaseException)] == [Stale]
    assert (await anywhere.found(zoe.user.id)).version == 2


async def test_a_change_that_changes_nothing_is_no_change(service):
    zoe = await service.a_user(ZOE, display_name="Zoë")
    before = await service.events()
    same = UserChanges({"display_name", "email"}, display_name="Zoë", email=ZOE)
    account = await (await service.get(UpdateUser))(await service.operator(), zoe.user.id, 1, same)
    assert account.user.version == 1
    assert await service.events() == before


async def test_people_change_their_own_profile_and_no_more(service):
    zoe = await service.a_user(ZOE)
    update, actor = await service.get(UpdateUser), await service.actor(zoe.user.id)
    assert (await update.own(actor, 1, UserChanges({"locale"}, locale="de"))).user.locale == "de"
    with pytest.raises(Stale):
        await update.own(actor, 1, UserChanges({"locale"}, locale="fr"))
    with pytest.raises(Forbidden, match="email"):
        await update.own(actor, 2, UserChanges({"email"}, email="x@example.org"))
    with pytest.raises(Forbidden):
        await update.own(await service.operator(), None, UserChanges({"locale"}))
    await suspend(service, await service.operator(), zoe.user.id)
    with pytest.raises(NotFound):
        await update.own(actor, None, UserChanges({"locale"}))


async def test_an_account_keeps_its_address_and_may_lose_the_rest(service):
    zoe = await service.a_user(ZOE, username="zoe", display_name="Zoë", locale="de")
    update, operator = await service.get(UpdateUser), await service.operator()
    with pytest.raises(Invalid):
        await update(operator, zoe.user.id, None, UserChanges({"email"}))
    cleared = (await update(operator, zoe.user.id, None, UserChanges({"username", "display_name", "locale"}))).user
    assert (cleared.username, cleared.display_name, cleared.locale) == (None, None, None)


async def test_suspension_and_reactivation_are_refused_where_they_make_no_sense(service):
    zoe = (await service.a_user(ZOE)).user.id
    operator, reactivate = await service.operator(), await service.get(ReactivateUser)
    with pytest.raises(Conflict):
        await reactivate(operator, zoe)
    await suspend(service, operator, zoe)
    with pytest.raises(Conflict):
        await suspend(service, operator, zoe)
    await reactivate(operator, zoe)
    assert (await service.found(zoe)).status is UserStatus.ACTIVE
    await delete(service, operator, zoe)
    for kind in (SuspendUser, DeleteUser, SetPassword, UpdateUser):
        with pytest.raises(NotFound):
            await change(service, kind, operator, zoe)
    with pytest.raises(NotFound):
        await suspend(service, operator, STRANGER)


async def test_a_deleted_account_loses_all_it_had_but_the_id(anywhere):
    zoe = (await anywhere.a_user(ZOE, "manager", username="zoe", display_name="Zoë")).user.id
    await anywhere.sign_in(ZOE)
    await delete(anywhere, await anywhere.operator(), zoe)
    store = anywhere.store
    async with store.transaction():
        assert await store.users.by_login(ZOE) is None
        assert await store.users.by_login("zoe") is None
        assert await store.credentials.password(zoe) is None
        assert await store.grants.of_user(zoe) == []
        assert await store.sessions.open_of(zoe) == []
        assert (await store.users.find(zoe)).status is UserStatus.DELETED
    await anywhere.a_user(ZOE, username="zoe")


async def test_a_new_password_activates_the_invited_and_forgives_failed_sign_ins(service):
    zoe = (await service.a_user(ZOE, password=None)).user.id
    for _ in range(5):
        with pytest.raises(InvalidGrant):
            await service.sign_in(ZOE, "not the right pass phrase")
    await change(service, SetPassword, await service.operator(), zoe)
    await service.sign_in(ZOE, OTHER)


async def test_a_suspended_account_gets_no_new_password(service):
    zoe = (await service.a_user(ZOE)).user.id
    await suspend(service, await service.operator(), zoe)
    with pytest.raises(Conflict) as refused:
        await change(service, SetPassword, await service.operator(), zoe)
    assert refused.value.reason_code == "user_status"


# -------------------------------------------------------------------------------------------------------- who sees whom


async def test_people_see_themselves_and_whom_their_scopes_reach(service):
    show, everyone, grant = await service.get(ShowUser), await service.get(ListUsers), await service.get(GrantRole)
    zoe = (await service.a_user(ZOE)).user.id
    inside = (await service.a_user("in@example.org", scope="org/acme/team")).user.id
    outside = (await service.a_user("out@example.org", scope="org/acme-2")).user.id
    alone = await service.actor(zoe)
    assert (await show(alone, zoe)).user.id == zoe
    for refused in (show(alone, inside), everyone(alone, UserQuery(())), show.by_login(alone, "nobody@example.org")):
        with pytest.raises(Forbidden):
            await refused
    await grant(await service.operator(), zoe, "manager", Scope("org/acme"))
    scoped = await service.actor(zoe)
    assert [a.user.id for a in (await everyone(scoped, UserQuery(()))).items] == [inside]
    assert (await show.by_login(scoped, "IN@example.org")).user.id == inside
    for hidden in (outside, STRANGER):
        with pytest.raises(NotFound):
            await show(scoped, hidden)
    with pytest.raises(NotFound):
        await show.by_login(scoped, "nobody@example.org")


@pytest.mark.parametrize("field", ["email", "username", "display_name"])
async def test_R06_whatever_is_accepted_can_be_shown_and_what_cannot_is_refused(service, field):
    """One name that no JSON document can hold would break the list for everybody."""
    operator = await service.operator()
    for number, odd in enumerate(["a.b..c", "ünï.cödé", "o'hara", "李明", "\U0001f600", "x\ud800y", "\udfff", "a\0b"]):
        fields = {"email": f"user{number}@example.org", field: f"{odd}@x.org" if field == "email" else odd}
        if odd.isprintable():
            await (await service.get(CreateUser))(operator, NewUser(**fields))
        else:
            with pytest.raises(Invalid):
                await (await service.get(CreateUser))(operator, NewUser(**fields))
    page = await (await service.get(ListUsers))(operator, UserQuery(()))
    assert len(page.items) == 6
    shown = "".join(f"{a.user.email}{a.user.username}{a.user.display_name}" for a in page.items)
    assert shown.encode()


async def test_a_list_names_the_roles_in_force_everywhere_and_only_those(service):
    zoe = (await service.a_user(ZOE, "user")).user.id
    grant, operator = await service.get(GrantRole), await service.operator()
    await grant(operator, zoe, "admin", Scope("org/acme"))
    await grant(operator, zoe, "manager", starts_at=service.clock.now() + DAY)
    page = await (await service.get(ListUsers))(operator, UserQuery((), text="zo"))
    assert [a.roles for a in page.items] == [("user",)]


async def test_the_trail_of_an_account_tells_its_story_in_order(anywhere):
    zoe = (await anywhere.a_user(ZOE, "user")).user.id
    operator = await anywhere.operator()
    await suspend(anywhere, operator, zoe)
    await (await anywhere.get(ReactivateUser))(operator, zoe)
    await delete(anywhere, operator, zoe)
    told = [e.action for e in await anywhere.events(subject=f"user:{zoe}")]
    assert told == [
        Action.USER_CREATED, Action.GRANT_CREATED, Action.USER_SUSPENDED, Action.USER_REACTIVATED, Action.USER_DELETED
    ]  # fmt: skip
