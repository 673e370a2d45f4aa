"""What is kept for a while and then goes, and when it is time to look for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.credentials import FORGOTTEN_AFTER

INTERVAL = timedelta(hours=1)
"""From one round to the next, of all servers together."""
PAUSE = timedelta(seconds=10)
"""To the next round where one left something behind."""
LEASE = timedelta(minutes=1)
"""How long a round is left alone; after that, whoever began it is taken for gone."""
AUDIT_KEPT_AT_LEAST = timedelta(days=30)
"""Whatever the operator says: whoever breaks into the service cannot remove their own traces."""


class Leftover(StrEnum):
    """What nobody needs any more after a while, removed row by row."""

    SIGN_IN_FAILURES = "sign_in_failures"
    SESSIONS = "sessions"
    CHANGES = "changes"
    ANSWERS = "answers"
    ONE_TIME_VALUES = "one_time_values"


KEPT: Mapping[Leftover, timedelta] = {
    Leftover.SIGN_IN_FAILURES: FORGOTTEN_AFTER,
    Leftover.SESSIONS: timedelta(days=30),
    Leftover.CHANGES: timedelta(hours=1),
    Leftover.ANSWERS: timedelta(0),
    Leftover.ONE_TIME_VALUES: timedelta(hours=1),  # a code that comes again tells of a theft (RFC 6749, 10.5)
}
"""For how long after it was over."""


@dataclass(frozen=True, slots=True)
class Removed:
    """How much went at once, and whether there is more that should go."""

    count: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Upkept:
    """How far upkeep has come: when the next round is due (None: now), when the last one ended, whether that left
    something behind."""

    next_at: datetime | None = None
    finished_at: datetime | None = None
    backlog: bool = False

    def due(self, now: datetime) -> bool:
        """Whether it is time. A time further ahead than a round ever sets is from a clock that was wrong."""
        return self.next_at is None or not now < self.next_at <= now + INTERVAL


def audit_kept_since(now: datetime, kept: timedelta) -> datetime:
    """The moment before which whole months of audit events may go. Raises ValueError for less than 30 days."""
    if kept < AUDIT_KEPT_AT_LEAST:
        raise ValueError(f"audit events are kept for at least {AUDIT_KEPT_AT_LEAST.days} days")
    return now - kept
