"""Users: found by whatever name, listed in order, unique whatever the case."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_grant, a_user, new_id
from contracts.steps import at_once, beside, every_page, finished, waits, within
from domain.errors import Conflict, Invalid
from domain.ports import UserQuery, UserSort
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserStatus, email_key, parse_email, username_key

ALL = (EVERYWHERE,)
MICROSECOND = timedelta(microseconds=1)

UNUSUAL = {
    "a dot in the mail name": {"email": "first.last@example.org"},
    "dots at the edges": {"email": ".first..last.@example.org"},
    "another script": {"email": "李@例え.jp", "username": "李", "display_name": "李 小龍"},
    "composed": {"email": "zoë@example.org", "username": "zoë", "display_name": "Zoë"},
    "quotes and patterns": {"email": "o'hara%_\\@example.org", "username": "%_\\'\"", "display_name": "%_\\ ; DROP --"},
    "beyond the basic plane": {"email": "😀@example.org", "username": "𝔷𝔬𝔢", "display_name": "👩‍👩‍👧 𒀀"},
    "right to left": {"email": "שלום@example.org", "username": "שלום", "display_name": "שָׁלוֹם"},
    "folding that lengthens": {"email": "İßŉ@example.org", "username": "ﷺ" * 64, "display_name": "ŉ" * 200},
    "the longest": {"email": "😀" * 242 + "@example.org", "username": "😀" * 64, "display_name": "😀" * 200},
    "all set": {
        "status": UserStatus.INVITED, "email_verified": False, "locale": "zh-Hant-TW", "version": 2**31 - 1,
        "scope": Scope("/".join(["a" * 50] * 5)), "created_at": NOW - 365 * DAY + MICROSECOND,
        "updated_at": NOW + 999_999 * MICROSECOND,
    },
    "nothing set": {"username": None, "display_name": None, "locale": None},
}  # fmt: skip


async def add(store, *users):
    async with store.transaction():
        for user in users:
            await store.users.add(user)


async def listed(store, between=None, **query):
    query = {"scopes": ALL, **query}
    return await every_page(store, lambda after: store.users.page(UserQuery(**{**query, "after": after})), between)


def ids(users):
    return [user.id for user in users]


@pytest.mark.parametrize("changes", UNUSUAL.values(), ids=UNUSUAL.keys())
async def test_R06_whatever_was_stored_can_be_read_back(store, changes):
    user = a_user(**changes)
    await add(store, user)
    async with store.transaction():
        assert await store.users.find(user.id) == user
        assert await store.users.locked(user.id) == user
        assert await store.users.by_login(user.email) == user
        assert await store.users.find_many([user.id]) == {user.id: user}
        for sort in UserSort:
            assert list((await store.users.page(UserQuery(ALL, sort=sort))).items) == [user]
        if user.username is not None:
            assert await store.users.by_login(user.username) == user
        if user.display_name is not None:
            assert list((await store.users.page(UserQuery(ALL, text=user.display_name))).items) == [user]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(name=st.text(max_size=60), display_name=st.one_of(st.none(), st.text(max_size=100)))
async def test_R06_any_accepted_address_and_name_can_be_read_back(store, name, display_name):
    try:
        email = parse_email(f"{name}{new_id().hex}@example.org")
    except Invalid:
        return
    if display_name is not None and any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in display_name):
        return
    user = a_user(email=email, display_name=display_name)
    await add(store, user)
    assert await within(store, store.users.by_login(email.upper().lower())) in {user, None}
    assert await within(store, store.users.by_login(email)) == user


async def test_of_somebody_unknown_there_is_nothing(store):
    unknown = a_user()
    async with store.transaction():
        assert await store.users.find(unknown.id) is None
        assert await store.users.locked(unknown.id) is None
        assert await store.users.by_login(unknown.email) is None
        assert await store.users.by_login("nobody") is None
        assert await store.users.by_login("") is None
        assert await store.users.facts(unknown.id) is None
        assert await store.users.last_sign_in(unknown.id) is None
        assert await store.users.find_many([unknown.id]) == {}
        assert await store.users.find_many([]) == {}


@pytest.mark.parametrize("text", ["\x00", "a\x00b@example.org", "\ud800", "\udfff@example.org", "x" * 10_000])
async def test_R18_a_name_that_cannot_exist_finds_nobody(store, text):
    await add(store, a_user(email="a@example.org"))
    assert await within(store, store.users.by_login(text)) is None
    assert await listed(store, text=text) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A@example.org", "a@EXAMPLE.org"),
        ("zoë@example.org", "zoe\u0308@example.org"),
        ("straße@example.org", "STRASSE@example.org"),
        ("İ@example.org", "i\u0307@example.org"),
    ],
)
async def test_R16_addresses_that_differ_in_case_or_composition_are_one_account(store, one, other):
    first = a_user(email=one)
    await add(store, first)
    with pytest.raises(Conflict) as refused:
        await add(store, a_user(email=other))
    assert refused.value.reason_code == "email_taken"
    assert await within(store, store.users.by_login(other)) == first
    assert await listed(store) == [first]


async def test_R16_of_two_parallel_adds_of_one_address_in_different_case_one_is_left(store):
    for number in range(5):
        outcomes = await at_once(
            add(store, a_user(email=f"Race{number}@example.org")), add(store, a_user(email=f"rACE{number}@example.org"))
        )
        assert sorted(type(outcome) for outcome in outcomes if outcome) == [Conflict]
        assert len(await listed(store, text=f"race{number}@")) == 1


async def test_usernames_are_unique_whatever_their_case_or_width(store):
    await add(store, a_user(username="Zoe"))
    for username in ("zoe", "ZOE", "ｚｏｅ"):
        with pytest.raises(Conflict) as refused:
            await add(store, a_user(username=username))
        assert refused.value.reason_code == "username_taken"


async def test_any_number_of_users_have_no_username(store):
    await add(store, a_user(username=None), a_user(username=None))


async def test_a_changed_user_is_stored_and_found_by_the_new_names_only(store):
    user = a_user(email="old@example.org", username="old")
    changed = user.changed(NOW + SECOND, email="new@example.org", username="new", display_name=None, locale="de")
    await add(store, user)
    async with store.transaction():
        await store.users.locked(user.id)
        await store.users.save(changed)
    async with store.transaction():
        assert await store.users.find(user.id) == changed
        assert await store.users.by_login("NEW@example.org") == changed
        assert await store.users.by_login("New") == changed
        assert await store.users.by_login("old@example.org") is None
        assert await store.users.by_login("old") is None


async def test_a_user_may_change_the_case_of_their_own_address(store):
    user = a_user(email="zoe@example.org", username="zoe")
    await add(store, user)
    await within(store, store.users.save(user.changed(NOW, email="Zoe@example.org", username="ZOE")))
    assert (await within(store, store.users.by_login("zoe"))).email == "Zoe@example.org"


@pytest.mark.parametrize(
    ("changes", "code"), [({"email": "TAKEN@example.org"}, "email_taken"), ({"username": "TAKEN"}, "username_taken")]
)
async def test_nobody_can_change_to_a_name_that_is_taken(store, changes, code):
    user = a_user(email="mine@example.org", username="mine")
    await add(store, user, a_user(email="taken@example.org", username="taken"))
    with pytest.raises(Conflict) as refused:
        await within(store, store.users.locked(user.id), store.users.save(user.changed(NOW, **changes)))
    assert refused.value.reason_code == code
    assert await within(store, store.users.find(user.id)) == user


async def test_a_purged_user_keeps_the_id_and_frees_the_names(store):
    user = a_user(email="zoe@example.org", username="zoe")
    await add(store, user)
    await within(store, store.users.save(user.purged(NOW)))
    async with store.transaction():
        assert (await store.users.find(user.id)).status is UserStatus.DELETED
        assert await store.users.by_login("zoe@example.org") is None
        assert await store.users.by_login(user.purged(NOW).email) is None
    await add(store, a_user(email="zoe@example.org", username="zoe"))


async def test_only_deleted_users_are_left_out_unless_asked_for(store):
    everybody = [a_user(status=status) for status in UserStatus]
    await add(store, *everybody)
    assert ids(await listed(store)) == [u.id for u in everybody if u.status is not UserStatus.DELETED]
    for user in everybody:
        assert await listed(store, status=user.status) == [user]


@pytest.mark.parametrize("limit", [1, 3, 50])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", UserSort)
async def test_pages_are_complete_in_order_and_without_repetition(store, sort, descending, limit):
    """Times repeat and differ by microseconds; addresses sort by code point of their key."""
    names = ["b", "B2", "a", "_", "~", "é", "e", "Z", "😀", "\uffee", "a-", "a."]
    times = [NOW, NOW + MICROSECOND, NOW - MICROSECOND, NOW]
    people = [
        a_user(email=f"{name}@example.org", created_at=times[n % len(times)], scope=Scope(f"n/{n}"))
        for n, name in enumerate(names)
    ]
    await add(store, *reversed(people))
    keys = {UserSort.CREATED_AT: lambda u: (u.created_at, u.id), UserSort.EMAIL: lambda u: (email_key(u.email), u.id)}
    expected = sorted(people, key=keys[sort], reverse=descending)
    assert ids(await listed(store, sort=sort, descending=descending, limit=limit)) == ids(expected)


async def test_the_last_page_says_that_it_is_the_last_even_when_full(store):
    await add(store, *(a_user() for _ in range(4)))
    first = await within(store, store.users.page(UserQuery(ALL, limit=2)))
    second = await within(store, store.users.page(UserQuery(ALL, limit=2, after=first.after)))
    assert first.after is not None
    assert (len(second.items), second.after) == (2, None)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", UserSort)
async def test_who_was_there_is_listed_exactly_once_while_others_come_and_go(store, sort, descending):
    people = [a_user(email=f"m{n:02}@example.org", created_at=NOW + n * SECOND) for n in range(10)]
    goers = [a_user(email=f"m{n:02}x@example.org", created_at=NOW + n * SECOND) for n in range(10)]
    await add(store, *people, *goers)
    turn = iter(range(100))

    async def somebody_comes_and_goes():
        n = next(turn)
        for place, name in ((-1, "a"), (n, f"m{n:02}"), (99, "z")):
            email = f"{name}{new_id().hex}@example.org"
            await add(store, a_user(email=email, created_at=NOW + place * SECOND))
        await within(store, store.users.save(goers[n].purged(NOW)))

    seen = ids(await listed(store, somebody_comes_and_goes, sort=sort, descending=descending, limit=3))
    assert len(seen) == len(set(seen))
    assert set(ids(people)) <= set(seen)


@pytest.mark.parametrize(
    ("sort", "text"),
    [
        (UserSort.CREATED_AT, "zoe@example.org"),
        (UserSort.CREATED_AT, ""),
        (UserSort.CREATED_AT, "2026-13-01T00:00:00+00:00"),
        (UserSort.CREATED_AT, "0001-01-01T00:00:00+14:00"),
        (UserSort.EMAIL, "a\x00"),
        (UserSort.EMAIL, "\ud800"),
    ],
)
async def test_R18_a_position_that_is_none_of_this_list_is_refused(store, sort, text):
    await add(store, a_user())
    with pytest.raises(Invalid) as refused:
        await within(store, store.users.page(UserQuery(ALL, sort=sort, after=(text, new_id()))))
    assert refused.value.fields[0].code == "cursor_malformed"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A.B", {"a.b", "A.bc"}),
        ("a_", {"a_c"}),
        ("a%", {"a%c"}),
        ("a\\", {"a\\c"}),
        ("%", set()),
        ("_", set()),
        ("\\", set()),
        ("a", {"a.b", "A.bc", "a_c", "a%c", "a\\c", "axc"}),
        (".", set()),
        ("", {"a.b", "A.bc", "a_c", "a%c", "a\\c", "axc", "ß"}),
        ("SS", {"ß"}),
        ("ß", {"ß"}),
    ],
)
@pytest.mark.parametrize("attribute", ["email", "username", "display_name"])
async def test_R17_a_prefix_is_taken_literally_whatever_its_case(store, attribute, text, found):
    names = ["a.b", "A.bc", "a_c", "a%c", "a\\c", "axc", "ß"]
    plain = [{"email": f"0{n}@x", "username": f"1{n}", "display_name": f"2{n}"} for n in range(len(names))]
    people = {}
    for name, other in zip(names, plain, strict=True):
        value = f"{name}@example.org" if attribute == "email" else name
        people[name] = a_user(**{**other, attribute: value})
    await add(store, *people.values())
    assert {u.id for u in await listed(store, text=text)} == {people[name].id for name in found}


letters = st.text("aA%_\\ßéE\u0301İ. ", max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(st.lists(st.tuples(letters, letters, letters), max_size=5), letters, st.sampled_from(UserSort))
async def test_searching_equals_comparing_prefixes_in_memory(store, names, text, sort):
    people = [
        a_user(email=f"{e}{new_id().hex}@x", username=f"{u}{new_id().hex}", display_name=d or None, scope=Scope("here"))
        for e, u, d in names
    ]
    await add(store, *people)
    expected = {
        user.id
        for user in people
        if email_key(user.email).startswith(email_key(text))
        or username_key(user.username).startswith(username_key(text))
        or (user.display_name is not None and email_key(user.display_name).startswith(email_key(text)))
    }
    found = {user.id for user in await listed(store, text=text, sort=sort, scopes=[Scope("here")])}
    assert found & {user.id for user in people} == expected


segments = st.sampled_from(["org", "Org", "o_g", "acme", "acme-2", "acme.", "a", "~", "x"])
scopes = st.one_of(st.just(EVERYWHERE), st.lists(segments, min_size=1, max_size=3).map(lambda s: Scope("/".join(s))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(st.lists(scopes, min_size=1, max_size=6), st.lists(scopes, max_size=3), st.booleans())
async def test_filtering_by_scope_equals_reaching_it_segment_by_segment(store, places, asked, descending):
    people = [a_user(scope=place) for place in places]
    await add(store, *people)
    found = {user.id for user in await listed(store, scopes=asked, descending=descending)}
    expected = {user.id for user in people if any(scope.reaches(user.scope) for scope in asked)}
    assert found & {user.id for user in people} == expected


async def test_a_locked_user_makes_the_next_caller_wait_and_see_the_change(store):
    user = a_user()
    await add(store, user)
    async with store.transaction():
        held = await store.users.locked(user.id)
        other = beside(within(store, store.users.locked(user.id)))
        assert await waits(other)
        await store.users.save(held.changed(NOW, display_name="Changed"))
    assert (await finished(other)).display_name == "Changed"


async def test_parallel_changes_under_the_lock_are_all_counted(store):
    user = a_user()
    await add(store, user)

    async def change():
        async with store.transaction():
            held = await store.users.locked(user.id)
            await store.users.save(held.changed(NOW))

    await at_once(*(change() for _ in range(20)))
    assert (await within(store, store.users.find(user.id))).version == 21


async def test_facts_tell_status_version_and_every_grant_that_has_not_expired(store):
    user, other = a_user(status=UserStatus.SUSPENDED), a_user()
    held = [
        a_grant(user, "user"),
        a_grant(user, "manager", scope=Scope("org/acme"), starts_at=NOW + 10_000 * DAY),
        a_grant(user, "admin", expires_at=NOW + 10_000 * DAY),
    ]
    async with store.transaction():
        await store.users.add(user)
        await store.users.add(other)
        for grant in [*held, a_grant(other, "user")]:
            await store.grants.add(grant)
    facts = await within(store, store.users.facts(user.id))
    assert (facts.user_id, facts.status) == (user.id, UserStatus.SUSPENDED)
    assert sorted(facts.grants, key=lambda g: g.id) == held
    await within(store, store.changes.authority(user.id))
    after = await within(store, store.users.facts(user.id))
    assert after.authv == facts.authv + 1


async def test_a_sign_in_is_remembered_and_changes_no_version(store):
    user = a_user()
    await add(store, user)
    await within(store, store.users.record_sign_in(user.id, NOW))
    await within(store, store.users.record_sign_in(user.id, NOW + SECOND))
    await within(store, store.users.record_sign_in(user.id, NOW - SECOND))
    async with store.transaction():
        assert await store.users.last_sign_in(user.id) == NOW + SECOND
        assert await store.users.find(user.id) == user
