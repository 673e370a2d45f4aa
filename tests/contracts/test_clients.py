"""Clients: those that are built in, those that are registered, and what a lock on one keeps out."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from builders import DAY, NOW, SECOND, a_family, a_session, a_user, an_application
from contracts.steps import Mishap, at_once, beside, every_page, failing, finished, waits, within
from domain.clients import (
    ACCESS_TOKEN_LIFETIME,
    BUILT_IN,
    FAMILY_IDLE,
    FAMILY_LIFETIME,
    FIRST_PARTY,
    PAGES,
    AuthMethod,
    ClientId,
    ClientSecret,
    GrantType,
    IdTokenAlgorithm,
    secret_hash,
)
from domain.ports import Change, ChangeKind, ClientQuery
from domain.scopes import EVERYWHERE, Scope

ODD_TEXTS = ["", "HEXWARD-API", "ghost", "\x00", "\ud800", "x" * 10_000]


async def registered(store, **changes):
    client = an_application(**changes)
    await within(store, store.clients.add(client))
    return client


async def deleted(store):
    """A client as its deletion leaves it."""
    client = await registered(store)
    gone = client.changed(NOW + SECOND, enabled=False, secrets=(), deleted_at=NOW + SECOND)
    await within(store, store.clients.locked(client.id), store.clients.save(gone))
    return gone


async def listed(store, *scopes, **asked):
    return await every_page(
        store, lambda after: store.clients.page(ClientQuery(scopes or (EVERYWHERE,), after=after, **asked))
    )


async def ids(store, *scopes, **asked):
    return [client.id for client in await listed(store, *scopes, **asked)]


@pytest.mark.parametrize("id", sorted(BUILT_IN))
async def test_a_fresh_store_holds_the_clients_that_are_built_in(store, id):
    client = await within(store, store.clients.find(id))
    assert (client.id, client.built_in, client.enabled, client.version) == (id, True, True, 1)
    assert client.name
    assert (client.access_token_lifetime, client.family_idle, client.family_lifetime) == (
        ACCESS_TOKEN_LIFETIME,
        FAMILY_IDLE,
        FAMILY_LIFETIME,
    )
    assert (client.confidential, client.trusted, client.scopes, client.secrets) == (False, False, (), ())


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_an_unknown_client_is_none(store, text):
    async with store.transaction():
        assert await store.clients.find(ClientId(text)) is None
        assert await store.clients.held(ClientId(text)) is None
        assert await store.clients.locked(ClientId(text)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"auth_method": AuthMethod.NONE, "secrets": (), "grant_types": frozenset(), "created_at": None},
        {"auth_method": AuthMethod.POST, "grant_types": frozenset(GrantType)},
        {"name": "Zoë 李 😀 'quoted\"", "scope_path": Scope("org/acme"), "enabled": False, "version": 7},
        {
            "redirect_uris": ("https://b.example/", "http://127.0.0.1/a?x={,}", "org.example.app:/cb", 'https://c/"'),
            "post_logout_redirect_uris": ("https://z.example/bye", "https://a.example/bye"),
            "scopes": ("write", "openid", "a:b", "{}", "NULL", "a,b"),
            "audiences": ("https://b.example/", "urn:example:api", "https://a.example/"),
        },
        {"access_token_lifetime": timedelta(hours=24), "family_idle": SECOND, "family_lifetime": 89 * DAY},
        {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "eA", "y": "e'\\Q", "use": "sig", "ext": True}]}},
        {"auth_method": AuthMethod.PRIVATE_KEY_JWT, "jwks_uri": "https://app.example.org/keys", "secrets": ()},
        {"id_token_algorithm": IdTokenAlgorithm.ES256, "trusted": True, "require_pkce": False},
        {"token_url_audience": True, "may_introspect": True, "updated_at": NOW + timedelta(microseconds=1)},
        {
            "secrets": (
                ClientSecret(secret_hash("old"), NOW - DAY, NOW + timedelta(microseconds=1)),
                ClientSecret(secret_hash("new"), NOW),
            )
        },
    ],
)
async def test_whatever_was_stored_can_be_read_back(store, changes):
    added = await registered(store, **changes)
    other = an_application(id=added.id, **{**changes, "version": 9})
    async with store.transaction():
        assert await store.clients.find(added.id) == added
        assert await store.clients.held(added.id) == added
        assert await store.clients.locked(added.id) == added
        await store.clients.save(other)
        assert await store.clients.find(added.id) == other


async def test_every_attribute_can_be_changed_back_to_what_it_is_by_default(store):
    rich = await registered(
        store, jwks={"keys": []}, jwks_uri="https://app.example.org/keys", audiences=("urn:example:api",), trusted=True,
        post_logout_redirect_uris=("https://a.example/",),
    )  # fmt: skip
    bare = replace(
        rich, jwks=None, jwks_uri=None, audiences=(), trusted=False, post_logout_redirect_uris=(), secrets=(),
        redirect_uris=(), scopes=(), grant_types=frozenset(),
    )  # fmt: skip
    await within(store, store.clients.locked(rich.id), store.clients.save(bare))
    assert await within(store, store.clients.find(rich.id)) == bare


async def test_an_id_is_never_used_again(store):
    first, gone = await registered(store), await deleted(store)
    for known in (first, gone):
        with pytest.raises(Exception, match=r"."):  # a broken promise of ours, not an answer to callers
            await within(store, store.clients.add(an_application(id=known.id, name="Another")))
    assert await within(store, store.clients.find(first.id)) == first
    assert await within(store, store.clients.find(gone.id)) is None


async def test_a_deleted_client_is_found_by_nobody(store):
    gone, left = await deleted(store), await registered(store)
    async with store.transaction():
        assert await store.clients.find(gone.id) is None
        assert await store.clients.held(gone.id) is None
        assert await store.clients.locked(gone.id) is None
    assert await ids(store) == [left.id]
    assert await ids(store, text=gone.name) == []


async def test_the_exit_check_of_a_family_still_knows_why_a_deleted_client_gets_nothing(store):
    client, user = await registered(store), a_user()
    session = a_session(user, client_id=client.id)
    family = a_family(session)
    await within(store, store.users.add(user), store.sessions.add(session), store.families.add(family))
    gone = client.changed(NOW, deleted_at=NOW)
    await within(store, store.clients.locked(client.id), store.clients.save(gone))
    found = await within(store, store.families.standing(family.id))
    assert found.client == gone
    assert found.client.refusal() == "client_disabled"


async def test_a_change_is_told_to_the_change_feed_and_a_new_client_need_not_be(store, new_feed):
    feed = await new_feed()
    client = await registered(store)
    await within(store, store.clients.locked(client.id), store.clients.save(client.changed(NOW, name="Renamed")))
    await feed.wait(1)
    assert Change(ChangeKind.CLIENT, client.id) in (await feed.read()).changes


async def test_what_a_failed_transaction_wrote_is_not_there(store, new_feed):
    feed = await new_feed()
    client, never = await registered(store), an_application()
    with pytest.raises(Mishap):
        await failing(store, store.clients.save(client.changed(NOW, name="Renamed")), store.clients.add(never))
    async with store.transaction():
        assert await store.clients.find(client.id) == client
        assert await store.clients.find(never.id) is None
    assert Change(ChangeKind.CLIENT, client.id) not in (await feed.read()).changes


# ---------------------------------------------------------------------------------------------------------------- locks


async def test_who_waits_for_a_locked_client_sees_what_was_done_to_it(store):
    client = await registered(store)
    disabled = client.changed(NOW, enabled=False)
    async with store.transaction():
        assert await store.clients.locked(client.id) == client
        holder = beside(within(store, store.clients.held(client.id)))
        locker = beside(within(store, store.clients.locked(client.id)))
        assert await waits(holder)
        assert await waits(locker)
        await store.clients.save(disabled)
    assert await finished(holder) == disabled
    assert await finished(locker) == disabled


async def test_who_waits_for_a_client_that_is_being_deleted_finds_none(store):
    client = await registered(store)
    async with store.transaction():
        await store.clients.locked(client.id)
        waiting = [beside(within(store, ask(client.id))) for ask in (store.clients.held, store.clients.locked)]
        assert await waits(waiting[0])
        assert await waits(waiting[1])
        await store.clients.save(client.changed(NOW, deleted_at=NOW))
    assert [await finished(task) for task in waiting] == [None, None]


async def test_a_held_client_cannot_be_locked_and_can_be_read(store):
    client = await registered(store)
    async with store.transaction():
        await store.clients.held(client.id)
        locker = beside(within(store, store.clients.locked(client.id)))
        assert await waits(locker)
    assert await finished(locker) == client


async def test_what_is_handed_out_under_a_hold_is_seen_by_whoever_locks_the_client(store):
    """Else a family that is being made while its client is disabled would outlive that."""
    client, user = await registered(store), a_user()
    session = a_session(user, client_id=client.id)
    family = a_family(session)
    await within(store, store.users.add(user), store.sessions.add(session))

    async def disable():
        async with store.transaction():
            await store.clients.locked(client.id)
            return (await store.families.standing(family.id)) is not None

    async with store.transaction():
        await store.clients.held(client.id)
        other = beside(disable())
        assert await waits(other)
        await store.families.add(family)
    assert await finished(other)


async def test_of_many_at_once_who_lock_a_client_no_change_is_lost(store):
    client = await registered(store)

    async def change():
        async with store.transaction():
            await store.clients.save((await store.clients.locked(client.id)).changed(NOW))

    assert await at_once(*(change() for _ in range(20))) == [None] * 20
    assert (await within(store, store.clients.find(client.id))).version == 21


# ---------------------------------------------------------------------------------------------------------------- pages


async def test_clients_come_in_order_of_creation_page_by_page_without_those_that_are_built_in(store):
    moments = [NOW, NOW - DAY, NOW, NOW + DAY, NOW]  # clocks differ; what was stored first comes first
    made = [await registered(store, created_at=at) for at in moments]
    for limit in (1, 2, 5, 50):
        assert await listed(store, limit=limit) == made
    assert not {FIRST_PARTY, PAGES} & set(await ids(store, limit=50))


async def test_a_page_goes_on_where_the_last_one_ended_whatever_happened_in_between(store):
    made = [await registered(store) for _ in range(4)]
    first = await within(store, store.clients.page(ClientQuery((EVERYWHERE,), limit=2)))
    await within(store, store.clients.locked(made[1].id), store.clients.save(made[1].changed(NOW, deleted_at=NOW)))
    late = await registered(store)
    rest = await within(store, store.clients.page(ClientQuery((EVERYWHERE,), after=first.after)))
    assert [*first.items, *rest.items] == [*made, late]
    assert rest.after is None


@pytest.mark.parametrize("number", [0, 2**63 - 1, 2**63, 2**64, 2**127, 2**128 - 1])
async def test_a_position_that_was_made_up_harms_nobody(store, number):
    client = await registered(store)
    page = await within(store, store.clients.page(ClientQuery((EVERYWHERE,), after=("", UUID(int=number)))))
    assert list(page.items) in ([], [client])


async def test_only_clients_at_or_below_the_scopes_are_listed(store):
    places = [EVERYWHERE, *map(Scope, ("org/acme", "org/acme/project/1", "org/acme-2", "org"))]
    made = {place: (await registered(store, scope_path=place)).id for place in places}
    everywhere, acme, below, other, org = made.values()
    assert await ids(store) == [everywhere, acme, below, other, org]
    assert await ids(store, Scope("org/acme")) == [acme, below]
    assert await ids(store, Scope("org/acme-2"), Scope("org/acme/project/1")) == [below, other]
    assert await ids(store, Scope("org")) == [acme, below, other, org]
    assert await ids(store, Scope("elsewhere")) == []
    assert list((await within(store, store.clients.page(ClientQuery(())))).items) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("app", {"Wiki App", "APPLE"}),
        ("PLE", {"APPLE"}),
        ("zoË", {"Zoë's Straße"}),
        ("Zoe\u0308", {"Zoë's Straße"}),
        ("STRASSE", {"Zoë's Straße"}),
        ("李", {"李 100%"}),
        ("%", {"李 100%"}),
        ("_", set()),
        ("", {"Wiki App", "APPLE", "Zoë's Straße", "李 100%"}),
        ("\x00", set()),
        ("\ud800", set()),
    ],
)
async def test_a_text_is_looked_for_in_names_caseless_and_literally(store, text, found):
    for name in ("Wiki App", "APPLE", "Zoë's Straße", "李 100%"):
        await registered(store, name=name)
    assert {client.name for client in await listed(store, text=text)} == found


async def test_a_renamed_client_is_found_by_its_new_name(store):
    client = await registered(store, name="Before")
    await within(store, store.clients.locked(client.id), store.clients.save(client.changed(NOW, name="ÄFTER")))
    assert await ids(store, text="after") == []
    assert await ids(store, text="äfter") == [client.id]
    assert await ids(store, text="before") == []
