"""The family rules: one successor for every generation, and none after theft."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_client, a_family, a_session
from domain.sessions import (
    GRACE,
    SESSION_IDLE,
    EndReason,
    Refused,
    Repeated,
    Rotated,
    exit_refusal,
    rotate,
)
from domain.users import UserStatus

counters = st.integers(0, 1_000_000)
KEY = "aaaaaaaaaaaaaaaa"
OTHER_KEY = "bbbbbbbbbbbbbbbb"


@given(counters)
def test_the_current_generation_moves_the_family_on_by_one(counter):
    outcome = rotate(a_family(counter=counter), counter, KEY, NOW + SECOND)
    assert isinstance(outcome, Rotated)
    assert (outcome.family.counter, outcome.family.rotated_at, outcome.family.key_id) == (
        counter + 1,
        NOW + SECOND,
        KEY,
    )


@given(counters, st.timedeltas(timedelta(0), GRACE - timedelta(microseconds=1)))
def test_a_repeat_within_the_grace_gives_the_same_successor_under_any_key(counter, late):
    first = rotate(a_family(counter=counter), counter, KEY, NOW)
    again = rotate(first.family, counter, OTHER_KEY, NOW + late)
    assert isinstance(again, Repeated)
    assert again.family == first.family


@given(counters, st.timedeltas(GRACE, 20 * DAY))
def test_a_repeat_after_the_grace_is_theft(counter, late):
    first = rotate(a_family(counter=counter), counter, KEY, NOW)
    again = rotate(first.family, counter, KEY, NOW + late)
    assert isinstance(again, Refused)
    assert (again.reason, again.family.end_reason, again.family.ended_at) == (
        "replayed",
        EndReason.REPLAYED,
        NOW + late,
    )


@given(st.integers(2, 1_000_000), st.data())
def test_replaying_anything_older_ends_the_family_even_at_once(counter, data):
    old = data.draw(st.integers(0, counter - 2))
    outcome = rotate(a_family(counter=counter), old, KEY, NOW)
    assert isinstance(outcome, Refused)
    assert outcome.family.end_reason is EndReason.REPLAYED


@given(counters, st.integers(1, 1_000))
def test_a_generation_from_the_future_means_the_database_went_back_and_nobody_is_called_a_thief(counter, ahead):
    outcome = rotate(a_family(counter=counter), counter + ahead, KEY, NOW)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "state_rolled_back"
    assert outcome.family.end_reason is EndReason.ROLLED_BACK


@given(counters, st.integers(0, 1_000_000), st.sampled_from(EndReason), st.timedeltas(timedelta(0), 100 * DAY))
def test_nothing_is_given_after_the_end_and_the_first_reason_stands(counter, presented, reason, later):
    ended = a_family(counter=counter).ended(NOW, reason)
    outcome = rotate(ended, presented, KEY, NOW + later)
    assert isinstance(outcome, Refused)
    assert outcome.family == ended
    assert outcome.reason == f"family_{reason}"
    assert ended.ended(NOW + later, EndReason.SIGNED_OUT) == ended


@pytest.mark.parametrize(
    ("changes", "last_moment"),
    [
        ({"idle": DAY, "expires_at": NOW + 5 * DAY}, NOW + DAY),
        ({"idle": 5 * DAY, "expires_at": NOW + DAY}, NOW + DAY),
    ],
)
def test_a_family_lives_until_it_idled_too_long_or_reached_its_age(changes, last_moment):
    family = a_family(counter=3, **changes)
    assert isinstance(rotate(family, 3, KEY, last_moment - SECOND), Rotated)
    outcome = rotate(family, 3, KEY, last_moment)
    assert outcome == Refused(family, "family_expired")


def test_an_expired_family_calls_nobody_a_thief():
    family = a_family(counter=9)
    assert rotate(family, 2, KEY, family.expires_at) == Refused(family, "family_expired")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 15)), max_size=30))
def test_whatever_is_presented_in_whatever_order_a_generation_has_one_successor(tries):
    """A model of the world: several holders present generations at arbitrary moments."""
    family, now, successors, theft = a_family(), NOW, {}, False
    for presented, seconds in tries:
        now += seconds * SECOND
        key = f"{seconds:016x}"
        outcome = rotate(family, presented, key, now)
        if isinstance(outcome, Refused):
            theft = True
        else:
            assert not theft, "a token left after the family had ended"
            successor = (outcome.family.counter, outcome.family.key_id)
            assert successors.setdefault(presented, successor) == successor
            assert outcome.family.counter == presented + 1
        assert outcome.family.counter >= family.counter
        family = outcome.family
        assert (family.ended_at is not None) == theft


@given(st.integers(1, 300))
def test_an_honest_client_is_never_refused_however_often_it_refreshes(times):
    family, now = a_family(), NOW
    for generation in range(times):
        outcome = rotate(family, generation, KEY, now)
        assert isinstance(outcome, Rotated)
        family, now = outcome.family, now + timedelta(minutes=4)


def test_a_session_is_good_until_it_idled_too_long():
    session = a_session()
    assert session.refusal(NOW + SESSION_IDLE - SECOND) is None
    assert session.refusal(NOW + SESSION_IDLE) == "session_expired"


def test_a_refresh_counts_as_use_of_the_session_and_an_older_one_changes_nothing():
    session = a_session()
    assert session.refusal(NOW + SESSION_IDLE, NOW + SECOND) is None
    assert session.refusal(NOW + SESSION_IDLE - SECOND, NOW - DAY) is None


def test_no_use_carries_a_session_beyond_its_age():
    session = a_session()
    assert session.refusal(session.expires_at - SECOND, session.expires_at - SECOND) is None
    assert session.refusal(session.expires_at, session.expires_at - SECOND) == "session_expired"


def test_an_ended_session_says_why():
    session = a_session(ended_at=NOW, end_reason=EndReason.SUSPENDED)
    assert session.refusal(NOW) == "session_user_suspended"


def test_nothing_refuses_an_active_user_with_an_open_session_and_an_enabled_client():
    assert exit_refusal(UserStatus.ACTIVE, a_session(), a_client(), NOW) is None


@pytest.mark.parametrize("status", [s for s in UserStatus if s is not UserStatus.ACTIVE])
def test_only_an_active_account_gets_a_token(status):
    assert exit_refusal(status, a_session(), a_client(), NOW) == f"user_{status}"


@pytest.mark.parametrize(
    ("status", "session", "client", "reason"),
    [
        (None, a_session(), a_client(), "user_unknown"),
        (UserStatus.ACTIVE, None, a_client(), "session_unknown"),
        (UserStatus.ACTIVE, a_session(), None, "client_unknown"),
        (UserStatus.ACTIVE, a_session(), a_client(enabled=False), "client_disabled"),
        (
            UserStatus.ACTIVE,
            a_session(ended_at=NOW, end_reason=EndReason.SIGNED_OUT),
            a_client(),
            "session_signed_out",
        ),
    ],
)
def test_whatever_is_missing_or_closed_shuts_the_exit(status, session, client, reason):
    assert exit_refusal(status, session, client, NOW) == reason


def test_a_refresh_counts_as_the_last_use_of_its_session_and_an_older_one_does_not():
    session = a_session(last_used_at=NOW)
    assert session.used(NOW + SECOND).last_used_at == NOW + SECOND
    for other in (None, NOW, NOW - SECOND):
        assert session.used(other) is session
