"""When a round of upkeep is due, and how long things are kept."""

from datetime import timedelta

import pytest

from builders import DAY, NOW, SECOND
from domain.credentials import FREE_FAILURES, Failures
from domain.upkeep import AUDIT_KEPT_AT_LEAST, INTERVAL, KEPT, Leftover, Upkept, audit_kept_since


@pytest.mark.parametrize(
    ("next_at", "due"),
    [
        (None, True),
        (NOW - DAY, True),
        (NOW, True),
        (NOW + SECOND, False),
        (NOW + INTERVAL, False),
        (NOW + INTERVAL + SECOND, True),  # from a clock that was wrong; else nobody would do anything until then
        (NOW + 3650 * DAY, True),
    ],
)
def test_a_round_is_due_when_its_time_has_come_and_never_waits_longer_than_an_hour(next_at, due):
    assert Upkept(next_at).due(NOW) is due


def test_it_is_said_of_every_kind_how_long_it_is_kept():
    assert KEPT.keys() == set(Leftover)


def test_failures_that_still_slow_somebody_down_are_kept():
    last_at = NOW - KEPT[Leftover.SIGN_IN_FAILURES]
    assert not Failures(FREE_FAILURES, last_at).slowed(NOW)
    assert Failures(FREE_FAILURES, last_at + SECOND).slowed(NOW)


@pytest.mark.parametrize("kept", [timedelta(0), -DAY, AUDIT_KEPT_AT_LEAST - timedelta(microseconds=1)])
def test_audit_events_are_kept_for_30_days_whatever_is_asked_for(kept):
    with pytest.raises(ValueError, match="at least 30 days"):
        audit_kept_since(NOW, kept)
    assert audit_kept_since(NOW, AUDIT_KEPT_AT_LEAST) == NOW - 30 * DAY
