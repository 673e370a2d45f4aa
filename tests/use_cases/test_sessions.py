"""Sign-in, refresh and sign-out: what is stored, who wins a race, and what time may not tell."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from application.keys import KeyRing, RotateKey
from application.roles import GrantRole, RevokeGrant
from application.sessions import Authenticate, RefreshSession, SignOut
from application.sign_in import FLOOR, FLOOR_WINDOW, LONGEST_FLOOR, Floor, SignIn
from application.turns import TRIES_AT_ONCE
from application.users import DeleteUser, SetPassword, SuspendUser
from builders import DAY, SECOND, SettableClock, a_family, a_session, a_user, an_event
from contracts.steps import at_once, beside, finished, waits, within
from domain import ports
from domain.audit import Action, Outcome
from domain.credentials import PasswordCredential
from domain.errors import Forbidden, InvalidGrant, NotAuthenticated, Overloaded, TooManyAttempts
from domain.keys import LEAD, KeyUse
from domain.ports import AccessTokens
from domain.scopes import Scope
from domain.sessions import GRACE, EndReason
from domain.tokens import RefreshToken, read_refresh_token, write_refresh_token
from http_world import PASSWORD
from use_cases.service import ORIGIN, ROOT, old_hash
from wired import instead

ZOE = "zoë@example.org"
WRONG = "not the right pass phrase"
OTHER = "a quite different pass phrase"


async def refresh(server, token):
    return await (await server.get(RefreshSession))(token, ORIGIN)


async def read(server, token):
    """What a refresh token says."""
    ring = await server.get(KeyRing)
    return read_refresh_token(token, lambda id: ring.refresh_key(id, server.clock.now()))


async def written(server, said):
    """The token that says this."""
    ring = await server.get(KeyRing)
    return write_refresh_token(said, ring.refresh_key(said.key_id, server.clock.now()))


async def family_of(server, token):
    async with server.store.transaction():
        family = await server.store.families.find((await read(server, token)).family_id)
        return family, await server.store.sessions.find(family.session_id)


async def outcomes(server, *actions):
    return [(e.outcome, e.reason) for e in await server.events() if e.action in actions]


# -------------------------------------------------------------------------------------------------------------- sign-in


async def test_a_sign_in_opens_one_session_and_says_so(anywhere):
    tokens = await anywhere.sign_in("ROOT@example.org")
    family, session = await family_of(anywhere, tokens.refresh_token)
    assert (family.counter, family.user_id, session.address, session.amr) == (0, anywhere.root, "192.0.2.7", ("pwd",))
    async with anywhere.store.transaction():
        assert await anywhere.store.users.last_sign_in(anywhere.root) == anywhere.clock.now()
    [event] = [e for e in await anywhere.events() if e.action is Action.SIGN_IN]
    assert (event.actor, event.subject) == (f"user:{anywhere.root}", f"session:{session.id}")
    assert (event.door, event.address, event.correlation_id) == ("test", "192.0.2.7", "story-1")
    assert event.details == {"amr": "pwd"}


async def changed_password(server, id):
    await (await server.get(SetPassword))(await server.operator(), id, OTHER)


async def suspended(server, id):
    await (await server.get(SuspendUser))(await server.operator(), id)


async def deleted(server, id):
    await (await server.get(DeleteUser))(await server.operator(), id, None)


@pytest.mark.parametrize("happen", [changed_password, suspended, deleted])
async def test_what_happens_between_the_comparison_and_the_session_counts(anywhere, happen):
    zoe = (await anywhere.a_user(ZOE)).user.id
    anywhere.hasher.meanwhile = lambda: happen(anywhere, zoe)
    with pytest.raises(InvalidGrant) as refused:
        await anywhere.sign_in(ZOE)
    assert refused.value.reason_code == "invalid_credentials"
    assert await within(anywhere.store, anywhere.store.sessions.open_of(zoe)) == []
    assert [o for o, _ in await outcomes(anywhere, Action.SIGN_IN, Action.SIGN_IN_FAILED)] == [Outcome.REFUSED]


async def test_sign_ins_beside_a_suspension_leave_no_open_session(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user.id
    await at_once(*(anywhere.sign_in(ZOE) for _ in range(5)), suspended(anywhere, zoe), anywhere.sign_in(ZOE))
    assert await within(anywhere.store, anywhere.store.sessions.open_of(zoe)) == []


async def set_hash(server, id, hash):
    credential = PasswordCredential(id, hash, server.clock.now())
    await within(server.store, server.store.credentials.set_password(credential))


async def test_an_outdated_hash_is_replaced_at_the_next_sign_in(anywhere):
    await set_hash(anywhere, anywhere.root, old_hash(PASSWORD))
    await anywhere.sign_in(ROOT)
    held = await within(anywhere.store, anywhere.store.credentials.password(anywhere.root))
    assert held.hash.startswith("quick$")
    await anywhere.sign_in(ROOT)


async def test_an_upgrade_never_overwrites_a_newer_password(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user.id
    await set_hash(anywhere, zoe, old_hash(PASSWORD))
    anywhere.hasher.meanwhile = lambda: changed_password(anywhere, zoe)
    with pytest.raises(InvalidGrant):
        await anywhere.sign_in(ZOE)
    await anywhere.sign_in(ZOE, OTHER)


async def test_first_party_sign_in_can_be_turned_off(new_server):
    server = await new_server(FIRST_PARTY_SIGN_IN="off")
    with pytest.raises(Forbidden) as refused:
        await server.sign_in(ROOT)
    assert refused.value.reason_code == "first_party_sign_in_off"


# ----------------------------------------------------------------------------------------------- what time may not tell


async def test_R07_every_refused_sign_in_costs_one_comparison_and_the_same_time(service):
    """One comparison each, so that a fake one for unknown accounts is not forgotten, and one floor for all."""
    await service.a_user(ZOE)
    await set_hash(service, (await service.a_user("old@example.org")).user.id, old_hash(PASSWORD))
    gone = await service.a_user("gone@example.org")
    await suspended(service, gone.user.id)
    await service.a_user("invited@example.org", password=None)
    service.hasher.cost = lambda hash: 0.2 if (hash or "").startswith("old$") else 0.03
    names = [
        ("nobody@example.org", PASSWORD),
        (ZOE, WRONG),
        ("old@example.org", WRONG),
        ("gone@example.org", PASSWORD),
        ("invited@example.org", PASSWORD),
        ("no\0body", PASSWORD),
    ]
    answers = []
    for name, password in names:
        began = service.clock.now()
        with pytest.raises(InvalidGrant) as refused:
            await service.sign_in(name, password)
        answers.append((service.clock.now() - began, refused.value.message, refused.value.reason_code))
    assert len(service.hasher.compared) == len(names)
    assert service.hasher.compared[0] is None
    assert set(answers) == {(timedelta(seconds=FLOOR), answers[0][1], "invalid_credentials")}


async def test_R07_a_slow_comparison_raises_the_floor_for_those_that_follow_and_is_forgotten():
    clock = SettableClock()
    floor = Floor(clock)

    async def lasts(seconds):
        began = clock.monotonic()
        clock.move(timedelta(seconds=seconds))
        await floor.fill_up(began, 0.0)
        return clock.monotonic() - began

    assert await lasts(0.1) == pytest.approx(FLOOR)
    assert await lasts(0.8) == pytest.approx(0.8), "a comparison never raises its own floor"
    assert [await lasts(0.8), await lasts(0.1)] == pytest.approx([1.0, 1.0]), "from then on nothing tells them apart"
    assert await lasts(30.0) == pytest.approx(30.0)
    assert await lasts(0.1) <= LONGEST_FLOOR, "one bad moment does not keep everybody waiting"
    for _ in range(2):
        clock.move(timedelta(seconds=FLOOR_WINDOW))
        await lasts(0.1)
    assert await lasts(0.1) == pytest.approx(FLOOR)


# ------------------------------------------------------------------------------------------------------------- guessing


@pytest.mark.parametrize("name", [ZOE, "nobody@example.org", "zoe.m", "nobody"])
async def test_guessing_is_slowed_down_more_and_more_whether_the_name_exists_or_not(service, name):
    await service.a_user(ZOE, username="zoe.m")
    for _ in range(5):
        with pytest.raises(InvalidGrant):
            await service.sign_in(name, WRONG)
    for wait in (1, 2, 4):
        compared = len(service.hasher.compared)
        with pytest.raises(TooManyAttempts) as refused:
            await service.sign_in(name.upper(), WRONG)
        assert refused.value.retry_after in {wait, wait + 1}
        assert len(service.hasher.compared) == compared, "a try that has to wait is not compared"
        service.clock.move(timedelta(seconds=wait))
        with pytest.raises(InvalidGrant):
            await service.sign_in(name, WRONG)


async def test_a_success_forgives_and_so_does_time(service):
    for _ in range(4):
        with pytest.raises(InvalidGrant):
            await service.sign_in(ROOT, WRONG)
    await service.sign_in(ROOT)
    for _ in range(5):
        with pytest.raises(InvalidGrant):
            await service.sign_in(ROOT, WRONG)
    with pytest.raises(TooManyAttempts):
        await service.sign_in(ROOT)
    service.clock.move(timedelta(minutes=15))
    await service.sign_in(ROOT)


async def test_parallel_guesses_are_all_counted(anywhere):
    results = await at_once(*(anywhere.sign_in(ROOT, WRONG) for _ in range(20)))
    assert {type(r) for r in results} <= {InvalidGrant, TooManyAttempts}
    refused = await outcomes(anywhere, Action.SIGN_IN_FAILED)
    key = (await anywhere.get(KeyRing)).account_key(ROOT)
    counted = await within(anywhere.store, anywhere.store.failures.get(key))
    assert counted.count == len(refused) == sum(isinstance(r, InvalidGrant) for r in results)
    with pytest.raises(TooManyAttempts):
        await anywhere.sign_in(ROOT)


async def test_of_one_account_only_so_many_tries_are_under_way_at_once(service):
    """They cannot count each other's failures yet; without a bound, a burst would be as many free guesses."""
    await service.a_user(ZOE)
    results = await at_once(*(service.sign_in(ROOT, WRONG) for _ in range(3 * TRIES_AT_ONCE)), service.sign_in(ZOE))
    assert not isinstance(results.pop(), BaseException), "others are not concerned"
    assert {type(r) for r in results} == {InvalidGrant, TooManyAttempts}
    assert len(service.hasher.compared) <= TRIES_AT_ONCE + 1
    service.clock.move(timedelta(minutes=15))
    await service.sign_in(ROOT)


async def test_a_try_that_was_shed_is_no_failure(service):
    async def full():
        raise Overloaded("full")

    service.hasher.meanwhile = full
    with pytest.raises(Overloaded):
        await service.sign_in(ROOT)
    key = (await service.get(KeyRing)).account_key(ROOT)
    assert await within(service.store, service.store.failures.get(key)) is None
    assert await outcomes(service, Action.SIGN_IN_FAILED) == []


async def test_the_trail_says_why_a_sign_in_failed_and_names_nobody_by_address(service):
    zoe = (await service.a_user(ZOE)).user.id
    gone = (await service.a_user("gone@example.org")).user.id
    await suspended(service, gone)
    for name in (ZOE, "gone@example.org", "nobody@example.org"):
        with pytest.raises(InvalidGrant):
            await service.sign_in(name, WRONG)
    failed = [e for e in await service.events() if e.action is Action.SIGN_IN_FAILED]
    assert [(e.subject, e.reason) for e in failed] == [
        (f"user:{zoe}", "password_wrong"), (f"user:{gone}", "user_suspended"), (None, "account_unknown")
    ]  # fmt: skip
    assert "@" not in repr(failed)


# -------------------------------------------------------------------------------------------------------------- refresh


async def test_two_hundred_parallel_refreshes_get_one_successor_also_while_the_key_changes(new_server):
    """Some come before the next MAC key takes over and the others after, at two servers."""
    one = await new_server()
    two = await new_server()
    await (await one.get(RotateKey))(await one.operator(), KeyUse.REFRESH)
    one.clock.move(LEAD[KeyUse.REFRESH] - SECOND)
    for server in (one, two):
        await server.catch_up()
    token = (await one.sign_in(ROOT)).refresh_token
    before = (await read(one, token)).key_id
    halfway = 0

    async def call(number):
        nonlocal halfway
        tokens = await refresh((one, two)[number % 2], token)
        halfway += 1
        if halfway == 50:
            one.clock.move(SECOND)
        return tokens

    results = await at_once(*(call(n) for n in range(200)))
    assert [r for r in results if isinstance(r, BaseException)] == []
    [successor] = {r.refresh_token for r in results}
    said = await read(one, successor)
    assert (said.counter, said.key_id) == (1, before)
    assert [reason for _, reason in await outcomes(one, Action.REFRESHED)].count(None) == 1
    third = await refresh(two, successor)
    assert (await read(one, third.refresh_token)).key_id != before, "the new key is in use now"
    assert (await refresh(one, successor)).refresh_token == third.refresh_token


class Gate:
    """The audit log, where one action stops at the door: everything of its transaction is done, but not committed."""

    def __init__(self, log, action):
        self._log, self._action = log, action
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def append(self, event):
        await self._log.append(event)
        if event.action is self._action:
            self.reached.set()
            await self.open.wait()


@pytest.mark.parametrize(
    ("happen", "action"),
    [
        (suspended, Action.USER_SUSPENDED),
        (changed_password, Action.PASSWORD_SET),
        (deleted, Action.USER_DELETED),
    ],
)
async def test_a_refresh_that_waits_while_the_user_is_shut_out_is_refused(new_server, adapter, happen, action):
    """PostgreSQL re-reads only the row it waited for: the family itself has to say that it is over."""
    gate = Gate(adapter[0].audit, action)
    operators = await new_server(instead(ports.AuditLog, gate))
    server = await new_server()
    zoe = (await server.a_user(ZOE)).user.id
    token = (await server.sign_in(ZOE)).refresh_token
    shutting = beside(happen(operators, zoe))
    await asyncio.wait_for(gate.reached.wait(), 10)
    refreshing = beside(refresh(server, token))
    assert await waits(refreshing)
    gate.open.set()
    await finished(shutting)
    with pytest.raises(InvalidGrant):
        await finished(refreshing)
    family, session = await family_of(server, token)
    assert (family.counter, family.ended_at is None, session.ended_at is None) == (0, False, False)
    assert await outcomes(server, Action.REFRESHED) == []


async def test_a_refresh_that_waits_while_its_session_is_signed_out_is_refused(new_server, adapter):
    gate = Gate(adapter[0].audit, Action.SIGN_OUT)
    gated = await new_server(instead(ports.AuditLog, gate))
    server = await new_server()
    token = (await server.sign_in(ROOT)).refresh_token
    leaving = beside((await gated.get(SignOut)).by_refresh_token(token, ORIGIN))
    await asyncio.wait_for(gate.reached.wait(), 10)
    refreshing = beside(refresh(server, token))
    assert await waits(refreshing)
    gate.open.set()
    await finished(leaving)
    with pytest.raises(InvalidGrant):
        await finished(refreshing)


async def test_refreshes_beside_a_suspension_leave_nothing_that_works(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user.id
    tokens = [(await anywhere.sign_in(ZOE)).refresh_token for _ in range(10)]
    results = await at_once(*(refresh(anywhere, t) for t in tokens), suspended(anywhere, zoe))
    assert {type(r) for r in results[:-1] if isinstance(r, BaseException)} <= {InvalidGrant}
    for token in [*tokens, *(r.refresh_token for r in results[:-1] if not isinstance(r, BaseException))]:
        with pytest.raises(InvalidGrant):
            await refresh(anywhere, token)


async def test_R02_a_replay_ends_family_and_session_and_is_told_once(anywhere):
    first = await anywhere.sign_in(ROOT)
    second = await refresh(anywhere, first.refresh_token)
    third = await refresh(anywhere, second.refresh_token)
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, first.refresh_token)
    family, session = await family_of(anywhere, first.refresh_token)
    assert (family.end_reason, session.end_reason) == (EndReason.REPLAYED, EndReason.REPLAYED)
    [event] = [e for e in await anywhere.events() if e.action is Action.REFRESH_REFUSED]
    assert (event.outcome, event.reason, event.actor, event.subject) == (
        Outcome.REFUSED, "replayed", f"user:{anywhere.root}", f"session:{session.id}"
    )  # fmt: skip
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, third.refresh_token)
    await anywhere.catch_up()
    with pytest.raises(NotAuthenticated):
        await (await anywhere.get(Authenticate))(third.access_token, ORIGIN)


async def test_R02_of_many_thieves_and_one_owner_at_once_nobody_keeps_a_token(anywhere):
    first = (await anywhere.sign_in(ROOT)).refresh_token
    second = (await refresh(anywhere, first)).refresh_token
    third = (await refresh(anywhere, second)).refresh_token
    results = await at_once(*(refresh(anywhere, t) for t in [first, third] * 10))
    assert all(isinstance(r, InvalidGrant) for r in results[::2])
    left = {r.refresh_token for r in results[1::2] if not isinstance(r, BaseException)}
    for token in left | {third}:
        with pytest.raises(InvalidGrant):
            await refresh(anywhere, token)
    assert [r for _, r in await outcomes(anywhere, Action.REFRESH_REFUSED)].count("replayed") == 1


async def test_R02_the_predecessor_is_a_replay_once_the_grace_is_over(anywhere):
    first = await anywhere.sign_in(ROOT)
    second = await refresh(anywhere, first.refresh_token)
    anywhere.clock.move(GRACE - timedelta(microseconds=1))
    assert (await refresh(anywhere, first.refresh_token)).refresh_token == second.refresh_token
    anywhere.clock.move(timedelta(microseconds=1))
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, first.refresh_token)
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, second.refresh_token)


async def test_a_token_from_the_future_of_the_row_ends_the_family_without_a_theft_alarm(anywhere):
    token = (await anywhere.sign_in(ROOT)).refresh_token
    said = await read(anywhere, token)
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, await written(anywhere, replace(said, counter=3)))
    family, session = await family_of(anywhere, token)
    assert (family.end_reason, session.end_reason) == (EndReason.ROLLED_BACK, EndReason.ROLLED_BACK)
    assert [r for _, r in await outcomes(anywhere, Action.REFRESH_REFUSED)] == ["state_rolled_back"]
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, token)


async def test_families_of_an_earlier_life_of_the_database_are_over(anywhere):
    ring = await anywhere.get(KeyRing)
    now = anywhere.clock.now()
    session = a_session(anywhere.root, created_at=now, expires_at=now + DAY)
    family = a_family(session, epoch=ring.epoch - 1, key_id=ring.active_refresh_key(now), created_at=now)
    async with anywhere.store.transaction():
        await anywhere.store.sessions.add(session)
        await anywhere.store.families.add(family)
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, await written(anywhere, RefreshToken(family.id, 0, family.epoch, family.key_id)))


async def test_a_family_that_never_was_is_refused_quietly(service):
    said = await read(service, (await service.sign_in(ROOT)).refresh_token)
    forged = await written(service, replace(said, family_id=a_family().id))
    before = await service.events()
    with pytest.raises(InvalidGrant):
        await refresh(service, forged)
    assert await service.events() == before


async def test_R14_times_are_judged_to_the_second_wherever_the_database_stands(store):
    """The test servers live in a time zone that changes its clocks within these thirty days."""
    began = datetime(2027, 3, 20, 12, tzinfo=UTC)
    user = a_user()
    session = a_session(user, created_at=began, expires_at=began + 30 * DAY)
    in_time, late = (a_family(session, idle=30 * DAY, created_at=began, rotated_at=began, expires_at=began + 90 * DAY)
                     for _ in range(2))  # fmt: skip
    over = began + 30 * DAY
    async with store.transaction():
        await store.users.add(user)
        await store.sessions.add(session)
        await store.families.add(in_time)
        await store.families.add(late)
        moment = over - timedelta(microseconds=1)
        assert await store.families.advance(in_time.id, 0, in_time.key_id, moment, an_event(moment)) is not None
        assert await store.families.advance(late.id, 0, late.key_id, over, an_event(over)) is None


async def test_a_session_left_idle_or_grown_old_gives_no_more_tokens(anywhere):
    idle, token = (await anywhere.sign_in(ROOT)).refresh_token, (await anywhere.sign_in(ROOT)).refresh_token
    anywhere.clock.move(timedelta(hours=7, minutes=59))
    token = (await refresh(anywhere, token)).refresh_token
    anywhere.clock.move(timedelta(minutes=1))
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, idle)
    for _ in range(4 * 30 - 2):
        anywhere.clock.move(timedelta(hours=6))
        token = (await refresh(anywhere, token)).refresh_token
    anywhere.clock.move(timedelta(hours=6))
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, token)
    assert {r for _, r in await outcomes(anywhere, Action.REFRESH_REFUSED)} == {"session_expired"}


async def test_R20_roles_are_those_of_the_moment_at_every_refresh_and_scoped_ones_are_left_out(service):
    zoe = (await service.a_user(ZOE, "user")).user.id
    tokens = await service.sign_in(ZOE)
    verify, grant = (await service.get(AccessTokens)).verify, await service.get(GrantRole)
    operator = await service.operator()
    assert verify(tokens.access_token, service.clock.now()).roles == ("user",)
    await grant(operator, zoe, "manager", expires_at=service.clock.now() + SECOND)
    await grant(operator, zoe, "admin", Scope("org/acme"))
    tokens = await refresh(service, tokens.refresh_token)
    claims = verify(tokens.access_token, service.clock.now())
    assert claims.roles == ("manager", "user")
    service.clock.move(SECOND)
    await (await service.get(RevokeGrant)).by_role(operator, zoe, "user")
    tokens = await refresh(service, tokens.refresh_token)
    later = verify(tokens.access_token, service.clock.now())
    assert later.roles == ()
    assert later.authv[0] > claims.authv[0]


# ------------------------------------------------------------------------------------------------------------- sign-out


async def test_R02_signing_out_ends_every_token_of_the_session_and_of_no_other(anywhere):
    leaving, staying = await anywhere.sign_in(ROOT), await anywhere.sign_in(ROOT)
    authenticate, sign_out = await anywhere.get(Authenticate), await anywhere.get(SignOut)
    actor = await authenticate(leaving.access_token, ORIGIN)
    await sign_out(actor)
    await anywhere.catch_up()
    with pytest.raises(InvalidGrant):
        await refresh(anywhere, leaving.refresh_token)
    with pytest.raises(NotAuthenticated):
        await authenticate(leaving.access_token, ORIGIN)
    await authenticate((await refresh(anywhere, staying.refresh_token)).access_token, ORIGIN)
    await sign_out(actor)
    await sign_out.by_refresh_token(leaving.refresh_token, ORIGIN)
    assert await outcomes(anywhere, Action.SIGN_OUT) == [(Outcome.SUCCESS, "signed_out")]


@pytest.mark.parametrize("token", ["", "hwr_", "x" * 99])
async def test_signing_out_with_what_is_no_token_is_no_error(service, token):
    await (await service.get(SignOut)).by_refresh_token(token, ORIGIN)
    assert await outcomes(service, Action.SIGN_OUT) == []


async def test_the_operator_has_no_session_to_leave(service):
    await (await service.get(SignOut))(await service.operator())
    assert await outcomes(service, Action.SIGN_OUT) == []


async def test_the_use_cases_keep_no_secret_in_their_words(service):
    tokens = await service.sign_in(ROOT)
    assert tokens.refresh_token not in repr(tokens)
    assert PASSWORD not in repr(await service.get(SignIn))


async def test_parallel_sign_outs_are_told_once(anywhere):
    token = (await anywhere.sign_in(ROOT)).refresh_token
    sign_out = await anywhere.get(SignOut)
    results = await at_once(*(sign_out.by_refresh_token(token, ORIGIN) for _ in range(5)))
    assert results == [None] * 5
    assert len(await outcomes(anywhere, Action.SIGN_OUT)) == 1
