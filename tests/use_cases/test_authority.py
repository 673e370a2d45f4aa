"""Live authority: never older than the bound, never a false denial, and nothing stale kept."""

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

import application.authority
from adapters.memory.store import MemoryStore
from application.authority import LiveAuthority, Recent
from application.roles import DefineRole, GrantRole, RoleChanges
from application.sessions import Authenticate, SignOut
from application.users import SuspendUser
from builders import a_role, new_id
from contracts.steps import at_once, beside, finished, waits, within
from domain import ports
from domain.clients import FIRST_PARTY, ClientId
from domain.errors import NotAuthenticated, Unavailable
from domain.ports import AccessTokens, Change, ChangeKind, News, SigningKeys
from domain.sessions import SESSION_LIFETIME, SessionId
from domain.users import UserId, UserStatus
from use_cases.service import ORIGIN, ROOT, a_server
from wired import instead

ZOE = "zoë@example.org"
BOUND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
NOBODY = UserId(new_id())


class Feed:
    """A feed that says what it is told to, fails while it is `lost`, and hangs while `stuck`."""

    def __init__(self):
        self.news = [News(reset=True)]
        self.lost = False
        self.reads = 0
        self.free = asyncio.Event()
        self.free.set()
        self.asked, self.hint, self.idle = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read(self):
        self.reads += 1
        self.asked.set()
        await self.free.wait()
        if self.lost:
            raise Unavailable("the change feed does not answer")
        return self.news.pop(0) if self.news else News()

    async def wait(self, seconds):
        self.idle.set()
        await self.hint.wait()
        self.hint.clear()

    async def close(self):
        pass


class Counted:
    """A storage port that counts what is asked of it, and can stop between the reading and the answer."""

    def __init__(self, port):
        self._port = port
        self.calls = Counter()
        self.asked = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    def __getattr__(self, name):
        async def call(*arguments):
            self.calls[name] += 1
            answer = await getattr(self._port, name)(*arguments)
            self.asked.set()
            await self.free.wait()
            return answer

        return call


@pytest.fixture
async def feed():
    return Feed()


class Watched(dict):
    """The ports that authority is read from, by type, on a memory store."""

    def __init__(self):
        self.store = MemoryStore()
        super().__init__({port: Counted(getattr(self.store, name)) for name, port in PORTS.items()})


@pytest.fixture
async def counted():
    return Watched()


PORTS = {"users": ports.Users, "roles": ports.Roles, "sessions": ports.Sessions, "clients": ports.Clients,
         "keys": ports.Keys}  # fmt: skip


@pytest.fixture
async def new_watched(feed, counted, clock):
    """Makes a server whose feed and storage are watched; its first reset is behind it."""
    async with AsyncExitStack() as stack:

        async def make(**settings):
            watched = [instead(port, c) for port, c in counted.items()]
            made = await stack.enter_async_context(a_server(counted.store, lambda: feed, clock, *watched, **settings))
            for port in counted.values():
                port.calls.clear()
            feed.reads = 0
            return made

        yield make


@pytest.fixture
async def server(new_watched):
    return await new_watched()


# ------------------------------------------------------------------------------------------------------------ the bound


async def test_within_the_bound_nothing_is_read_twice(server, feed, counted):
    authority = await server.get(LiveAuthority)
    for _ in range(3):
        await authority.rules()
        assert (await authority.facts(server.root)).user_id == server.root
        assert (await authority.client(FIRST_PARTY)).id == FIRST_PARTY
        assert not await authority.session_open(SessionId(new_id()), server.clock.now())
    server.clock.move(BOUND)
    await authority.rules()
    assert feed.reads == 0
    assert counted[ports.Users].calls["facts"] == counted[ports.Clients].calls["find"] == 1
    assert counted[ports.Roles].calls["rules"] == 1


async def test_beyond_the_bound_the_feed_is_asked_before_anything_is_decided(server, feed, counted):
    authority = await server.get(LiveAuthority)
    await authority.facts(server.root)
    server.clock.move(BOUND + MICROSECOND)
    feed.news = [News([Change(ChangeKind.AUTHORITY, str(server.root))])]
    await authority.facts(server.root)
    assert feed.reads == 1
    assert counted[ports.Users].calls["facts"] == 2, "what the feed told of was read again"


@pytest.mark.parametrize(("bound", "works", "too_late"), [("1", 1.0, 1.001), ("60", 60.0, 60.1), ("0.5", 0.5, 0.501)])
async def test_a_lost_feed_is_lived_with_up_to_the_bound_and_then_nothing_is_decided(
    new_watched, feed, bound, works, too_late
):
    server = await new_watched(MAX_STALENESS=bound)
    authority = await server.get(LiveAuthority)
    began = server.clock.now()
    feed.lost = True
    server.clock.move(timedelta(seconds=works))
    await authority.rules()
    server.clock.move(began + timedelta(seconds=too_late) - server.clock.now())
    questions = [
        authority.rules(),
        authority.facts(server.root),
        authority.client(FIRST_PARTY),
        authority.session_open(SessionId(new_id()), began),
    ]
    for question in questions:
        with pytest.raises(Unavailable):
            await question
    feed.lost = False
    await authority.rules()


async def test_a_lost_feed_is_never_a_denial_and_does_not_touch_signatures(server, feed):
    token = (await server.sign_in(ROOT)).access_token
    authenticate, tokens = await server.get(Authenticate), await server.get(AccessTokens)
    feed.lost = True
    server.clock.move(timedelta(seconds=30))
    with pytest.raises(Unavailable):
        await authenticate(token, ORIGIN)
    assert tokens.verify(token, server.clock.now()).user_id == server.root
    assert b'"kid"' in (await server.get(SigningKeys)).jwks(server.clock.now())
    feed.lost = False
    assert (await authenticate(token, ORIGIN)).facts.user_id == server.root


async def test_age_is_counted_from_before_the_read(server, feed):
    authority = await server.get(LiveAuthority)
    feed.free.clear()
    reading = beside(authority.catch_up())
    assert await waits(reading, 0.02)
    server.clock.move(timedelta(milliseconds=700))
    feed.free.set()
    await finished(reading)
    assert authority.age == pytest.approx(0.7)


async def test_many_who_come_too_late_read_the_feed_once(server, feed):
    authority = await server.get(LiveAuthority)
    server.clock.move(timedelta(seconds=5))
    feed.free.clear()
    asking = [beside(authority.facts(server.root)) for _ in range(50)]
    assert await waits(asking[0], 0.02)
    feed.free.set()
    assert {(await finished(task)).user_id for task in asking} == {server.root}
    assert feed.reads == 1


async def test_a_feed_that_hangs_makes_nobody_wait_for_long(server, feed, monkeypatch):
    monkeypatch.setattr(application.authority, "CATCH_UP_SECONDS", 0.05)
    authority = await server.get(LiveAuthority)
    server.clock.move(timedelta(seconds=5))
    feed.free.clear()
    results = await at_once(*(authority.rules() for _ in range(5)))
    assert {r.reason_code for r in results} == {"authority_stale"}
    feed.free.set()
    await authority.rules()


# ---------------------------------------------------------------------------------------------------- what is forgotten


async def test_what_changed_is_read_again_and_nothing_else(server, feed, counted):
    authority = await server.get(LiveAuthority)
    token = (await server.sign_in(ROOT)).access_token
    session_id = SessionId((await (await server.get(Authenticate))(token, ORIGIN)).session_id)

    async def ask():
        for port in counted.values():
            port.calls.clear()
        await authority.rules()
        await authority.facts(server.root)
        await authority.client(FIRST_PARTY)
        await authority.session_open(session_id, server.clock.now())
        return {p for p, c in counted.items() if c.calls.total()}

    assert await ask() == set()
    for change, read_again in [
        (Change(ChangeKind.RULES), {ports.Roles}),
        (Change(ChangeKind.AUTHORITY, str(server.root)), {ports.Users}),
        (Change(ChangeKind.AUTHORITY, str(NOBODY)), set()),
        (Change(ChangeKind.SESSION, str(session_id)), {ports.Sessions}),
        (Change(ChangeKind.CLIENT, FIRST_PARTY), {ports.Clients}),
    ]:
        feed.news = [News([change])]
        await authority.catch_up()
        assert await ask() == read_again, change
    feed.news = [News(reset=True)]
    await authority.catch_up()
    assert await ask() == {ports.Roles, ports.Users, ports.Sessions, ports.Clients}


async def test_keys_are_loaded_again_when_they_changed_and_until_that_succeeded(server, feed, counted):
    authority = await server.get(LiveAuthority)
    await authority.catch_up()
    assert counted[ports.Keys].calls["all"] == 0
    feed.news = [News([Change(ChangeKind.KEYS)])]
    counted[ports.Keys].all = _fail
    with pytest.raises(Unavailable):
        await authority.catch_up()
    del counted[ports.Keys].all
    await authority.catch_up()
    assert counted[ports.Keys].calls["all"] == 1
    await authority.catch_up()
    assert counted[ports.Keys].calls["all"] == 1


async def _fail():
    raise Unavailable("the database went away")


@pytest.mark.parametrize("question", ["facts", "rules", "session"])
async def test_what_was_read_before_the_news_came_is_not_kept(server, feed, counted, question):
    authority = await server.get(LiveAuthority)
    id = SessionId(new_id())
    ask, port, change = {
        "facts": (lambda: authority.facts(server.root), ports.Users, Change(ChangeKind.AUTHORITY, str(server.root))),
        "rules": (authority.rules, ports.Roles, Change(ChangeKind.RULES)),
        "session": (lambda: authority.session_open(id, server.clock.now()), ports.Sessions,
                    Change(ChangeKind.SESSION, str(id))),
    }[question]  # fmt: skip
    slow = counted[port]
    slow.asked.clear()
    slow.free.clear()
    asking = beside(ask())
    await asyncio.wait_for(slow.asked.wait(), 5)
    feed.news = [News([change])]
    await authority.catch_up()
    slow.free.set()
    await finished(asking)
    read = slow.calls.total()
    await ask()
    assert slow.calls.total() == read + 1


async def test_who_is_not_there_is_asked_for_every_time(server, counted):
    authority = await server.get(LiveAuthority)
    for _ in range(2):
        assert await authority.facts(NOBODY) is None
        assert await authority.client(ClientId("nobody")) is None
    assert counted[ports.Users].calls["facts"] == 2


def test_only_the_values_used_last_are_held():
    held = Recent(3)
    for number in range(3):
        held.put(number, str(number))
    assert held.get(0) == "0"
    held.put(3, "3")
    assert [held.get(n) for n in range(4)] == ["0", None, "2", "3"]
    held.drop(0)
    held.drop(0)
    assert held.get(0) is None
    held.clear()
    assert held.get(3) is None


# --------------------------------------------------------------------------------------------------------- the follower


async def test_the_follower_outlives_a_lost_feed_and_says_so_once(server, feed, caplog):
    caplog.set_level(logging.INFO, "application.authority")
    authority = await server.get(LiveAuthority)
    following = beside(authority.follow())
    await asyncio.wait_for(feed.idle.wait(), 5)

    async def heard(event):
        event.clear()
        await asyncio.wait_for(event.wait(), 5)

    feed.lost = True
    feed.hint.set()
    for _ in range(3):
        await heard(feed.asked)
    feed.lost = False
    await heard(feed.idle)
    assert authority.age == 0
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "the change feed is lost", "the change feed is back"
    ]  # fmt: skip
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


# ---------------------------------------------------------------------------------------------------------- two servers


async def test_what_one_server_acknowledged_the_other_feels(new_server):
    one, two = await new_server(), await new_server()
    zoe = (await one.a_user(ZOE)).user.id
    token = (await one.sign_in(ZOE)).access_token
    theirs, authenticate, operator = await two.get(LiveAuthority), await two.get(Authenticate), await one.operator()
    await two.catch_up()
    before = (await authenticate(token, ORIGIN)).facts.authv
    await (await one.get(DefineRole))(operator, "writer", RoleChanges({"permissions"}, permissions=["docs:write"]))
    await (await one.get(GrantRole))(operator, zoe, "writer")
    await two.catch_up()
    actor = await authenticate(token, ORIGIN)
    assert (actor.facts.authv > before, [g.role for g in actor.facts.grants]) == (True, ["writer"])
    assert "writer" in actor.rules.roles
    await (await one.get(SuspendUser))(operator, zoe)
    await two.catch_up()
    assert (await theirs.facts(zoe)).status is UserStatus.SUSPENDED
    with pytest.raises(NotAuthenticated):
        await authenticate(token, ORIGIN)


async def test_a_session_ended_at_one_server_is_over_at_the_other(new_server):
    one, two = await new_server(), await new_server()
    token = (await one.sign_in(ROOT)).access_token
    actor = await (await two.get(Authenticate))(token, ORIGIN)
    await (await one.get(SignOut))(actor)
    await two.catch_up()
    with pytest.raises(NotAuthenticated) as refused:
        await (await two.get(Authenticate))(token, ORIGIN)
    assert refused.value.reason_code == "session_ended"


async def test_a_session_is_over_when_its_time_has_come(server):
    token = (await server.sign_in(ROOT)).access_token
    session_id = SessionId((await (await server.get(Authenticate))(token, ORIGIN)).session_id)
    authority, began = await server.get(LiveAuthority), server.clock.now()
    assert await authority.session_open(session_id, began + SESSION_LIFETIME - MICROSECOND)
    assert not await authority.session_open(session_id, began + SESSION_LIFETIME)


async def test_roles_defined_elsewhere_come_with_a_higher_version(server, feed):
    authority = await server.get(LiveAuthority)
    before = await authority.rules()
    await within(server.store, server.store.roles.add(a_role("late")), server.store.changes.rules())
    feed.news = [News([Change(ChangeKind.RULES)])]
    await authority.catch_up()
    after = await authority.rules()
    assert ("late" in before.roles, "late" in after.roles) == (False, True)
    assert after.version > before.version
