"""Changes of authority, and how they are heard of."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from domain.users import UserId


class ChangeKind(StrEnum):
    """What changed: a subject's own authority, the rules for all, a session that ended, keys, or a client."""

    AUTHORITY = "authority"
    RULES = "rules"
    SESSION = "session"
    KEYS = "keys"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `id` is the subject or session (as text), or `""` where the kind says all."""

    kind: ChangeKind
    id: str = ""


class Changes(Protocol):
    """Announces changes of authority, inside the transaction that makes them."""

    async def authority(self, user_id: UserId) -> None:
        """A user's status or grants changed: raises the subject's authority version."""

    async def rules(self) -> None:
        """Roles changed: raises the global rules version."""


@dataclass(frozen=True, slots=True)
class News:
    """What was committed since the last read. `reset`: anything may have changed, forget all that is cached."""

    changes: Sequence[Change] = ()
    reset: bool = False


class ChangeFeed(Protocol):
    """Reads what `Changes` announced, missing no late commit. One reader a worker.

    The truth is in the database; a hint only shortens the wait. After a lost connection the next read is a reset.
    """

    async def read(self) -> News:
        """Everything committed since the last read; the first is a reset."""

    async def wait(self, seconds: float) -> None:
        """Return at a hint that there is news, and at the latest after that time."""

    async def close(self) -> None:
        """Let go of what the feed holds."""
