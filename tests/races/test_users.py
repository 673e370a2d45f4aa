"""Users under races: one winner, the right refusal for the others, one event a change, and nothing by halves."""

import pytest

from application.roles import GrantRole, RevokeGrant
from application.users import (
    CreateUser,
    DeleteUser,
    NewUser,
    ReactivateUser,
    SetPassword,
    SuspendUser,
    UpdateUser,
    UserChanges,
)
from builders import DAY
from contracts.steps import at_once
from http_world import PASSWORD
from races.conftest import codes

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.usefixtures("again"), pytest.mark.long]

ZOE = "zoë@example.org"


def creating(email, **more):
    async def create(server):
        return await (await server.get(CreateUser))(await server.operator(), NewUser(email, **more))

    return create


def changing(id, version=None, **changes):
    async def change(server):
        update = await server.get(UpdateUser)
        return await update(await server.operator(), id, version, UserChanges(frozenset(changes), **changes))

    return change


def doing(use_case, id, *more):
    async def do(server):
        return await (await server.get(use_case))(await server.operator(), id, *more)

    return do


async def test_of_all_who_create_one_address_one_does_and_the_others_leave_nothing(pair):
    spellings = ["mixed@example.org", "Mixed@Example.org", "MIXED@EXAMPLE.ORG"]
    results = await pair.race(
        *(creating(spellings[n % 3], password=PASSWORD, roles=("manager", "user")) for n in range(24))
    )
    assert codes(results) == {"done": 1, "email_taken": 23}
    [made] = [r.user for r in results if not isinstance(r, BaseException)]
    assert await pair.told(f"user:{made.id}") == {"user.created": 1, "grant.created": 2}
    assert await pair.ask("SELECT count(*) FROM hexward.users") == 2
    assert await pair.ask("SELECT count(*) FROM hexward.password_credentials") == 2
    assert await pair.ask("SELECT count(*) FROM hexward.grants") == 3
    assert await pair.ask("SELECT count(*) FROM hexward.audit_events WHERE action = 'user.created'") == 1


async def test_who_loses_a_username_leaves_the_address_free(pair):
    results = await pair.race(*(creating(f"person{n}@example.org", username="zoe") for n in range(12)))
    assert codes(results) == {"done": 1, "username_taken": 11}
    results = await pair.race(*(creating(f"person{n}@example.org") for n in range(12)))
    assert codes(results) == {"done": 11, "email_taken": 1}


async def test_two_people_who_want_each_others_names_both_keep_their_own(pair):
    one, two = [(await pair.one.a_user(f"{name}@example.org", username=name)).user.id for name in ("one", "two")]
    results = await pair.race(changing(one, username="two"), changing(two, username="one"))
    assert codes(results) == {"username_taken": 2}
    assert [await pair.version(id) for id in (one, two)] == [1, 1]


async def test_of_all_who_change_one_version_one_does(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    for version in range(1, 5):
        results = await pair.race(*(changing(id, version, display_name=f"Zoë {version} {n}") for n in range(16)))
        assert codes(results) == {"done": 1, "stale_version": 15}
        [made] = [r.user for r in results if not isinstance(r, BaseException)]
        assert await pair.ask("SELECT display_name FROM hexward.users WHERE id = $1", id) == made.display_name
    assert await pair.version(id) == 5
    assert await pair.told(f"user:{id}") == {"user.created": 1, "user.updated": 4}


async def test_changes_that_ask_for_no_version_all_count(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    results = await pair.race(*(changing(id, display_name=f"Zoë {n}") for n in range(30)))
    assert codes(results) == {"done": 30}
    assert sorted(r.user.version for r in results) == list(range(2, 32))
    assert await pair.told(f"user:{id}") == {"user.created": 1, "user.updated": 30}


async def test_suspensions_and_reactivations_at_once_take_turns(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    results = await pair.race(*(doing((SuspendUser, ReactivateUser)[n // 2 % 2], id) for n in range(24)))
    assert set(codes(results)) <= {"done", "user_status"}
    told, changes = await pair.told(f"user:{id}"), codes(results)["done"]
    assert told["user.suspended"] + told["user.reactivated"] == changes
    suspended = await pair.ask("SELECT status = 'suspended' FROM hexward.users WHERE id = $1", id)
    assert told["user.suspended"] - told["user.reactivated"] == suspended
    assert await pair.version(id) == 1 + changes


async def test_a_deletion_among_other_changes_is_the_last_of_them(pair):
    id = (await pair.one.a_user(ZOE, "user")).user.id
    tokens = await pair.one.sign_in(ZOE)

    async def grant(server):
        return await (await server.get(GrantRole))(await server.operator(), id, "manager")

    async def enter(server):
        return await server.sign_in(ZOE)

    results = await pair.race(
        *(changing(id, display_name=f"Zoë {n}") for n in range(4)), doing(DeleteUser, id, None), grant, enter,
        doing(SetPassword, id, "another pass phrase"), doing(SuspendUser, id), doing(DeleteUser, id, None), enter,
    )  # fmt: skip
    assert set(codes(results)) <= {"done", "not_found", "user_status", "grant_exists", "invalid_credentials"}
    assert (await pair.told(f"user:{id}"))["user.deleted"] == 1
    row = await pair.superuser.fetchrow("SELECT status, display_name, username FROM hexward.users WHERE id = $1", id)
    assert tuple(row) == ("deleted", None, None)
    for table in ("password_credentials", "grants"):
        assert await pair.ask(f"SELECT count(*) FROM hexward.{table} WHERE user_id = $1", id) == 0
    await nothing_is_open(pair, id)
    assert tokens.refresh_token


async def nothing_is_open(pair, id):
    for table in ("sessions", "families"):
        assert await pair.ask(f"SELECT count(*) FROM hexward.{table} WHERE user_id = $1 AND ended_at IS NULL", id) == 0


async def test_of_passwords_set_at_once_one_is_left_and_no_session(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    for _ in range(3):
        await pair.one.sign_in(ZOE)
    phrases = [f"pass phrase number {n}" for n in range(8)]
    results = await pair.race(*(doing(SetPassword, id, phrase) for phrase in phrases))
    assert codes(results) == {"done": 8}
    await nothing_is_open(pair, id)
    assert (await pair.told(f"user:{id}"))["user.password_set"] == 8
    entered = await at_once(*(pair.one.sign_in(ZOE, phrase) for phrase in phrases))
    assert codes(entered) == {"done": 1, "invalid_credentials": 7}


def leaving(way, id):
    async def leave(server):
        actor, granting = await server.operator(), await server.get(GrantRole)
        match way:
            case "demoted":
                await (await server.get(RevokeGrant)).by_role(actor, id, "admin")
            case "limited":
                await granting(actor, id, "admin", expires_at=server.clock.now() + DAY, replacing=True)
            case "suspended":
                await (await server.get(SuspendUser))(actor, id)
            case "deleted":
                await (await server.get(DeleteUser))(actor, id, None)

    return leave


async def test_R08_the_last_administrator_stays_whatever_two_servers_do_at_once(pair):
    people = [(await pair.one.a_user(f"admin{n}@example.org", "admin")).user.id for n in range(7)]
    ways = ["demoted", "limited", "suspended", "deleted"]
    results = await pair.race(
        *(leaving(ways[n % 4], id) for n, id in enumerate([*people, pair.one.root] * 2)),
    )
    assert codes(results)["last_administrator"] >= 1
    async with pair.one.store.transaction():
        assert len(await pair.one.store.grants.administrators(pair.one.clock.now())) == 1
