"""Roles and grants in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncpg import IntegrityConstraintViolationError
from sqlalchemy import (
    BindParameter,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.faults import violated
from adapters.postgres.queries import following, parameters, storable, within
from adapters.postgres.tables import grants, installation, role_parents, roles, users
from domain.errors import Conflict, Invalid
from domain.ports import GrantQuery, Page
from domain.roles import ADMIN, Grant, GrantId, Permission, Role, Rules
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserId, UserStatus

_NAME: BindParameter[str] = bindparam("name")
_WRITTEN = parameters(roles)
# One statement, so that roles, parents and version are of the same moment. Without roles there is still a version.
_RULES = Hot(
    select(
        installation.c.rules_version,
        roles,
        func.array(
            select(role_parents.c.parent).where(role_parents.c.role == roles.c.name).scalar_subquery(),
            type_=ARRAY(Text),
        ).label("parents"),
    )
    .select_from(installation.outerjoin(roles, true()))
    .order_by(roles.c.name)
)
_LOCK = Hot(select(installation.c.rules_version).with_for_update(key_share=True))
_ADD_ROLE = Hot(insert(roles).values(_WRITTEN))
_SAVE_ROLE = Hot(update(roles).where(roles.c.name == _WRITTEN["name"]).values(_WRITTEN))
_REMOVE_ROLE = Hot(delete(roles).where(roles.c.name == _NAME))
_REMOVE_PARENTS = Hot(delete(role_parents).where(role_parents.c.role == _NAME))
_ADD_PARENTS = Hot(
    insert(role_parents).from_select(
        ["role", "parent"],
        select(bindparam("name", type_=Text), func.unnest(bindparam("parents", type_=ARRAY(Text)))),
    )
)

_ID: BindParameter[GrantId] = bindparam("id")
_GRANT = parameters(grants)
_ADD = Hot(insert(grants).values(_GRANT))
_FIND = Hot(select(grants).where(grants.c.id == _ID))
_FIND_BY = Hot(
    select(grants).where(
        grants.c.user_id == _GRANT["user_id"], grants.c.role == _GRANT["role"], grants.c.scope == _GRANT["scope"]
    )
)
_SAVE = Hot(update(grants).where(grants.c.id == _GRANT["id"]).values(_GRANT))
_REMOVE = Hot(delete(grants).where(grants.c.id == _ID))
_OF_USERS = Hot(
    select(grants).where(grants.c.user_id == any_(bindparam("ids", type_=ARRAY(Uuid)))).order_by(grants.c.id)
)
_LOCK_ADMINISTRATORS = Hot(select(roles.c.name).where(roles.c.name == ADMIN).with_for_update(key_share=True))
_ADMINISTRATORS = Hot(
    select(users.c.id)
    .join_from(users, grants, grants.c.user_id == users.c.id)
    .where(users.c.status == UserStatus.ACTIVE, grants.c.role == ADMIN)
    .where(grants.c.scope == EVERYWHERE.path, grants.c.expires_at.is_(None))
    .where(or_(grants.c.starts_at.is_(None), grants.c.starts_at <= bindparam("now")))
)


@dataclass(frozen=True, slots=True)
class PostgresRoles:
    database: Database

    async def rules(self) -> Rules:
        rows = await self.database.fetch(_RULES)
        defined = map(read_role, (row for row in rows if row["name"] is not None))
        return Rules({role.name: role for role in defined}, rows[0]["rules_version"])

    async def locked(self) -> Rules:
        await self.database.fetch(_LOCK)
        return await self.rules()  # a new statement, which sees what was committed while this one waited

    async def add(self, role: Role) -> None:
        try:
            await self.database.fetch(_ADD_ROLE, **write_role(role))
        except IntegrityConstraintViolationError as error:
            if violated(error) == "pk_roles":
                raise Conflict("a role of this name exists", code="role_exists") from error
            raise
        await self._add_parents(role)

    async def save(self, role: Role) -> None:
        await self.database.fetch(_SAVE_ROLE, **write_role(role))
        await self.database.fetch(_REMOVE_PARENTS, name=role.name)
        await self._add_parents(role)

    async def remove(self, name: str) -> None:
        if not storable(name):
            return
        try:
            await self.database.fetch(_REMOVE_ROLE, name=name)
        except IntegrityConstraintViolationError as error:
            if violated(error) in {"fk_grants_role", "fk_role_parents_parent"}:
                raise Conflict("a grant or another role still names this role", code="role_in_use") from error
            raise

    async def _add_parents(self, role: Role) -> None:
        if not role.parents:
            return
        try:
            await self.database.fetch(_ADD_PARENTS, name=role.name, parents=sorted(role.parents))
        except IntegrityConstraintViolationError as error:
            if violated(error) == "fk_role_parents_parent":
                raise Invalid.field("/parents", "there is no such role", code="role_unknown") from error
            raise


@dataclass(frozen=True, slots=True)
class PostgresGrants:
    database: Database

    async def add(self, grant: Grant) -> None:
        try:
            await self.database.fetch(_ADD, **write_grant(grant))
        except IntegrityConstraintViolationError as error:
            match violated(error):
                case "uq_grants_user_id_role_scope":
                    raise Conflict("the user holds this role there already", code="grant_exists") from error
                case "fk_grants_role":
                    raise Invalid.field("/role", "there is no such role", code="role_unknown") from error
            raise

    async def find(self, id: GrantId) -> Grant | None:
        row = await self.database.first(_FIND, id=id)
        return None if row is None else read_grant(row)

    async def find_by(self, user_id: UserId, role: str, scope: Scope) -> Grant | None:
        if not (storable(role) and storable(scope.path)):
            return None
        row = await self.database.first(_FIND_BY, user_id=user_id, role=role, scope=scope.path)
        return None if row is None else read_grant(row)

    async def save(self, grant: Grant) -> None:
        await self.database.fetch(_SAVE, **write_grant(grant))

    async def remove(self, id: GrantId) -> None:
        await self.database.fetch(_REMOVE, id=id)

    async def of_user(self, user_id: UserId) -> Sequence[Grant]:
        return [read_grant(row) for row in await self.database.fetch(_OF_USERS, ids=[user_id])]

    async def of_users(self, ids: Collection[UserId]) -> Mapping[UserId, Sequence[Grant]]:
        held: dict[UserId, list[Grant]] = {}
        for row in await self.database.fetch(_OF_USERS, ids=list(ids)):
            grant = read_grant(row)
            held.setdefault(grant.user_id, []).append(grant)
        return held

    async def page(self, query: GrantQuery) -> Page[Grant]:
        statement = select(grants).where(within(grants.c.scope, query.scopes))
        if query.user_id is not None:
            statement = statement.where(grants.c.user_id == query.user_id)
        if query.role is not None:
            statement = statement.where(grants.c.role == query.role if storable(query.role) else false())
        statement = following(statement, None, grants.c.id, query.after, descending=False)
        rows = await self.database.rows(statement.limit(query.limit + 1))
        items = [read_grant(row) for row in rows[: query.limit]]
        return Page(items, ("", items[-1].id) if len(rows) > query.limit else None)

    async def administrators(self, now: datetime) -> frozenset[UserId]:
        """The row of the role `admin` is the lock. It does not keep out new grants of it, which could only help."""
        await self.database.fetch(_LOCK_ADMINISTRATORS)
        return frozenset(UserId(row["id"]) for row in await self.database.fetch(_ADMINISTRATORS, now=now))


def read_role(row: Row) -> Role:
    return Role(
        name=row["name"],
        permissions=frozenset(_permission(text) for text in row["permissions"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        description=row["description"],
        parents=frozenset(row["parents"]),
        built_in=row["built_in"],
        version=row["version"],
    )


def write_role(role: Role) -> Mapping[str, Any]:
    """The columns of a role; its parents are rows of their own."""
    return {
        "name": role.name,
        "description": role.description,
        "permissions": sorted(map(str, role.permissions)),
        "built_in": role.built_in,
        "version": role.version,
        "created_at": role.created_at,
        "updated_at": role.updated_at,
    }


def read_grant(row: Row, prefix: str = "") -> Grant:
    """A grant from columns whose names begin with `prefix`."""
    return Grant(
        id=GrantId(row[f"{prefix}id"]),
        user_id=UserId(row[f"{prefix}user_id"]),
        role=row[f"{prefix}role"],
        granted_by=row[f"{prefix}granted_by"],
        created_at=row[f"{prefix}created_at"],
        scope=Scope(row[f"{prefix}scope"]),
        starts_at=row[f"{prefix}starts_at"],
        expires_at=row[f"{prefix}expires_at"],
    )


def write_grant(grant: Grant) -> Mapping[str, Any]:
    return {
        "id": grant.id,
        "user_id": grant.user_id,
        "role": grant.role,
        "scope": grant.scope.path,
        "granted_by": grant.granted_by,
        "created_at": grant.created_at,
        "starts_at": grant.starts_at,
        "expires_at": grant.expires_at,
    }


def _permission(text: str) -> Permission:
    resource, _, action = text.partition(":")
    return Permission(resource, action)
