"""A request with an Idempotency-Key: its change and its answer are stored together, or neither is."""

import asyncio

import pytest

from application.idempotency import AnsweredBefore, Idempotency
from application.sessions import RefreshSession
from application.users import CreateUser, NewUser, ShowUser
from domain.audit import Action
from domain.errors import Conflict, Invalid
from use_cases.service import ORIGIN, ROOT

ZOE = NewUser("zoe@example.org")


async def attempt(server, *, key="key", request=b"zoe", answer=b"created", new=ZOE):
    """Create a user, as the door does it: the answer, now or from before."""
    idempotency, create = await server.get(Idempotency), await server.get(CreateUser)
    try:
        async with idempotency(await server.operator(), "POST /users", key, request) as under_way:
            await create(await server.operator(), new)
            await under_way.conclude(answer)
    except AnsweredBefore as before:
        return before.answer, "again"
    return answer, "first"


async def told(server):
    """The outcome of an attempt, or the code of its refusal."""
    try:
        return await attempt(server)
    except Conflict as conflict:
        return conflict.reason_code


async def emails(server):
    async with server.store.transaction():
        found = [await server.store.users.by_login(email) for email in (ROOT, ZOE.email)]
    return [user.email for user in found if user is not None]


async def test_change_and_answer_are_stored_together(anywhere):
    assert await attempt(anywhere) == (b"created", "first")
    assert await attempt(anywhere) == (b"created", "again")
    assert await emails(anywhere) == [ROOT, ZOE.email]
    with pytest.raises(Invalid, match="fresh key"):
        await attempt(anywhere, request=b"li")


async def test_of_many_at_once_one_does_the_work(anywhere):
    outcomes = await asyncio.gather(*(told(anywhere) for _ in range(8)))
    assert outcomes.count((b"created", "first")) == 1
    assert set(outcomes) <= {(b"created", "first"), (b"created", "again"), "idempotency_key_in_use"}
    assert len(await anywhere.events(action=Action.USER_CREATED)) == 1


async def test_a_request_that_is_cut_off_before_its_answer_leaves_nothing(anywhere):
    idempotency, create = await anywhere.get(Idempotency), await anywhere.get(CreateUser)
    done = asyncio.Event()

    async def cut_off():
        async with idempotency(await anywhere.operator(), "POST /users", "key", b"zoe"):
            await create(await anywhere.operator(), ZOE)
            done.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(cut_off())
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await emails(anywhere) == [ROOT]
    outcomes = {"idempotency_key_in_use"}
    for _ in range(500):  # nobody waits for the rollback of who hung up, so the claim may outlive them by a moment
        if outcomes != {"idempotency_key_in_use"}:
            break
        outcomes = {await told(anywhere)}
        await asyncio.sleep(0.01)
    assert outcomes == {(b"created", "first")}


async def test_an_answer_that_nobody_gave_leaves_nothing(anywhere):
    idempotency, create = await anywhere.get(Idempotency), await anywhere.get(CreateUser)
    async with idempotency(await anywhere.operator(), "POST /users", "key", b"zoe"):
        await create(await anywhere.operator(), ZOE)
    assert await emails(anywhere) == [ROOT]


async def test_what_else_stands_alone_is_a_part_of_the_attempt(anywhere):
    """Ended without an answer, the attempt takes back a refresh, which by itself is kept whatever comes."""
    idempotency, refresh = await anywhere.get(Idempotency), await anywhere.get(RefreshSession)
    token = (await anywhere.sign_in(ROOT)).refresh_token
    async with idempotency(await anywhere.operator(), "POST /refresh", "key", b"") as under_way:
        await refresh(token, ORIGIN)
        assert under_way.begun
    events = [event.action for event in await anywhere.events()]
    assert Action.REFRESHED not in events


async def test_an_attempt_reads_what_it_has_written(anywhere):
    idempotency, create, show = [await anywhere.get(kind) for kind in (Idempotency, CreateUser, ShowUser)]
    operator = await anywhere.operator()
    async with idempotency(operator, "POST /users", "key", b"zoe") as under_way:
        await show(operator, anywhere.root)  # reading alone begins nothing
        assert not under_way.begun
        made = await create(operator, ZOE)
        assert (await show(operator, made.user.id)).user.email == ZOE.email
        await under_way.conclude(b"created")
    assert await emails(anywhere) == [ROOT, ZOE.email]


async def test_a_use_case_that_refuses_leaves_nothing_and_the_key_free(anywhere):
    with pytest.raises(Conflict, match="taken"):
        await attempt(anywhere, new=NewUser(ROOT))
    assert await attempt(anywhere) == (b"created", "first")


async def test_a_job_that_a_request_started_is_no_part_of_it(anywhere):
    idempotency, create = await anywhere.get(Idempotency), await anywhere.get(CreateUser)
    li = NewUser("li@example.org")
    async with idempotency(await anywhere.operator(), "POST /users", "key", b"zoe"):
        await asyncio.create_task(create(await anywhere.operator(), li))
    async with anywhere.store.transaction():
        assert await anywhere.store.users.by_login(li.email) is not None
