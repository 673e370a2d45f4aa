"""Grants in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from adapters.memory.tables import Tables, page_of, reached
from domain.errors import Conflict, Invalid
from domain.ports import GrantQuery, Page
from domain.roles import Grant, GrantId
from domain.scopes import Scope
from domain.users import UserId, UserStatus


@dataclass(frozen=True, slots=True)
class MemoryGrants:
    tables: Tables

    async def add(self, grant: Grant) -> None:
        if self.tables.roles.get(grant.role) is None:
            raise self.tables.transaction.refused(Invalid.field("/role", "there is no such role", code="role_unknown"))
        if await self.find_by(grant.user_id, grant.role, grant.scope) is not None:
            raise self.tables.transaction.refused(
                Conflict("the user holds this role there already", code="grant_exists")
            )
        self.tables.grants.put(grant.id, grant)

    async def find(self, id: GrantId) -> Grant | None:
        return self.tables.grants.get(id)

    async def find_by(self, user_id: UserId, role: str, scope: Scope) -> Grant | None:
        wanted = (user_id, role, scope)
        return next((g for g in self.tables.grants.all() if (g.user_id, g.role, g.scope) == wanted), None)

    async def save(self, grant: Grant) -> None:
        self.tables.grants.put(grant.id, grant)

    async def remove(self, id: GrantId) -> None:
        self.tables.grants.remove(id)

    async def of_user(self, user_id: UserId) -> Sequence[Grant]:
        return sorted((g for g in self.tables.grants.all() if g.user_id == user_id), key=_id)

    async def of_users(self, ids: Collection[UserId]) -> Mapping[UserId, Sequence[Grant]]:
        held: dict[UserId, list[Grant]] = {}
        for grant in sorted(self.tables.grants.all(), key=_id):
            if grant.user_id in ids:
                held.setdefault(grant.user_id, []).append(grant)
        return held

    async def page(self, query: GrantQuery) -> Page[Grant]:
        return page_of(
            (grant for grant in self.tables.grants.all() if _matches(grant, query)),
            lambda grant: ("", grant.id),
            after=None if query.after is None else ("", query.after[1]),
            descending=False,
            limit=query.limit,
        )

    async def administrators(self, now: datetime) -> frozenset[UserId]:
        holders = {g.user_id for g in self.tables.grants.all() if g.makes_administrator(now)}
        return frozenset(
            id for id in holders if (user := self.tables.users.get(id)) is not None and user.status is UserStatus.ACTIVE
        )


def _id(grant: Grant) -> UUID:
    return grant.id


def _matches(grant: Grant, query: GrantQuery) -> bool:
    return (
        (query.user_id is None or grant.user_id == query.user_id)
        and (query.role is None or grant.role == query.role)
        and reached(query.scopes, grant.scope)
    )
