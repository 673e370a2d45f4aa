"""AuditLog: what was written can be found again, newest first, and nothing can change it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import NOW, SECOND, an_event, new_id
from contracts.steps import every_page, within
from domain.audit import Action, Outcome
from domain.ports import AuditQuery
from domain.scopes import EVERYWHERE, Scope


async def add(store, *events):
    async with store.transaction():
        for event in events:
            await store.audit.append(event)


async def listed(store, between=None, **query):
    query = {"scopes": [EVERYWHERE], **query}
    return await every_page(store, lambda after: store.audit.page(AuditQuery(**{**query, "after": after})), between)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "actor": "operator:zoë", "subject": "role:writer", "outcome": Outcome.REFUSED, "reason": "not_covered",
            "scope": Scope("org/acme"), "door": "rest", "address": "2001:db8::1", "correlation_id": "0af7-李",
        },
        {"details": {"text": "Zoë 李 😀 %_\\ \" '", "number": -(2**53), "yes": True, "no": False, "nothing": None}},
        {"details": {"": "", "long": "x" * 10_000}},
        {"reason": "x" * 10_000, "address": "x" * 10_000},
    ],
    ids=["plain", "all set", "all kinds of details", "odd details", "long"],
)  # fmt: skip
async def test_whatever_was_stored_can_be_read_back(store, changes):
    event = an_event(**changes)
    await add(store, event)
    assert await within(store, store.audit.find(event.id)) == event
    assert await listed(store) == [event]


@pytest.mark.parametrize("action", Action)
async def test_every_action_can_be_stored_and_asked_for(store, action):
    event, other = an_event(action=action), an_event(action=next(a for a in Action if a is not action))
    await add(store, event, other)
    assert await listed(store, action=action) == [event]


async def test_an_unknown_event_is_none(store):
    assert await within(store, store.audit.find(an_event().id)) is None


async def test_nothing_here_can_change_or_remove_an_event(store):
    offered = {name for name in dir(store.audit) if not name.startswith("_")}
    assert not offered & {"save", "set", "update", "remove", "delete", "clear", "end", "replace"}
    event = an_event(reason="first")
    await add(store, event)
    with pytest.raises(Exception, match=r"."):  # a broken promise of ours, not an answer to callers
        await add(store, an_event(id=event.id, reason="second"))
    assert await within(store, store.audit.find(event.id)) == event


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_pages_are_complete_with_the_newest_first_while_others_come(store, limit):
    events = [an_event(NOW + n // 3 * SECOND) for n in range(10)]
    await add(store, *events)

    async def more():
        await add(store, an_event(NOW + 100 * SECOND))

    assert await listed(store, more, limit=limit) == events[::-1]


async def test_events_are_filtered_by_what_is_given(store):
    mine, yours = f"user:{new_id()}", f"user:{new_id()}"
    events = [
        an_event(NOW + n * SECOND, actor=actor, subject=subject, action=action, correlation_id=f"c{n}")
        for n, (actor, subject, action) in enumerate(
            (actor, subject, action)
            for actor in (mine, yours)
            for subject in (mine, yours, None)
            for action in (Action.USER_UPDATED, Action.REFRESHED)
        )
    ]
    await add(store, *events)
    for query in (
        {"actor": mine},
        {"subject": yours},
        {"action": Action.REFRESHED},
        {"correlation_id": "c3"},
        {"actor": mine, "subject": yours, "action": Action.USER_UPDATED},
        {"actor": yours, "correlation_id": "c1"},
        {"actor": "nobody"},
    ):
        expected = [e for e in reversed(events) if all(getattr(e, name) == value for name, value in query.items())]
        assert await listed(store, **query, limit=2) == expected


async def test_a_time_span_includes_its_start_and_not_its_end(store):
    events = [an_event(NOW + n * SECOND) for n in range(5)]
    await add(store, *events)
    assert await listed(store, since=NOW + SECOND, until=NOW + 3 * SECOND) == [events[2], events[1]]
    assert await listed(store, since=NOW + 4 * SECOND) == [events[4]]
    assert await listed(store, until=NOW) == []


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 10_000])
@pytest.mark.parametrize("name", ["actor", "subject", "correlation_id"])
async def test_R18_a_filter_that_cannot_match_finds_nothing(store, name, text):
    await add(store, an_event())
    assert await listed(store, **{name: text}) == []


segments = st.sampled_from(["org", "Org", "o_g", "acme", "acme-2", "acme.", "a", "~"])
scopes = st.one_of(st.just(EVERYWHERE), st.lists(segments, min_size=1, max_size=3).map(lambda s: Scope("/".join(s))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store serves all examples
@given(st.lists(scopes, min_size=1, max_size=6), st.lists(scopes, max_size=3))
async def test_filtering_by_scope_equals_reaching_it_segment_by_segment(store, places, asked):
    tag = new_id().hex
    events = [an_event(scope=place, correlation_id=tag) for place in places]
    await add(store, *events)
    expected = [e for e in reversed(events) if any(scope.reaches(e.scope) for scope in asked)]
    assert await listed(store, scopes=asked, correlation_id=tag) == expected


async def test_making_room_changes_nothing_that_is_there(store):
    event = an_event()
    await within(store, store.audit.append(event), store.audit.make_room(), store.audit.make_room())
    assert await within(store, store.audit.find(event.id)) == event
