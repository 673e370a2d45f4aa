"""Passwords: hashing them, and knowing those that attackers know."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password matched, whether its hash should be replaced by a fresh one, and how many seconds the
    comparison itself took, without waiting for its turn (0: not told)."""

    matches: bool
    outdated: bool = False
    seconds: float = field(default=0.0, compare=False)


class PasswordHasher(Protocol):
    """Slow hashes in a bounded pool of their own; raises Overloaded when its queue is full."""

    async def hash(self, password: str) -> str:
        """A fresh hash of a password, safe to store."""

    async def verify(self, password: str, hash: str | None) -> Verdict:
        """Compare with a stored hash, ours or foreign. None (no such account) costs the same and never matches."""


class BreachedPasswords(Protocol):
    """Passwords known to attackers, by list or by a service."""

    async def contains(self, password: str) -> bool:
        """Whether attackers are known to try this one."""
