"""How often somebody may ask."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.limits import Quota, spend

SIX_A_MINUTE = Quota("test", limit=6, seconds=60)


def use(quota, times, full_at=0.0):
    """The allowances of requests at these times."""
    given = []
    for now in times:
        full_at, allowance = spend(quota, full_at, now)
        given.append(allowance)
    return given


def test_the_whole_quota_may_be_used_at_once_and_no_more():
    allowances = use(SIX_A_MINUTE, [100.0] * 8)
    assert [a.allowed for a in allowances] == [True] * 6 + [False] * 2
    assert [a.remaining for a in allowances] == [5, 4, 3, 2, 1, 0, 0, 0]
    assert [round(a.reset) for a in allowances] == [10, 20, 30, 40, 50, 60, 60, 60]


def test_it_refills_steadily_and_says_when():
    *_, refused = use(SIX_A_MINUTE, [100.0] * 7)
    assert refused.retry_after == pytest.approx(10.0)
    full_at = 160.0
    assert not spend(SIX_A_MINUTE, full_at, 109.0)[1].allowed
    assert spend(SIX_A_MINUTE, full_at, 110.0)[1].allowed


def test_after_a_pause_all_of_it_is_there_again_and_never_more():
    assert use(SIX_A_MINUTE, [1000.0], full_at=160.0)[0].remaining == 5


def test_what_costs_more_takes_more_and_what_costs_too_much_takes_nothing():
    full_at, allowance = spend(SIX_A_MINUTE, 0.0, 100.0, cost=4)
    assert (allowance.allowed, allowance.remaining) == (True, 2)
    again, refused = spend(SIX_A_MINUTE, full_at, 100.0, cost=3)
    assert (refused.allowed, refused.remaining, again) == (False, 2, full_at)


quotas = st.builds(Quota, st.just("test"), st.integers(1, 1000), st.integers(1, 3600))


@given(quotas, st.lists(st.floats(0, 100), max_size=60))
def test_in_any_span_at_most_twice_the_limit_passes(quota, gaps):
    now, times = 1000.0, []
    for gap in gaps:
        now += gap
        times.append(now)
    passed = [t for t, a in zip(times, use(quota, times), strict=True) if a.allowed]
    for start in passed:
        assert sum(start <= t < start + quota.seconds for t in passed) <= 2 * quota.limit


@given(quotas, st.lists(st.floats(0, 10), max_size=60))
def test_whoever_waits_as_told_gets_through(quota, gaps):
    full_at, now = 0.0, 1000.0
    for gap in gaps:
        now += gap
        full_at, allowance = spend(quota, full_at, now)
        if not allowance.allowed:
            assert allowance.retry_after > 0
            assert spend(quota, full_at, now + math.ceil(allowance.retry_after))[1].allowed


@given(quotas, st.integers(1, 40))
def test_what_remains_is_what_can_still_be_used(quota, used):
    full_at = 0.0
    for _ in range(used):
        full_at, allowance = spend(quota, full_at, 1000.0)
    remaining, more = allowance.remaining, 0
    while more <= quota.limit and (step := spend(quota, full_at, 1000.0))[1].allowed:
        full_at, more = step[0], more + 1
    assert more == remaining
