"""Credentials: one password hash a user."""

from builders import NOW, SECOND, a_password, a_user
from contracts.steps import within


async def test_a_password_is_kept_replaced_and_forgotten(store):
    user = a_user()
    first = a_password(user)
    second = a_password(user, hash="$2b$12$" + "x" * 53, changed_at=NOW + SECOND)
    await within(store, store.users.add(user))
    assert await within(store, store.credentials.password(user.id)) is None
    for credential in (first, second):
        await within(store, store.credentials.set_password(credential))
        assert await within(store, store.credentials.password(user.id)) == credential
    await within(store, store.credentials.remove(user.id))
    assert await within(store, store.credentials.password(user.id)) is None


async def test_forgetting_a_password_that_is_not_there_changes_nothing(store):
    user = a_user()
    await within(store, store.users.add(user), store.credentials.remove(user.id))
    assert await within(store, store.credentials.password(user.id)) is None


async def test_passwords_of_others_stay(store):
    one, other = a_user(), a_user()
    async with store.transaction():
        for user in (one, other):
            await store.users.add(user)
            await store.credentials.set_password(a_password(user, hash=str(user.id)))
        await store.credentials.remove(one.id)
    assert (await within(store, store.credentials.password(other.id))).hash == str(other.id)
