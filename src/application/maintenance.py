"""What has to be done from time to time, by the service itself: no cron, no command to remember."""

from dataclasses import dataclass

from application.keys import RotateDueKeys
from domain.ports import AuditLog, Transaction

INTERVAL = 3600.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Maintain:
    """One round: keys that are due get successors, and the audit trail gets room for what is to come.

    Any number of servers may run it at the same moment.
    """

    rotate_due: RotateDueKeys
    audit: AuditLog
    transaction: Transaction

    async def __call__(self) -> None:
        """Raises Unavailable; the next round does what this one could not."""
        await self.rotate_due()
        async with self.transaction():
            await self.audit.make_room()
