"""Sign-in, refresh and sign-out under races: one successor, no family that outlives its session."""

import pytest

from application.sessions import RefreshSession, SignOut
from application.users import SetPassword, SuspendUser
from contracts.steps import at_once
from domain.sessions import SESSIONS_PER_USER
from races.conftest import codes
from use_cases.service import ORIGIN

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.usefixtures("again"), pytest.mark.long]

ZOE = "zoë@example.org"
ORPHANS = """
SELECT count(*) FROM hexward.families f JOIN hexward.sessions s ON s.id = f.session_id
WHERE (f.ended_at IS NULL) <> (s.ended_at IS NULL)
"""
"""Families and sessions that do not agree on whether they are over."""
OPEN = "SELECT count(*) FROM hexward.sessions WHERE user_id = $1 AND ended_at IS NULL"


def refreshing(token):
    async def refresh(server):
        return await (await server.get(RefreshSession))(token, ORIGIN)

    return refresh


def leaving(token):
    async def leave(server):
        await (await server.get(SignOut)).by_refresh_token(token, ORIGIN)

    return leave


def doing(use_case, id, *more):
    async def do(server):
        await (await server.get(use_case))(await server.operator(), id, *more)

    return do


async def enter(server):
    return await server.sign_in(ZOE)


async def count(pair, action, reason=None):
    query = "SELECT count(*) FROM hexward.audit_events WHERE action = $1 AND reason IS NOT DISTINCT FROM $2"
    return await pair.ask(query, action, reason)


async def test_of_sign_ins_at_once_no_more_sessions_stay_than_there_may_be(pair):
    id = (await pair.one.a_user(ZOE)).user.id
    for _ in range(5):
        results = await pair.race(*([enter] * 12))
        assert codes(results) == {"done": 12}
    assert await pair.ask(OPEN, id) == SESSIONS_PER_USER
    assert await pair.ask(ORPHANS) == 0
    assert await count(pair, "session.started") == 60


async def test_each_of_many_families_gets_one_successor_at_two_servers(pair):
    await pair.one.a_user(ZOE)
    tokens = [(await enter(pair.one)).refresh_token for _ in range(8)]
    results = await pair.race(*(refreshing(token) for token in tokens * 12))
    assert codes(results) == {"done": 96}
    for number in range(8):
        assert len({answer.refresh_token for answer in results[number::8]}) == 1
    assert await pair.ask("SELECT sum(counter) FROM hexward.families") == 8
    assert (await count(pair, "session.refreshed"), await count(pair, "session.refreshed", "repeated")) == (8, 88)


async def test_refreshes_beside_sign_outs_leave_no_family_that_outlives_its_session(pair):
    await pair.one.a_user(ZOE)
    tokens = [(await enter(pair.one)).refresh_token for _ in range(12)]
    results = await pair.race(*(work(token) for token in tokens for work in (refreshing, leaving, refreshing)))
    assert set(codes(results)) <= {"done", "invalid_grant"}
    assert await pair.ask("SELECT count(*) FROM hexward.families WHERE ended_at IS NULL") == 0
    assert await pair.ask(ORPHANS) == 0
    assert await count(pair, "session.ended", "signed_out") == 12
    issued = [r.refresh_token for r in results if r is not None and not isinstance(r, BaseException)]
    assert codes(await pair.race(*(refreshing(token) for token in {*tokens, *issued})))["done"] == 0


@pytest.mark.parametrize(
    "shut_out", [(SuspendUser,), (SetPassword, "another pass phrase")], ids=["suspend", "password"]
)
async def test_who_is_shut_out_amid_sign_ins_and_refreshes_is_out(pair, shut_out):
    use_case, *more = shut_out
    id = (await pair.one.a_user(ZOE)).user.id
    tokens = [(await enter(pair.one)).refresh_token for _ in range(6)]
    works = [work for token in tokens for work in (refreshing(token), enter)]
    works.insert(5, doing(use_case, id, *more))
    results = await pair.race(*works)
    assert set(codes(results)) <= {"done", "invalid_grant", "invalid_credentials"}
    assert await pair.ask(OPEN, id) == 0
    assert await pair.ask(ORPHANS) == 0
    issued = [r.refresh_token for r in results if r is not None and not isinstance(r, BaseException)]
    assert codes(await pair.race(*(refreshing(token) for token in {*tokens, *issued})))["done"] == 0


async def test_R02_a_thief_beside_its_owner_ends_the_family_once(pair):
    await pair.one.a_user(ZOE)
    first = (await enter(pair.one)).refresh_token
    second = (await refreshing(first)(pair.one)).refresh_token
    third = (await refreshing(second)(pair.one)).refresh_token
    results = await pair.race(*(refreshing(token) for token in [third, first, third] * 8))
    assert set(codes(results)) <= {"done", "invalid_grant"}
    assert await count(pair, "session.refresh_refused", "replayed") == 1
    assert await pair.ask("SELECT count(*) FROM hexward.families WHERE ended_at IS NULL") == 0
    assert await pair.ask(ORPHANS) == 0


async def test_sign_outs_at_once_are_told_once(pair):
    await pair.one.a_user(ZOE)
    token = (await enter(pair.one)).refresh_token
    assert codes(await pair.race(*([leaving(token)] * 16))) == {"done": 16}
    assert await count(pair, "session.ended", "signed_out") == 1


async def test_guesses_at_two_servers_are_all_counted(pair):
    await pair.one.a_user(ZOE)
    results = await at_once(*(pair.servers[n % 2].sign_in(ZOE, "a wrong pass phrase") for n in range(10)))
    assert set(codes(results)) <= {"invalid_credentials", "too_many_attempts"}
    counted = codes(results)["invalid_credentials"]
    assert await pair.ask("SELECT sum(count) FROM hexward.sign_in_failures") == counted
    assert (
        await pair.ask("SELECT count(*) FROM hexward.audit_events WHERE action = 'session.sign_in_failed'") == counted
    )
