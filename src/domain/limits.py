"""How often somebody may ask: a quota, and what is left of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` requests in `seconds`, which refill steadily; all of them may come at once."""

    name: str
    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request may go on; how many more could now, in how many seconds all of the quota is there again, and in
    how many this request could be repeated with success (0: it went on)."""

    allowed: bool
    remaining: int
    reset: float
    retry_after: float = 0.0


def spend(quota: Quota, full_at: float, now: float, cost: int = 1) -> tuple[float, Allowance]:
    """Take `cost` from a quota that is whole again at `full_at`: when it is then, and the allowance. Times in seconds.

    The generic cell rate algorithm: one number a caller, and no moment at which everybody may begin anew. In any span
    of `seconds` at most twice the limit passes: what was saved up, and what refills meanwhile.
    """
    each = quota.seconds / quota.limit
    full_at = max(full_at, now)
    after = full_at + cost * each
    if (late := after - now - quota.seconds) > 1e-9 * quota.seconds:  # sums of fractions are a little off
        return full_at, Allowance(False, _left(quota, full_at - now, each), full_at - now, late)
    return after, Allowance(True, _left(quota, after - now, each), after - now)


def _left(quota: Quota, owed: float, each: float) -> int:
    return max(0, int((quota.seconds - owed) / each + 1e-6))
