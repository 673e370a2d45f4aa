"""The first start, every later one, and whether a server can do its work."""

import re
from datetime import timedelta

import pytest

from application.authority import LiveAuthority
from application.installation import FIRST_ADMINISTRATOR, CheckReadiness, PrepareInstallation
from application.keys import RotateKey
from application.maintenance import Maintain
from contracts.steps import at_once, within
from domain import ports
from domain.audit import Action
from domain.errors import Invalid, InvalidGrant, StartRefused, Unavailable
from domain.keys import LEAD, ROTATE_AFTER, KeyUse, active
from domain.ports import UserQuery
from domain.scopes import EVERYWHERE
from http_world import PASSWORD
from use_cases.service import ROOT
from wired import instead


async def prepare(server, email=ROOT, password=PASSWORD, *, generate=False):
    return await (await server.get(PrepareInstallation))(email, password, generate=generate)


async def contents(server):
    async with server.store.transaction():
        users = (await server.store.users.page(UserQuery([EVERYWHERE]))).items
        keys = await server.store.keys.all()
        installation = await server.store.installations.read()
    return list(users), list(keys), installation, await server.events()


@pytest.fixture
async def empty(new_server):
    """A server whose store is as the migrations leave it."""
    return await new_server(prepared=False)


async def test_the_first_start_makes_keys_and_one_administrator(empty):
    made = await prepare(empty)
    users, keys, installation, [event] = await contents(empty)
    assert (made.email, made.password) == (ROOT, None)
    assert [u.email for u in users] == [ROOT]
    assert sorted(k.use for k in keys) == sorted(KeyUse)
    assert installation.prepared_at == empty.clock.now()
    assert (event.action, event.actor, event.subject) == (
        Action.INSTALLATION_PREPARED, "system:first-start", f"user:{users[0].id}"
    )  # fmt: skip
    async with empty.store.transaction():
        assert await empty.store.grants.administrators(empty.clock.now()) == {users[0].id}
    await empty.catch_up()
    await empty.sign_in(ROOT)


async def test_a_password_is_made_up_only_where_that_is_allowed_and_is_told_once(empty):
    made = await prepare(empty, None, None, generate=True)
    assert made.email == FIRST_ADMINISTRATOR
    assert re.fullmatch(r"([a-km-np-z2-9]{6}-){3}[a-km-np-z2-9]{6}", made.password)
    assert made.password not in repr(made)
    await empty.catch_up()
    await empty.sign_in(FIRST_ADMINISTRATOR, made.password)
    assert await prepare(empty, None, None, generate=True) is None


async def test_a_given_password_is_not_repeated_and_a_missing_address_has_a_default(empty):
    made = await prepare(empty, None, PASSWORD, generate=True)
    assert (made.email, made.password) == (FIRST_ADMINISTRATOR, None)


@pytest.mark.parametrize(("email", "password"), [(None, None), (ROOT, None), (None, PASSWORD)])
async def test_R04_in_production_nothing_is_made_up(empty, email, password):
    before = await contents(empty)
    with pytest.raises(StartRefused, match=r"HEXWARD_ADMIN_EMAIL and HEXWARD_ADMIN_PASSWORD"):
        await prepare(empty, email, password)
    assert await contents(empty) == before


@pytest.mark.parametrize(
    ("email", "password"), [(ROOT, "short"), (ROOT, "administrator!"), (ROOT, ROOT * 2), ("nobody", PASSWORD)]
)
async def test_R04_a_weak_administrator_is_refused(empty, email, password):
    before = await contents(empty)
    with pytest.raises(Invalid):
        await prepare(empty, email, password)
    assert await contents(empty) == before


async def test_of_many_servers_that_start_at_once_one_prepares(new_server):
    servers = [await new_server(prepared=False) for _ in range(5)]
    results = await at_once(*(prepare(s, None, None, generate=True) for s in servers))
    [made] = [r for r in results if r is not None]
    users, keys, _, events = await contents(servers[0])
    assert [u.email for u in users] == [FIRST_ADMINISTRATOR]
    assert (len(keys), len(events)) == (len(KeyUse), 1)
    for server in servers:
        await server.catch_up()
        await server.sign_in(FIRST_ADMINISTRATOR, made.password)


async def test_a_later_start_changes_nothing_whatever_it_is_told(anywhere):
    before = await contents(anywhere)
    assert await prepare(anywhere, "thief@example.org", "a pass phrase of a thief", generate=True) is None
    assert await prepare(anywhere, None, None) is None
    assert await contents(anywhere) == before
    with pytest.raises(InvalidGrant):
        await anywhere.sign_in("thief@example.org", "a pass phrase of a thief")


async def test_R04_a_start_with_another_master_key_is_refused_and_damages_nothing(new_server):
    server = await new_server()
    before = await contents(server)
    other = await new_server(prepared=False, master_key=bytes(range(32)))
    with pytest.raises(StartRefused, match="master key is not the one"):
        await prepare(other)
    assert await contents(server) == before
    await server.sign_in(ROOT)


async def test_a_start_that_fails_half_way_leaves_nothing_behind(new_server):
    class Silent:
        async def authority(self, user_id):
            raise Unavailable("the database went away")

    failing = await new_server(instead(ports.Changes, Silent()), prepared=False)
    before = await contents(failing)
    with pytest.raises(Unavailable):
        await prepare(failing)
    assert await contents(failing) == before
    assert await prepare(await new_server(prepared=False)) is not None


# ----------------------------------------------------------------------------------------------------- keys by schedule


@pytest.mark.parametrize("use", KeyUse)
async def test_keys_that_have_served_their_time_are_rotated_at_the_next_start(service, use):
    service.clock.move(ROTATE_AFTER[use] - timedelta(seconds=1))
    before = await contents(service)
    if use is KeyUse.SIGN:
        await prepare(service)
        assert await contents(service) == before
    service.clock.move(timedelta(seconds=1))
    await prepare(service)
    await prepare(service)
    [event] = [e for e in await service.events() if e.action is Action.KEY_ROTATED and e.details["use"] == use]
    assert event.actor == "system:key-schedule"
    keys = {k.id: k for k in (await contents(service))[1]}
    fresh = keys[event.subject.removeprefix("key:")]
    assert fresh.activates_at == service.clock.now() + LEAD[use]
    service.clock.move(LEAD[use])
    assert active(keys.values(), use, service.clock.now()) == fresh


async def test_a_server_that_runs_on_and_on_rotates_its_keys_by_itself(anywhere):
    maintain = await anywhere.get(Maintain)
    before = await anywhere.events()
    await maintain()
    assert await anywhere.events() == before
    anywhere.clock.move(ROTATE_AFTER[KeyUse.SIGN])
    await at_once(*(maintain() for _ in range(4)))
    [event] = (await anywhere.events())[len(before) :]
    assert (event.action, event.actor, event.details["use"]) == (Action.KEY_ROTATED, "system:key-schedule", "sign")


async def test_servers_that_start_at_once_rotate_once(new_server):
    servers = [await new_server() for _ in range(4)]
    servers[0].clock.move(ROTATE_AFTER[KeyUse.SIGN])
    assert await at_once(*(prepare(s) for s in servers)) == [None] * 4
    assert len([e for e in await servers[0].events() if e.action is Action.KEY_ROTATED]) == 1


async def test_a_rotation_under_way_is_not_hurried(service):
    service.clock.move(ROTATE_AFTER[KeyUse.SIGN])
    await (await service.get(RotateKey))(await service.operator(), KeyUse.SIGN)
    before = await contents(service)
    await prepare(service)
    assert await contents(service) == before


# ------------------------------------------------------------------------------------------------------------ readiness


async def failing(server):
    return {check.name: check.problem for check in await (await server.get(CheckReadiness))() if not check.ok}


async def test_R10_a_server_is_ready_only_once_schema_keys_and_feed_are_there(new_server, empty):
    assert set(await failing(empty)) == {"database", "keys"}
    await prepare(empty)
    assert set(await failing(empty)) == {"keys"}, "they are there, but this server has not loaded them"
    await empty.catch_up()
    assert await failing(empty) == {}


class Behind:
    async def lag(self):
        return "the schema is two revisions behind"


class Away:
    """A storage port that does not answer."""

    def __getattr__(self, name):
        async def call(*arguments):
            raise Unavailable("the database does not answer")

        return call


async def test_R10_each_thing_that_is_missing_is_named(new_server):
    await new_server()
    behind = await new_server(instead(ports.Schema, Behind()))
    assert await failing(behind) == {"schema": "the schema is two revisions behind"}
    away = await new_server()
    lost = await new_server(instead(ports.ChangeFeed, Away()), instead(ports.Installations, Away()), prepared=False)
    assert set(await failing(lost)) == {"database", "keys", "change_feed"}
    assert await failing(away) == {}
    away.clock.move(timedelta(days=400))
    assert await failing(away) == {}, "keys do not run out by themselves"
    assert (await away.get(LiveAuthority)).age < 1
    assert await within(away.store, away.store.keys.all())
