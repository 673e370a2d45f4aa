"""Transactions, and pages of what is stored."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


class Transaction(Protocol):
    """`async with transaction():` all or nothing. Use cases own it; they never nest."""

    def __call__(self) -> AbstractAsyncContextManager[None]:
        """Begin; commit at the end of the block, roll back if it raises or is cancelled."""

    def reading(self) -> AbstractAsyncContextManager[None]:
        """For `find`, `facts`, `rules`, `all` and `read` that each stand alone, and are cheaper for it: every one sees
        what is committed when it begins. Whatever may write raises RuntimeError."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """As `reading`, and for a write that is a transaction of its own (`Families.advance`): stored when it returns,
        and kept whatever happens then. Undone does not say that it was not: who repeats it finds what it did."""


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Some items in order. `after` continues behind the last one (a keyset position), None at the end."""

    items: Sequence[T]
    after: tuple[str, UUID] | None = None
