"""Transaction: all or nothing, for each caller alone."""

import asyncio
import contextlib
from itertools import permutations

import pytest

from builders import KEY_ID, NOW, a_family, a_grant, a_key, a_password, a_role, a_session, a_user, an_event
from contracts.steps import Mishap, at_once, beside, failing, finished, waits, within
from domain.clients import FIRST_PARTY
from domain.errors import Conflict
from domain.ports import AuditQuery, GrantQuery, UserQuery
from domain.scopes import EVERYWHERE
from domain.users import UserId


async def write_everything(store, user):
    role, session = a_role(), a_session(user)
    await store.users.add(user)
    await store.users.record_sign_in(user.id, NOW)
    await store.credentials.set_password(a_password(user))
    await store.failures.add(user.id.bytes, NOW)
    await store.roles.add(role)
    await store.grants.add(a_grant(user, role.name))
    await store.sessions.add(session)
    await store.keys.save([a_key()])
    await store.audit.append(an_event(subject=f"user:{user.id}"))
    await store.installations.prepared(b"secret", NOW)
    await store.changes.authority(user.id)
    await store.changes.rules()


async def everything(store, user):
    async with store.transaction():
        return (
            await store.users.find(user.id),
            await store.users.by_login(user.email),
            await store.users.last_sign_in(user.id),
            await store.credentials.password(user.id),
            await store.failures.get(user.id.bytes),
            (await store.roles.rules()).roles.keys(),
            (await store.roles.rules()).version,
            await store.grants.of_user(user.id),
            await store.sessions.open_of(user.id),
            await store.keys.all(),
            (await store.audit.page(AuditQuery([EVERYWHERE], subject=f"user:{user.id}"))).items,
            await store.installations.read(),
        )


async def test_what_a_transaction_wrote_is_there_after_it(store):
    user = a_user()
    await within(store, write_everything(store, user))
    found = await everything(store, user)
    assert found[0] == user
    assert all(found)


async def test_a_transaction_sees_what_it_wrote_itself(store):
    user = a_user()
    async with store.transaction():
        await store.users.add(user)
        assert await store.users.find(user.id) == user
        assert await store.users.by_login(user.email) == user


async def test_a_failure_leaves_nothing_behind(store):
    user = a_user()
    before = await everything(store, user)
    with pytest.raises(Mishap):
        await failing(store, write_everything(store, user))
    assert await everything(store, user) == before


async def undo_everything(store, user):
    await store.users.locked(user.id)
    await store.users.save(user.changed(NOW, email="other@example.org", username=None))
    await store.credentials.remove(user.id)
    await store.failures.clear(user.id.bytes)
    await store.failures.add(user.id.bytes, NOW)
    for grant in await store.grants.of_user(user.id):
        await store.grants.remove(grant.id)
        await store.roles.remove(grant.role)


async def test_a_failure_takes_back_changes_and_removals(store):
    user = a_user(username="zoe")
    await within(store, write_everything(store, user))
    before = await everything(store, user)
    with pytest.raises(Mishap):
        await failing(store, undo_everything(store, user))
    assert await everything(store, user) == before


async def test_a_caller_that_hangs_up_in_the_middle_leaves_nothing_behind(store):
    user = a_user()
    before = await everything(store, user)
    for _ in range(10):
        written = asyncio.Event()

        async def hang_up(written=written):
            async with store.transaction():
                await write_everything(store, user)
                written.set()
                await asyncio.Event().wait()

        task = beside(hang_up())
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finished(task)
    assert await everything(store, user) == before


async def test_callers_that_hang_up_at_any_moment_leave_all_or_nothing(store):
    users = [a_user() for _ in range(40)]

    async def write(user):
        async with store.transaction():
            await store.users.add(user)
            await store.credentials.set_password(a_password(user))

    tasks = [beside(write(user)) for user in users]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0.0005 * (number % 4))
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with store.transaction():
        for user in users:
            stored = await store.users.find(user.id)
            assert (stored is None) == (await store.credentials.password(user.id) is None)
    await within(store, store.users.add(a_user()))


async def test_others_do_not_see_what_is_not_committed(store):
    user, readers = a_user(), []

    async def somebody_looks():
        readers.append(beside(within(store, store.users.find(user.id))))
        await waits(readers[0])

    with pytest.raises(Mishap):
        await failing(store, store.users.add(user), somebody_looks())
    assert await finished(readers[0]) is None


async def test_what_a_transaction_wrote_is_lost_if_it_swallows_a_refusal(store):
    """Use cases let refusals pass; one that does not must fail in every adapter alike."""
    taken, other = a_user(), a_user()
    await within(store, store.users.add(taken))

    async def swallow():
        async with store.transaction():
            await store.users.add(other)
            with contextlib.suppress(Conflict):
                await store.users.add(a_user(email=taken.email))

    with pytest.raises(RuntimeError):
        await swallow()
    assert await within(store, store.users.find(other.id)) is None


async def test_transactions_do_not_nest(store):
    user = a_user()

    async def nest():
        async with store.transaction():
            await store.users.add(user)
            async with store.transaction():
                raise AssertionError("never reached")

    with pytest.raises(RuntimeError):
        await nest()
    assert await within(store, store.users.find(user.id)) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.users.find(UserId(a_user().id)),
        lambda store: store.users.add(a_user()),
        lambda store: store.users.page(UserQuery([EVERYWHERE])),
        lambda store: store.users.facts(a_user().id),
        lambda store: store.credentials.set_password(a_password(a_user())),
        lambda store: store.failures.add(b"key", NOW),
        lambda store: store.roles.rules(),
        lambda store: store.grants.page(GrantQuery([EVERYWHERE])),
        lambda store: store.clients.find("hexward-api"),
        lambda store: store.sessions.add(a_session()),
        lambda store: store.families.find(a_session().id),
        lambda store: store.keys.save([a_key()]),
        lambda store: store.audit.append(an_event()),
        lambda store: store.installations.read(),
        lambda store: store.changes.rules(),
    ],
    ids=[
        "find a user", "add a user", "list users", "facts", "set a password", "count a failure", "rules", "list grants",
        "find a client", "add a session", "find a family", "save keys", "append an event", "installation", "changes",
    ],
)  # fmt: skip
async def test_storage_is_used_inside_a_transaction_only(store, call):
    with pytest.raises(RuntimeError):
        await call(store)
    await within(store, store.users.add(a_user()))


async def test_R13_many_parallel_creates_all_succeed(store):
    users = [a_user() for _ in range(30)]
    assert await at_once(*(within(store, store.users.add(user)) for user in users)) == [None] * 30
    found = await within(store, store.users.find_many([user.id for user in users]))
    assert len(found) == 30


# ------------------------------------------------------------------------------------------------------------- reading


async def test_reads_that_stand_alone_see_what_is_committed_when_each_begins(store):
    user = a_user()
    async with store.transaction():
        await store.users.add(user)
    async with store.transaction.reading():
        assert await store.users.find(user.id) == user
        assert (await store.users.facts(user.id)).user_id == user.id
        assert (await store.roles.rules()).roles
        assert await store.clients.find(FIRST_PARTY)
        assert await store.keys.all() == []
        assert await store.sessions.find(a_session(user).id) is None
        assert (await store.installations.read()).epoch == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda store, user: store.users.save(user.changed(NOW, locale="de")),
        lambda store, user: store.users.record_sign_in(user.id, NOW),
        lambda store, user: store.failures.add(b"key", NOW),
        lambda store, user: store.audit.append(an_event()),
        lambda store, user: store.keys.save([a_key()]),
    ],
)
async def test_whoever_only_reads_cannot_write(store, write):
    user = a_user()
    await within(store, store.users.add(user))
    before = await everything(store, user)
    with pytest.raises(RuntimeError, match="needs a transaction"):
        async with store.transaction.reading():
            await write(store, user)
    assert await everything(store, user) == before


async def test_a_write_that_stands_alone_is_stored_when_it_returns_and_kept(store):
    session = a_session(user := a_user())
    family = a_family(session)
    await within(store, store.users.add(user), store.sessions.add(session), store.families.add(family))
    moved = []

    async def advance_and_fail():
        async with store.transaction.alone():
            assert (await store.families.standing(family.id)).family == family
            moved.append(await store.families.advance(family.id, 0, KEY_ID, NOW, an_event()))
            raise Mishap

    with pytest.raises(Mishap):
        await advance_and_fail()
    assert moved[0].counter == 1
    assert await within(store, store.families.find(family.id)) == moved[0]


async def test_reading_writing_alone_and_transactions_do_not_nest(store):
    transaction = store.transaction
    for outer, inner in permutations([transaction, transaction.reading, transaction.alone], 2):
        async with outer():
            with pytest.raises(RuntimeError, match="do not nest"):
                async with inner():
                    pass


async def test_what_goes_wrong_while_reading_leaves_the_next_one_alone(store):
    async def read_and_fail():
        async with store.transaction.reading():
            await store.installations.read()
            raise Mishap

    for _ in range(20):
        with pytest.raises(Mishap):
            await read_and_fail()
    await within(store, store.users.add(a_user()))
