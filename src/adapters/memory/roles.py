"""Roles in memory."""

from dataclasses import dataclass

from adapters.memory.tables import ONLY, Tables
from domain.errors import Conflict
from domain.roles import Role, Rules


@dataclass(frozen=True, slots=True)
class MemoryRoles:
    tables: Tables

    async def rules(self) -> Rules:
        roles = {role.name: role for role in sorted(self.tables.roles.all(), key=lambda r: r.name)}
        return Rules(roles, self.tables.rules_version.get(ONLY) or 0)

    async def locked(self) -> Rules:
        return await self.rules()

    async def add(self, role: Role) -> None:
        if self.tables.roles.get(role.name) is not None:
            raise self.tables.transaction.refused(Conflict("a role of this name exists", code="role_exists"))
        self.tables.roles.put(role.name, role)

    async def save(self, role: Role) -> None:
        self.tables.roles.put(role.name, role)

    async def remove(self, name: str) -> None:
        granted = any(grant.role == name for grant in self.tables.grants.all())
        inherited = any(name in role.parents for role in self.tables.roles.all())
        if granted or inherited:
            raise self.tables.transaction.refused(
                Conflict("a grant or another role still names this role", code="role_in_use")
            )
        self.tables.roles.remove(name)
