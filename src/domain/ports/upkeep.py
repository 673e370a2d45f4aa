"""Upkeep, and the shape of what is stored."""

from datetime import datetime, timedelta
from typing import Protocol

from domain.upkeep import Leftover, Removed, Upkept


class Upkeep(Protocol):
    """Removes what has been kept for long enough, a little at a time, so that it holds up nobody.

    Nothing that somebody else holds is waited for: it can go another time.
    """

    async def claim(self) -> bool:
        """Whether this transaction may do upkeep: of all that ask at once, on all servers, one may until it ends."""

    async def remove(self, kind: Leftover, before: datetime, limit: int) -> Removed:
        """Remove what was over before that moment, oldest first, with all that hangs on it; at most `limit`."""

    async def drop_audit_month(self, now: datetime, kept: timedelta) -> Removed:
        """Drop the oldest month of audit events if all of it is older than `kept`, unless it is in use just now.

        The one way in which audit events ever go. Raises ValueError for less than 30 days.
        """

    async def read(self) -> Upkept:
        """How far it has come."""

    async def save(self, upkept: Upkept) -> None:
        """Remember that, for all servers."""

    async def advance(self, seen: Upkept, upkept: Upkept) -> bool:
        """Remember `upkept` if it has come just as far as `seen`; whether it had. Of all that try at once, one does."""


class Schema(Protocol):
    """Whether the storage has the shape this code expects."""

    async def lag(self) -> str | None:
        """None when it has; else what is the matter, for the operator. Needs no transaction."""
