"""Keys and the first start under races: one of each, whoever comes first."""

import pytest

from application.installation import PrepareInstallation
from application.keys import RevokeKey, RotateDueKeys, RotateKey
from application.maintenance import Maintain
from domain.keys import ROTATE_AFTER, KeyState, KeyUse, active
from races.conftest import codes
from use_cases.service import ROOT

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.usefixtures("again"), pytest.mark.long]


async def keys_of(pair, use):
    async with pair.one.store.transaction():
        return [key for key in await pair.one.store.keys.all() if key.use is use]


def rotating(use):
    async def rotate(server):
        return await (await server.get(RotateKey))(await server.operator(), use)

    return rotate


def revoking(id):
    async def revoke(server):
        return await (await server.get(RevokeKey))(await server.operator(), id)

    return revoke


async def events(pair, action):
    return await pair.ask("SELECT count(*) FROM hexward.audit_events WHERE action = $1", action)


@pytest.mark.parametrize("use", KeyUse)
async def test_of_rotations_at_once_one_is_begun(pair, use):
    results = await pair.race(*([rotating(use)] * 12))
    assert codes(results) == {"done": 1, "key_rotation_pending": 11}
    states = sorted(key.state(pair.one.clock.now()) for key in await keys_of(pair, use))
    assert states == [KeyState.ACTIVE, KeyState.NEXT]
    assert await events(pair, "key.rotated") == 1


@pytest.mark.parametrize("use", KeyUse)
async def test_revocations_beside_rotations_leave_one_active_key(pair, use):
    [key] = await keys_of(pair, use)
    results = await pair.race(*(work for _ in range(6) for work in (revoking(key.id), rotating(use))))
    assert set(codes(results)) <= {"done", "key_rotation_pending"}
    assert await events(pair, "key.revoked") == 1
    now, keys = pair.one.clock.now(), await keys_of(pair, use)
    assert active(keys, use, now) is not None
    states = [k.state(now) for k in keys]
    assert (states.count(KeyState.ACTIVE), states.count(KeyState.REVOKED)) == (1, 1)


async def test_keys_that_are_due_are_followed_by_one_each_also_amid_maintenance(pair):
    pair.one.clock.move(max(ROTATE_AFTER.values()))

    async def rotate_due(server):
        await (await server.get(RotateDueKeys))()

    async def maintain(server):
        await (await server.get(Maintain))()

    assert codes(await pair.race(*([rotate_due, maintain, maintain, rotate_due] * 4))) == {"done": 16}
    for use in KeyUse:
        assert len(await keys_of(pair, use)) == 2
    assert await events(pair, "key.rotated") == len(KeyUse)


async def test_of_first_starts_at_once_one_prepares(pair):
    await pair.superuser.execute(
        "TRUNCATE hexward.users, hexward.keys, hexward.audit_events CASCADE;"
        "UPDATE hexward.installation SET prepared_at = NULL, secret = NULL"
    )

    async def prepare(server):
        return await (await server.get(PrepareInstallation))(ROOT, None, generate=True)

    results = await pair.race(*([prepare] * 8))
    [made] = [result for result in results if result is not None]
    assert made.email == ROOT
    assert await pair.ask("SELECT count(*) FROM hexward.users") == 1
    assert await pair.ask("SELECT count(*) FROM hexward.keys") == len(KeyUse)
    assert await events(pair, "installation.prepared") == 1
    for server in pair.servers:
        await server.catch_up()
        await server.sign_in(ROOT, made.password)
