"""Answers to requests that may be sent twice, and quotas."""

from datetime import datetime
from typing import Protocol

from domain.idempotency import Answered
from domain.limits import Allowance, Quota


class Answers(Protocol):
    """Answers to requests that may be sent twice. Bounded: expired ones make room as others come."""

    async def claim(self, id: bytes, now: datetime) -> Answered | None:
        """The answer under that id unless it has expired, held against other requests until the transaction ends.

        Raises Conflict (`idempotency_key_in_use`), at once or after waiting, where another one is at work on it.
        """

    async def add(self, answered: Answered, now: datetime) -> None:
        """Keep an answer whose id is claimed, in place of one that has expired."""


class Limiter(Protocol):
    """Counts how often callers ask. Bounded, however many callers there are."""

    async def take(self, quota: Quota, caller: str, cost: int = 1) -> Allowance:
        """Draw on the caller's part of a quota (`domain.limits.spend`); what is not allowed takes nothing."""
