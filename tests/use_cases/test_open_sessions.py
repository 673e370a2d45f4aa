"""Open sessions: who sees them, what they tell, and that what ends them ends them for good."""

from datetime import timedelta

import pytest

from application.open_sessions import EndAllSessions, EndSession, ListSessions
from application.roles import GrantRole
from application.sessions import Authenticate, RefreshSession
from application.users import SuspendUser
from builders import SECOND, a_role, a_session, new_id
from contracts.steps import at_once, within
from domain.audit import Action
from domain.errors import Forbidden, InvalidGrant, NotAuthenticated, NotFound
from domain.scopes import Scope
from domain.sessions import SESSION_IDLE, SESSION_LIFETIME, EndReason, SessionId
from domain.users import UserId
from use_cases.service import ORIGIN, ROOT

ZOE = "zoë@example.org"
LI = "li@example.org"
HOUR = timedelta(hours=1)


async def signed_in(server, email=ZOE):
    """Somebody who has signed in: the actor, and the tokens of the session."""
    tokens = await server.sign_in(email)
    return await (await server.get(Authenticate))(tokens.access_token, ORIGIN), tokens


async def refresh(server, tokens):
    return await (await server.get(RefreshSession))(tokens.refresh_token, ORIGIN)


async def refused(server, tokens):
    """Whether the session is over, for both of its tokens."""
    await server.catch_up()
    with pytest.raises(InvalidGrant):
        await refresh(server, tokens)
    with pytest.raises(NotAuthenticated):
        await (await server.get(Authenticate))(tokens.access_token, ORIGIN)
    return True


async def listed(server, actor, id=None):
    sessions = await server.get(ListSessions)
    return list(await (sessions.own(actor) if id is None else sessions(actor, id)))


async def end(server, actor, session, id=None):
    one = await server.get(EndSession)
    await (one.own(actor, session) if id is None else one(actor, id, session))


async def end_all(server, actor, id=None):
    every = await server.get(EndAllSessions)
    return await (every.own(actor) if id is None else every(actor, id))


async def ends(server):
    ending = {Action.SIGN_OUT, Action.SESSIONS_ENDED}
    return [(e.action, e.actor, e.subject) for e in await server.events() if e.action in ending]


async def a_keeper(server, *permissions, email="keeper@example.org", **more):
    """Somebody who holds just these permissions."""
    role = a_role("keeper", *permissions)
    await within(server.store, server.store.roles.add(role))
    return await server.actor((await server.a_user(email, "keeper", **more)).user.id)


# ----------------------------------------------------------------------------------------------------------------- list


async def test_sessions_tell_when_how_and_from_where_and_a_refresh_counts_as_use(anywhere):
    await anywhere.a_user(ZOE)
    begun = anywhere.clock.now()
    actor, tokens = await signed_in(anywhere)
    anywhere.clock.move(HOUR)
    other, _ = await signed_in(anywhere)
    anywhere.clock.move(HOUR)
    await refresh(anywhere, tokens)
    first, second = await listed(anywhere, actor)
    assert (first.id, second.id) == (actor.session_id, other.session_id)
    assert (first.created_at, first.auth_time, first.amr) == (begun, begun, ("pwd",))
    assert (first.last_used_at, second.last_used_at) == (begun + 2 * HOUR, begun + HOUR)
    assert (first.expires_at, first.address) == (begun + SESSION_LIFETIME, "192.0.2.7")


async def test_a_repeat_of_a_refresh_is_no_later_use(service):
    await service.a_user(ZOE)
    actor, tokens = await signed_in(service)
    service.clock.move(HOUR)
    await refresh(service, tokens)
    used = service.clock.now()
    service.clock.move(5 * SECOND)
    await refresh(service, tokens)
    assert [s.last_used_at for s in await listed(service, actor)] == [used]


async def test_what_can_be_used_no_more_is_not_listed(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user
    _, kept = await signed_in(anywhere)
    _, idle = await signed_in(anywhere)
    actor, ended = await signed_in(anywhere)
    await end(anywhere, actor, SessionId(actor.session_id))
    anywhere.clock.move(SESSION_IDLE - HOUR)
    kept = await refresh(anywhere, kept)
    anywhere.clock.move(HOUR)
    found = await listed(anywhere, await anywhere.actor(zoe.id))
    assert [session.last_used_at for session in found] == [anywhere.clock.now() - HOUR]
    await refresh(anywhere, kept)
    for gone in (idle, ended):
        with pytest.raises(InvalidGrant):
            await refresh(anywhere, gone)


async def test_nobody_sees_the_sessions_of_others_by_being_somebody(service):
    zoe = (await service.a_user(ZOE)).user
    await signed_in(service)
    await service.a_user(LI, "manager")
    li, _ = await signed_in(service, LI)
    assert [s.user_id for s in await listed(service, li)] == [li.facts.user_id]
    with pytest.raises(Forbidden, match="sessions:read"):
        await listed(service, li, zoe.id)


async def test_who_may_read_sessions_reads_them_where_they_may(service):
    near = (await service.a_user(ZOE, scope="org/acme/berlin")).user
    far = (await service.a_user(LI, scope="org/other")).user
    await signed_in(service)
    keeper = await a_keeper(service, "sessions:read")
    assert len(await listed(service, keeper, near.id)) == 1
    grant = (await within(service.store, service.store.grants.of_user(keeper.facts.user_id)))[0]
    await within(service.store, service.store.grants.remove(grant.id))
    await give(service, keeper, "org/acme")
    keeper = await service.actor(keeper.facts.user_id)
    assert len(await listed(service, keeper, near.id)) == 1
    for hidden in (far.id, UserId(new_id())):
        with pytest.raises(NotFound):
            await listed(service, keeper, hidden)


async def give(server, actor, scope):
    grant = await server.get(GrantRole)
    await grant(await server.operator(), actor.facts.user_id, "keeper", Scope.parse(scope), None, None)


async def test_one_sees_ones_own_by_id_too(service):
    zoe = (await service.a_user(ZOE)).user
    actor, _ = await signed_in(service)
    assert await listed(service, actor, zoe.id) == await listed(service, actor)


# ------------------------------------------------------------------------------------------------------------------ end


async def test_one_ends_a_session_of_ones_own_and_no_other(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user
    lost, stolen = await signed_in(anywhere)
    actor, mine = await signed_in(anywhere)
    await end(anywhere, actor, SessionId(lost.session_id))
    assert await refused(anywhere, stolen)
    await refresh(anywhere, mine)
    assert await ends(anywhere) == [(Action.SIGN_OUT, f"user:{zoe.id}", f"session:{lost.session_id}")]
    async with anywhere.store.transaction():
        ended = await anywhere.store.sessions.find(SessionId(lost.session_id))
    assert ended.end_reason is EndReason.SIGNED_OUT


async def test_a_session_of_somebody_else_is_not_found_and_goes_on(service):
    li = (await service.a_user(LI)).user
    await service.a_user(ZOE)
    actor, _ = await signed_in(service)
    other, tokens = await signed_in(service, LI)
    operator = await service.operator()
    for unknown in (other.session_id, a_session().id):
        with pytest.raises(NotFound):
            await end(service, actor, SessionId(unknown))
        with pytest.raises(NotFound):
            await end(service, operator, SessionId(unknown), actor.facts.user_id)
    await refresh(service, tokens)
    assert await ends(service) == []
    assert [s.user_id for s in await listed(service, operator, li.id)] == [li.id]


async def test_of_many_ends_of_one_session_at_once_one_is_told(anywhere):
    await anywhere.a_user(ZOE)
    lost, stolen = await signed_in(anywhere)
    actor, _ = await signed_in(anywhere)
    root, _ = await signed_in(anywhere, ROOT)
    id = SessionId(lost.session_id)
    both = [(actor, None), (root, actor.facts.user_id)] * 3
    assert set(await at_once(*(end(anywhere, by, id, of) for by, of in both))) == {None}
    assert await refused(anywhere, stolen)
    assert [(action, subject) for action, _, subject in await ends(anywhere)] == [(Action.SIGN_OUT, f"session:{id}")]


async def test_no_refresh_that_is_under_way_outlives_the_end_of_its_session(anywhere):
    """Whichever comes first, the successor it made is refused afterwards."""
    await anywhere.a_user(ZOE)
    actor, _ = await signed_in(anywhere)
    pairs = [await signed_in(anywhere) for _ in range(4)]
    works = [w for a, t in pairs for w in (refresh(anywhere, t), end(anywhere, actor, SessionId(a.session_id)))]
    results = await at_once(*works)
    assert results[1::2] == [None] * 4
    for outcome in results[::2]:
        assert isinstance(outcome, InvalidGrant) or await refused(anywhere, outcome)


async def test_signing_out_everywhere_ends_all_and_the_present_one(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user
    others = [await anywhere.sign_in(ZOE) for _ in range(2)]
    actor, mine = await signed_in(anywhere)
    _, root = await signed_in(anywhere, ROOT)
    assert await end_all(anywhere, actor) == 3
    for tokens in (*others, mine):
        assert await refused(anywhere, tokens)
    await refresh(anywhere, root)
    [event] = [e for e in await anywhere.events() if e.action is Action.SESSIONS_ENDED]
    assert (event.actor, event.subject) == (f"user:{zoe.id}", f"user:{zoe.id}")
    assert event.details == {"sessions_ended": 3}
    assert await end_all(anywhere, actor) == 0
    assert len(await ends(anywhere)) == 1


async def test_sign_outs_everywhere_at_once_and_single_ends_do_not_stand_in_each_others_way(anywhere):
    await anywhere.a_user(ZOE)
    actors = [(await signed_in(anywhere))[0] for _ in range(4)]
    works = [w for a in actors for w in (end_all(anywhere, a), end(anywhere, actors[0], SessionId(a.session_id)))]
    assert [r for r in await at_once(*works) if isinstance(r, BaseException)] == []
    assert await listed(anywhere, actors[0]) == []


async def test_who_may_end_sessions_ends_those_of_others_and_the_trail_says_who(service):
    zoe = (await service.a_user(ZOE, scope="org/acme")).user
    victim, stolen = await signed_in(service)
    keeper = await a_keeper(service, "sessions:write")
    await end(service, keeper, SessionId(victim.session_id), zoe.id)
    assert await refused(service, stolen)
    _, again = await signed_in(service)
    assert await end_all(service, keeper, zoe.id) == 1
    assert await refused(service, again)
    by = f"user:{keeper.facts.user_id}"
    assert await ends(service) == [
        (Action.SIGN_OUT, by, f"session:{victim.session_id}"),
        (Action.SESSIONS_ENDED, by, f"user:{zoe.id}"),
    ]
    found = [e for e in await service.events() if e.action in {Action.SIGN_OUT, Action.SESSIONS_ENDED}]
    assert {str(e.scope) for e in found} == {"org/acme"}


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("roles", [("manager",), ("user",), ()])
async def test_who_may_only_manage_users_ends_no_session(service, roles, everywhere):
    zoe = (await service.a_user(ZOE)).user
    victim, tokens = await signed_in(service)
    await service.a_user(LI, *roles)
    li, _ = await signed_in(service, LI)
    with pytest.raises(Forbidden, match="sessions:write"):
        await (end_all(service, li, zoe.id) if everywhere else end(service, li, victim.session_id, zoe.id))
    await refresh(service, tokens)


@pytest.mark.parametrize("everywhere", [True, False])
async def test_R08_nobody_ends_the_sessions_of_an_account_that_holds_more_than_they_do(service, everywhere):
    root, tokens = await signed_in(service, ROOT)
    keeper = await a_keeper(service, "sessions:*", "users:*")
    with pytest.raises(Forbidden):
        await (
            end_all(service, keeper, service.root)
            if everywhere
            else end(service, keeper, SessionId(root.session_id), service.root)
        )
    await refresh(service, tokens)


async def test_a_right_that_was_lost_a_moment_ago_ends_nothing(service):
    """Authority is read again inside the transaction, not believed from when the request began."""
    zoe = (await service.a_user(ZOE)).user
    _, tokens = await signed_in(service)
    keeper = await a_keeper(service, "sessions:write")
    await (await service.get(SuspendUser))(await service.operator(), keeper.facts.user_id)
    with pytest.raises(Forbidden):
        await end_all(service, keeper, zoe.id)
    await refresh(service, tokens)


async def test_the_command_has_no_sessions_of_its_own(service):
    operator = await service.operator()
    for work in (listed(service, operator), end_all(service, operator), end(service, operator, a_session().id)):
        with pytest.raises(Forbidden):
            await work
