"""One's own account: what registering tells and does not tell, and what a change of password asks for and ends."""

from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.memory.store import MemoryStore
from application.accounts import ChangeOwnPassword, Register, Registrant
from application.keys import KeyRing
from application.sessions import Authenticate, RefreshSession, SignOut
from application.sign_in import FLOOR
from application.turns import TRIES_AT_ONCE, Tries
from application.users import SetPassword, SuspendUser
from contracts.steps import at_once, within
from domain import ports
from domain.audit import Action, Outcome
from domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidGrant,
    NotAuthenticated,
    Overloaded,
    TooManyAttempts,
)
from domain.ports import UserQuery, Verdict
from domain.scopes import EVERYWHERE
from domain.users import UserStatus
from http_world import PASSWORD
from use_cases.service import ORIGIN, ROOT, a_server, old_hash
from wired import instead

ZOE = "zoë@example.org"
WRONG = "not the right pass phrase"
OTHER = "a quite different pass phrase"


async def register(server, email=ZOE, password=PASSWORD, **more):
    await (await server.get(Register))(Registrant(email, password, **more), ORIGIN)


async def registrations(server):
    return [event for event in await server.events() if event.action is Action.USER_REGISTERED]


async def everybody(server):
    async with server.store.transaction():
        return (await server.store.users.page(UserQuery((EVERYWHERE,), limit=100))).items


# ------------------------------------------------------------------------------------------------------------- register


async def test_who_registers_can_sign_in_holds_no_role_and_has_nothing_verified(new_server):
    server = await new_server(REGISTRATION="open")
    await register(server, username="zoe", display_name="Zoë", locale="de")
    [zoe] = [user for user in await everybody(server) if user.email == ZOE]
    assert (zoe.status, zoe.email_verified, zoe.scope) == (UserStatus.ACTIVE, False, EVERYWHERE)
    assert (zoe.username, zoe.display_name, zoe.locale) == ("zoe", "Zoë", "de")
    assert await within(server.store, server.store.grants.of_user(zoe.id)) == []
    await server.sign_in("zoe")
    [event] = await registrations(server)
    assert (event.actor, event.subject, event.outcome) == ("anonymous", f"user:{zoe.id}", Outcome.SUCCESS)
    assert (event.address, event.correlation_id) == ("192.0.2.7", "story-1")


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        ({"email": "ZOË@Example.org"}, "email_taken"),
        ({"email": "other@example.org", "username": "ZOE"}, "username_taken"),
    ],
    ids=["address", "username"],
)
async def test_a_name_that_is_taken_is_told_to_the_trail_alone(new_server, taken, reason):
    server = await new_server(REGISTRATION="open")
    zoe = (await server.a_user(ZOE, username="zoe")).user
    before = await everybody(server)
    await register(server, **taken, password=OTHER)
    assert await everybody(server) == before
    await server.sign_in(ZOE, PASSWORD)
    [event] = await registrations(server)
    assert (event.outcome, event.reason, event.subject) == (Outcome.REFUSED, reason, f"user:{zoe.id}")
    assert "@" not in repr(event)


async def test_of_many_registrations_of_one_address_in_different_case_one_is_made(new_server):
    server = await new_server(REGISTRATION="open")
    spellings = ["Zoe@example.org", "zoe@EXAMPLE.org", "ZOE@example.org", "zoE@Example.Org"] * 2
    assert set(await at_once(*(register(server, email) for email in spellings))) == {None}
    made, *refused = sorted(await registrations(server), key=lambda event: event.outcome is Outcome.REFUSED)
    assert [user.email.lower() for user in await everybody(server)] == [ROOT, "zoe@example.org"]
    assert made.outcome is Outcome.SUCCESS
    assert {(e.reason, e.subject) for e in refused} == {("email_taken", made.subject)}
    assert len(refused) == len(spellings) - 1


async def test_R07_a_taken_name_takes_the_same_time_and_the_same_hashing(clock):
    """Finding a name taken costs a second transaction, which the time of the answer must not show."""
    store = MemoryStore()

    @asynccontextmanager
    async def slow():
        clock.move(timedelta(seconds=0.05))
        async with store.transaction():
            yield

    async with a_server(store, store.feed, clock, instead(ports.Transaction, slow), REGISTRATION="open") as server:
        await server.a_user("taken@example.org", username="taken")
        seen = set()
        for email, username in (
            ("new@example.org", "new"), ("taken@example.org", "free"), ("free@example.org", "taken"),
        ):  # fmt: skip
            began, hashed = clock.monotonic(), server.hasher.hashed
            await register(server, email, username=username)
            seen.add((round(clock.monotonic() - began, 6), server.hasher.hashed - hashed))
    assert seen == {(FLOOR, 1)}


@pytest.mark.parametrize(
    ("settings", "email", "code"),
    [
        ({}, ZOE, "registration_closed"),
        ({}, ROOT, "registration_closed"),
        ({"REGISTRATION": "domains", "REGISTRATION_DOMAINS": "example.com"}, ROOT, "email_domain_not_allowed"),
        ({"REGISTRATION": "domains", "REGISTRATION_DOMAINS": "example.com"}, ZOE, "email_domain_not_allowed"),
    ],
)
async def test_where_registration_is_not_for_that_address_nothing_is_looked_up(clock, settings, email, code):
    store = MemoryStore()
    async with a_server(store, store.feed, clock, **settings) as server:
        events, hashed = await server.events(), server.hasher.hashed
        with pytest.raises(Forbidden) as refused:
            await register(server, email)
        assert refused.value.reason_code == code
        assert (await server.events(), server.hasher.hashed) == (events, hashed)


async def test_addresses_of_the_named_domains_register(clock):
    store = MemoryStore()
    named = {"REGISTRATION": "domains", "REGISTRATION_DOMAINS": "example.com,Example.org"}
    async with a_server(store, store.feed, clock, **named) as server:
        await register(server, "zoe@EXAMPLE.org")
        await server.sign_in("zoe@example.org")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"email": "nobody"}, "email_malformed"),
        ({"password": "too short"}, "password_too_short"),
        ({"email": "wolfgang@example.org", "password": "wolfgang wolfgang 1"}, "password_common"),
        ({"username": "a b"}, "username_malformed"),
        ({"email": ROOT, "password": "too short"}, "password_too_short"),
    ],
)
async def test_what_is_wrong_in_itself_is_told_before_anything_is_looked_up(clock, wrong, code):
    store = MemoryStore()
    async with a_server(store, store.feed, clock, REGISTRATION="open") as server:
        hashed = server.hasher.hashed
        with pytest.raises(Invalid) as refused:
            await register(server, **wrong)
        assert [f.code for f in refused.value.fields] == [code]
        assert server.hasher.hashed == hashed
        assert await registrations(server) == []


def test_a_password_does_not_show_in_what_somebody_registers_with():
    assert PASSWORD not in repr(Registrant(ZOE, PASSWORD))


# -------------------------------------------------------------------------------------------------------- own password


async def signed_in(server, email=ZOE, password=PASSWORD):
    """Somebody who has signed in: the actor, and the tokens of the session."""
    tokens = await server.sign_in(email, password)
    return await (await server.get(Authenticate))(tokens.access_token, ORIGIN), tokens


async def change(server, actor, current=PASSWORD, new=OTHER):
    await (await server.get(ChangeOwnPassword))(actor, current, new)


async def refresh(server, tokens):
    return await (await server.get(RefreshSession))(tokens.refresh_token, ORIGIN)


async def is_refused(server, tokens):
    with pytest.raises(InvalidGrant):
        await refresh(server, tokens)
    return True


async def changes(server):
    return [event for event in await server.events() if event.action is Action.PASSWORD_CHANGED]


async def test_a_new_password_ends_all_sessions_but_the_one_it_was_changed_from(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user
    others = [await anywhere.sign_in(ZOE) for _ in range(2)]
    actor, mine = await signed_in(anywhere)
    root = await anywhere.sign_in(ROOT)
    await change(anywhere, actor)
    for tokens in others:
        with pytest.raises(InvalidGrant):
            await refresh(anywhere, tokens)
    await refresh(anywhere, mine)
    await refresh(anywhere, root)
    with pytest.raises(InvalidGrant):
        await anywhere.sign_in(ZOE, PASSWORD)
    await anywhere.sign_in(ZOE, OTHER)
    [event] = await changes(anywhere)
    assert (event.actor, event.subject) == (f"user:{zoe.id}", f"user:{zoe.id}")
    assert (event.outcome, event.details) == (Outcome.SUCCESS, {"sessions_ended": 2})


async def test_a_wrong_current_password_changes_nothing_and_is_in_the_trail(service):
    zoe = (await service.a_user(ZOE)).user
    actor, mine = await signed_in(service)
    service.hasher.compared.clear()
    for wrong in (WRONG, "", "x" * 300):
        with pytest.raises(Forbidden) as refused:
            await change(service, actor, wrong)
        assert refused.value.reason_code == "password_wrong"
    assert len(service.hasher.compared) == 2, "what no account can have is not hashed"
    told = [(e.outcome, e.reason, e.subject) for e in await changes(service)]
    assert told == [(Outcome.REFUSED, "password_wrong", f"user:{zoe.id}")] * 3
    await refresh(service, mine)
    await service.sign_in(ZOE)


async def test_a_stolen_token_guesses_no_faster_than_sign_in_and_from_the_same_count(service):
    await service.a_user(ZOE)
    actor, _ = await signed_in(service)
    for _ in range(2):
        with pytest.raises(InvalidGrant):
            await service.sign_in(ZOE, WRONG)
    for _ in range(3):
        with pytest.raises(Forbidden):
            await change(service, actor, WRONG)
    compared = len(service.hasher.compared)
    with pytest.raises(TooManyAttempts):
        await change(service, actor, PASSWORD)
    with pytest.raises(TooManyAttempts):
        await service.sign_in(ZOE)
    assert len(service.hasher.compared) == compared


async def test_of_the_guesses_that_come_at_once_after_a_wait_one_is_tried(anywhere):
    await anywhere.a_user(ZOE)
    actor, _ = await signed_in(anywhere)
    for _ in range(5):
        with pytest.raises(Forbidden):
            await change(anywhere, actor, WRONG)
    anywhere.clock.move(timedelta(seconds=2))
    results = await at_once(*(change(anywhere, actor, WRONG) for _ in range(6)))
    assert sorted(type(r).__name__ for r in results) == ["Forbidden"] + ["TooManyAttempts"] * 5


async def test_comparisons_under_way_are_bounded_with_those_of_sign_in(service):
    await service.a_user(ZOE)
    actor, _ = await signed_in(service)
    key, tries = (await service.get(KeyRing)).account_key(ZOE.upper()), await service.get(Tries)
    with ExitStack() as under_way:
        for _ in range(TRIES_AT_ONCE):
            under_way.enter_context(tries.one_of(key))
        with pytest.raises(TooManyAttempts):
            await change(service, actor)
    await change(service, actor)


async def test_a_right_password_forgets_the_failures_of_all_names(service):
    await service.a_user(ZOE, username="zoe")
    actor, _ = await signed_in(service)
    for name in (ZOE, "zoe"):
        for _ in range(4):
            with pytest.raises(InvalidGrant):
                await service.sign_in(name, WRONG)
    await change(service, actor)
    for name in (ZOE, "zoe"):
        for _ in range(4):
            with pytest.raises(InvalidGrant):
                await service.sign_in(name, WRONG)
        await service.sign_in(name, OTHER)


class BusyHasher:
    """A hasher whose queue is full when it is told to be."""

    def __init__(self, hasher):
        self.hasher, self.busy = hasher, False

    async def hash(self, password: str) -> str:
        return await self.hasher.hash(password)

    async def verify(self, password: str, hash: str | None) -> Verdict:
        if self.busy:
            raise Overloaded("the queue is full")
        return await self.hasher.verify(password, hash)


async def test_a_try_that_was_shed_does_not_cost_its_turn(service):
    await service.a_user(ZOE)
    actor, _ = await signed_in(service)
    use_case = await service.get(ChangeOwnPassword)
    busy = BusyHasher(service.hasher)
    use_case = replace(use_case, prove=replace(use_case.prove, hasher=busy))
    for _ in range(5):
        with pytest.raises(Forbidden):
            await use_case(actor, WRONG, OTHER)
    service.clock.move(timedelta(seconds=2))
    busy.busy = True
    with pytest.raises(Overloaded):
        await use_case(actor, PASSWORD, OTHER)
    busy.busy = False
    await use_case(actor, PASSWORD, OTHER)


@pytest.mark.parametrize(
    ("new", "code"), [("too short", "password_too_short"), ("1234567890123456", "password_common")]
)
async def test_a_new_password_follows_the_rule_before_anything_is_compared(service, new, code):
    await service.a_user(ZOE)
    actor, _ = await signed_in(service)
    compared = len(service.hasher.compared)
    with pytest.raises(Invalid) as refused:
        await change(service, actor, WRONG, new)
    assert [(f.pointer, f.code) for f in refused.value.fields] == [("/new_password", code)]
    assert len(service.hasher.compared) == compared


async def test_an_account_without_a_password_has_none_to_change(service):
    zoe = (await service.a_user(ZOE)).user
    actor, _ = await signed_in(service)
    await within(service.store, service.store.credentials.remove(zoe.id))
    with pytest.raises(Conflict) as refused:
        await change(service, actor)
    assert refused.value.reason_code == "password_not_set"


async def test_the_command_has_no_password_of_its_own(service):
    with pytest.raises(Forbidden):
        await change(service, await service.operator())


async def set_by_another(server, actor):
    await (await server.get(SetPassword))(await server.operator(), actor.facts.user_id, "a password from the operator")


async def suspended(server, actor):
    await (await server.get(SuspendUser))(await server.operator(), actor.facts.user_id)


async def signed_out(server, actor):
    await (await server.get(SignOut))(actor)


async def changed_before(server, actor):
    await change(server, actor, new="the first of two new passwords")


@pytest.mark.parametrize(
    ("happen", "error", "code"),
    [
        (set_by_another, NotAuthenticated, "session_ended"),
        (suspended, NotAuthenticated, "session_ended"),
        (signed_out, NotAuthenticated, "session_ended"),
        (changed_before, Conflict, "password_changed"),
    ],
)
async def test_what_happens_between_the_comparison_and_the_change_counts(anywhere, happen, error, code):
    await anywhere.a_user(ZOE)
    actor, _ = await signed_in(anywhere)
    anywhere.hasher.meanwhile = lambda: happen(anywhere, actor)
    with pytest.raises(error) as refused:
        await change(anywhere, actor)
    assert refused.value.reason_code == code
    held = await within(anywhere.store, anywhere.store.credentials.password(actor.facts.user_id))
    assert not (await anywhere.hasher.verify(OTHER, held.hash)).matches


async def test_an_outdated_hash_proves_as_well(service):
    zoe = (await service.a_user(ZOE)).user
    actor, _ = await signed_in(service)
    async with service.store.transaction():
        held = await service.store.credentials.password(zoe.id)
        await service.store.credentials.set_password(replace(held, hash=old_hash(PASSWORD)))
    await change(service, actor)
    await service.sign_in(ZOE, OTHER)


async def test_no_refresh_that_is_under_way_outlives_a_change_of_password(anywhere):
    """Whichever comes first, the successor it made is refused afterwards; one's own goes on."""
    await anywhere.a_user(ZOE)
    others = [await anywhere.sign_in(ZOE) for _ in range(4)]
    actor, mine = await signed_in(anywhere)
    halves = (others[:2], others[2:])
    refreshes = [[refresh(anywhere, tokens) for tokens in half] for half in halves]
    results = await at_once(*refreshes[0], change(anywhere, actor), *refreshes[1], refresh(anywhere, mine))
    assert results[2] is None
    assert not isinstance(results[-1], BaseException)
    for outcome in (*results[:2], *results[3:-1]):
        assert isinstance(outcome, InvalidGrant) or await is_refused(anywhere, outcome)
    await refresh(anywhere, results[-1])


async def test_sign_ins_with_the_old_password_beside_a_change_leave_no_session_open(anywhere):
    zoe = (await anywhere.a_user(ZOE)).user
    actor, _ = await signed_in(anywhere)
    await at_once(*(anywhere.sign_in(ZOE) for _ in range(3)), change(anywhere, actor), anywhere.sign_in(ZOE))
    still = await within(anywhere.store, anywhere.store.sessions.open_of(zoe.id))
    assert [session.id for session in still] == [actor.session_id]


async def test_of_two_changes_at_once_one_is_made(anywhere):
    await anywhere.a_user(ZOE)
    actors = [(await signed_in(anywhere))[0] for _ in range(2)]
    results = await at_once(*(change(anywhere, actor) for actor in actors))
    assert sum(r is None for r in results) == 1
    assert len([e for e in await changes(anywhere) if e.outcome is Outcome.SUCCESS]) == 1
