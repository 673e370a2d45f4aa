"""Roles, and who holds them where."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.ports.transactions import Page
from domain.roles import Grant, GrantId, Role, Rules
from domain.scopes import Scope
from domain.users import UserId


class Roles(Protocol):
    """Roles by name."""

    async def rules(self) -> Rules:
        """All roles with the global rules version, consistently."""

    async def locked(self) -> Rules:
        """The same, held against other writers of roles until the transaction ends."""

    async def add(self, role: Role) -> None:
        """Store a new role; raises Conflict (`role_exists`)."""

    async def save(self, role: Role) -> None:
        """Replace a role read by `locked`."""

    async def remove(self, name: str) -> None:
        """Remove a role; raises Conflict (`role_in_use`) while a grant or a child role names it."""


@dataclass(frozen=True, slots=True)
class GrantQuery:
    """Which grants: at or below any of `scopes`, of that user and role if given, newest last."""

    scopes: Collection[Scope]
    user_id: UserId | None = None
    role: str | None = None
    limit: int = 50
    after: tuple[str, UUID] | None = None


class Grants(Protocol):
    """Grants; one a (user, role, scope)."""

    async def add(self, grant: Grant) -> None:
        """Store; raises Conflict (`grant_exists`), or Invalid (`role_unknown`) where the role is gone."""

    async def find(self, id: GrantId) -> Grant | None:
        """The grant, or None."""

    async def find_by(self, user_id: UserId, role: str, scope: Scope) -> Grant | None:
        """The grant of that role to that user at exactly that scope, or None."""

    async def save(self, grant: Grant) -> None:
        """Replace times of a grant whose user is locked."""

    async def remove(self, id: GrantId) -> None:
        """Take it away."""

    async def of_user(self, user_id: UserId) -> Sequence[Grant]:
        """All of a user's grants, in order of id."""

    async def of_users(self, ids: Collection[UserId]) -> Mapping[UserId, Sequence[Grant]]:
        """All grants of several users; users without any may be absent."""

    async def page(self, query: GrantQuery) -> Page[Grant]:
        """Grants in order of id."""

    async def administrators(self, now: datetime) -> frozenset[UserId]:
        """Active users with a direct, unending `admin` grant everywhere, under the one lock that guards the last of
        them until the transaction ends. Take it after the user's own lock."""
