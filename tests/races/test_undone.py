"""What PostgreSQL undid is done again; what it may have stored is not."""

import pytest

from application.repetition import TRIES
from application.roles import DefineRole, RoleChanges
from application.sessions import RefreshSession
from application.users import CreateUser, NewUser, SuspendUser
from contracts.steps import at_once, beside, finished, waits
from domain.errors import Unavailable
from races.conftest import codes
from use_cases.service import ORIGIN, ROOT

pytestmark = [pytest.mark.postgres, pytest.mark.long]

# Counts how often it was reached, whatever is rolled back, and fails so often.
MISHAP = """
CREATE SEQUENCE IF NOT EXISTS public.mishaps;
CREATE OR REPLACE FUNCTION public.mishap() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF nextval('public.mishaps') <= {times} THEN {happens}; END IF;
  RETURN NEW;
END $$;
"""
AT_ONCE = "CREATE TRIGGER mishap BEFORE INSERT ON hexward.audit_events FOR EACH ROW EXECUTE FUNCTION public.mishap()"
AT_COMMIT = """
CREATE CONSTRAINT TRIGGER mishap AFTER INSERT ON hexward.{table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION public.mishap()
"""
ENDED = "PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(1)"
DEADLOCK = "RAISE SQLSTATE '40P01'"
NOT_SERIAL = "RAISE SQLSTATE '40001'"
TIMED_OUT = "RAISE SQLSTATE '57014'"


async def prepare(pair, happens, times=1, at=AT_ONCE):
    await pair.superuser.execute(MISHAP.format(happens=happens, times=times) + at)


async def reached(pair):
    return await pair.ask("SELECT last_value FROM public.mishaps")


async def create(server):
    return await (await server.get(CreateUser))(await server.operator(), NewUser("zoë@example.org"))


async def stored(pair):
    users = await pair.ask("SELECT count(*) FROM hexward.users WHERE email = 'zoë@example.org'")
    events = await pair.ask("SELECT count(*) FROM hexward.audit_events WHERE action = 'user.created'")
    return users, events


UNDOING = pytest.mark.parametrize("happens", [ENDED, DEADLOCK, NOT_SERIAL], ids=["ended", "deadlock", "serialization"])


@UNDOING
async def test_what_was_undone_is_done_again_and_told_once(pair, happens):
    await prepare(pair, happens, times=TRIES - 1)
    await create(pair.one)
    assert await reached(pair) == TRIES
    assert await stored(pair) == (1, 1)


@UNDOING
async def test_what_is_undone_again_and_again_is_told_to_the_caller(pair, happens):
    await prepare(pair, happens, times=100)
    with pytest.raises(Unavailable):
        await create(pair.one)
    assert await reached(pair) == TRIES
    assert await stored(pair) == (0, 0)


async def test_what_took_too_long_is_not_tried_again(pair):
    await prepare(pair, TIMED_OUT, times=100)
    with pytest.raises(Unavailable):
        await create(pair.one)
    assert (await reached(pair), await stored(pair)) == (1, (0, 0))


async def test_a_commit_that_was_refused_is_done_again(pair):
    await prepare(pair, NOT_SERIAL, at=AT_COMMIT.format(table="users"))
    await create(pair.one)
    assert (await reached(pair), await stored(pair)) == (2, (1, 1))


async def test_a_commit_that_nobody_confirmed_is_not_done_again(pair):
    await prepare(pair, ENDED, times=100, at=AT_COMMIT.format(table="users"))
    with pytest.raises(Unavailable, match="not known"):
        await create(pair.one)
    assert await reached(pair) == 1


async def test_sign_in_refresh_and_the_rest_are_done_again_too(pair):
    server, operator = pair.one, await pair.one.operator()
    refresh, define = await server.get(RefreshSession), await server.get(DefineRole)
    works = [refresh((await server.sign_in(ROOT)).refresh_token, ORIGIN) for _ in range(4)]
    content = RoleChanges({"permissions"}, permissions=["docs:read"])
    works += [define(operator, f"role{number}", content) for number in range(4)]
    works += [server.sign_in(ROOT) for _ in range(4)]
    await prepare(pair, ENDED, times=TRIES - 1)
    assert codes(await at_once(*works)) == {"done": 12}
    assert await reached(pair) == 12 + TRIES - 1
    assert await pair.ask("SELECT sum(counter) FROM hexward.families") == 4
    assert (await pair.told("role:role1"))["role.created"] == 1


async def test_a_deadlock_with_somebody_else_costs_nobody_their_work(pair):
    """Somebody who takes the same locks the other way round, as nothing of ours does."""
    id = (await pair.one.a_user("zoë@example.org", "admin")).user.id
    suspend, operator = await pair.one.get(SuspendUser), await pair.one.operator()
    async with pair.superuser.transaction():
        await pair.superuser.execute("SELECT 1 FROM hexward.roles WHERE name = 'admin' FOR NO KEY UPDATE")
        work = beside(suspend(operator, id))
        assert await waits(work)
        await pair.superuser.execute("SET LOCAL deadlock_timeout = '30s'")  # so that it is the other who is given up
        await pair.superuser.execute("SELECT 1 FROM hexward.users WHERE id = $1 FOR NO KEY UPDATE", id)
    await finished(work)
    assert (await pair.told(f"user:{id}"))["user.suspended"] == 1
