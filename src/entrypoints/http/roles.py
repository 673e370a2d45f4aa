"""Roles, permissions and grants."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from dishka import FromDishka
from litestar import Controller, Request, Response, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from application.roles import (
    ChangeRole,
    DefineRole,
    GrantRole,
    ListGrants,
    ListPermissions,
    ListRoles,
    RemoveRole,
    RevokeGrant,
    RoleChanges,
)
from domain.policies import Actor
from domain.ports import GrantQuery
from domain.roles import Grant, GrantId, Role, parse_role_name
from domain.scopes import Scope
from domain.users import UserId
from entrypoints.http.moments import Moment, moment
from entrypoints.http.paging import Cursor, Limit, Listing, listing, position
from entrypoints.http.problems import described
from entrypoints.http.texts import (
    Description,
    PermissionName,
    RoleInPath,
    RoleInQuery,
    RoleName,
    ScopeInQuery,
    ScopePath,
)
from entrypoints.http.versions import IfMatch, etag, expected

RoleNames = Annotated[list[RoleName], Meta(max_length=500)]
PermissionNames = Annotated[list[PermissionName], Meta(max_length=500)]


class RoleReply(msgspec.Struct, frozen=True):
    """A role; it also has the permissions of its parents."""

    name: str
    description: str
    permissions: Sequence[str]
    parents: Sequence[str]
    built_in: bool


class RoleCreation(msgspec.Struct, forbid_unknown_fields=True):
    """A new role."""

    name: RoleName
    description: Description | None = None
    permissions: PermissionNames = []
    parents: RoleNames = []


class RolePatch(msgspec.Struct, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is absent stays, null clears; lists are replaced whole."""

    description: Description | UnsetType | None = UNSET
    permissions: PermissionNames | UnsetType | None = UNSET
    parents: RoleNames | UnsetType | None = UNSET


class PermissionText(msgspec.Struct, frozen=True):
    """A permission and what it means, where Hexward itself asks for it."""

    permission: str
    description: str


class Subject(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who holds a grant."""

    id: UUID
    type: Annotated[str, Meta(pattern="^user$")] = "user"


class GrantReply(msgspec.Struct, frozen=True):
    """A role somebody holds at `scope` and below, from `starts_at` until `expires_at` (null: no limit)."""

    id: UUID
    subject: Subject
    role: str
    scope: str
    starts_at: Moment | None
    expires_at: Moment | None
    granted_by: str
    created_at: Moment


class GrantTimes(msgspec.Struct, forbid_unknown_fields=True):
    """When a grant is in force; with time zone."""

    starts_at: Moment | None = None
    expires_at: Moment | None = None


class GrantCreation(msgspec.Struct, forbid_unknown_fields=True):
    """A new grant."""

    subject: Subject
    role: RoleName
    scope: ScopePath = "*"
    starts_at: Moment | None = None
    expires_at: Moment | None = None


def role_reply(role: Role) -> RoleReply:
    """The role as callers see it."""
    return RoleReply(
        role.name, role.description, [str(p) for p in sorted(role.permissions)], sorted(role.parents), role.built_in
    )


def _one_role(role: Role, status: int = 200, headers: dict[str, str] | None = None) -> Response[RoleReply]:
    return Response(role_reply(role), status_code=status, headers={**etag(role.version), **(headers or {})})


def grant_reply(grant: Grant) -> GrantReply:
    """The grant as callers see it."""
    return GrantReply(
        grant.id,
        Subject(grant.user_id),
        grant.role,
        str(grant.scope),
        grant.starts_at,
        grant.expires_at,
        grant.granted_by,
        grant.created_at,
    )


class RolesController(Controller):
    """What can be held."""

    path = "/roles"
    tags = ["Roles"]

    @get("/", summary="List roles", responses=described(401, 403, 503))
    async def list_roles(self, actor: FromDishka[Actor], roles: FromDishka[ListRoles]) -> Response[Listing[RoleReply]]:
        """All roles, by name."""
        return Response(Listing([role_reply(r) for r in await roles(actor)], None))

    @post("/", status_code=201, summary="Define a role", responses=described(400, 401, 403, 409, 422, 503))
    async def define_role(
        self, data: JSONBody[RoleCreation], actor: FromDishka[Actor], define: FromDishka[DefineRole]
    ) -> Response[RoleReply]:
        """Nobody can define a role that holds more than they do. Cycles of parents are refused."""
        content = RoleChanges(
            frozenset({"description", "permissions", "parents"}), data.description, data.permissions, data.parents
        )
        role = await define(actor, data.name, content)
        return _one_role(role, 201, {"Location": f"/api/v1/roles/{role.name}"})

    @get("/{name:str}", summary="Show a role", responses=described(401, 403, 404, 503))
    async def show_role(
        self, name: RoleInPath, actor: FromDishka[Actor], roles: FromDishka[ListRoles]
    ) -> Response[RoleReply]:
        """With its ETag."""
        return _one_role(await roles.one(actor, name))

    @patch("/{name:str}", summary="Change a role", responses=described(400, 401, 403, 404, 409, 412, 422, 428, 503))
    async def change_role(
        self,
        name: RoleInPath,
        data: JSONBody[RolePatch],
        actor: FromDishka[Actor],
        change: FromDishka[ChangeRole],
        if_match: IfMatch = None,
    ) -> Response[RoleReply]:
        """A merge patch (RFC 7396), felt by everybody who holds the role."""
        sent = {f: getattr(data, f) for f in data.__struct_fields__ if getattr(data, f) is not UNSET}
        content = RoleChanges(
            frozenset(sent), sent.get("description"), sent.get("permissions") or (), sent.get("parents") or ()
        )
        return _one_role(await change(actor, name, expected(if_match), content))

    @delete(
        "/{name:str}", status_code=204, summary="Remove a role", responses=described(401, 403, 404, 409, 412, 428, 503)
    )
    async def remove_role(
        self, name: RoleInPath, actor: FromDishka[Actor], remove: FromDishka[RemoveRole], if_match: IfMatch = None
    ) -> None:
        """Only while nobody holds it and no role has it as a parent."""
        await remove(actor, name, expected(if_match))


class PermissionsController(Controller):
    """What roles can be made of."""

    path = "/permissions"
    tags = ["Roles"]

    @get("/", summary="List permissions", responses=described(401, 403, 503))
    async def list_permissions(
        self, actor: FromDishka[Actor], permissions: FromDishka[ListPermissions]
    ) -> Response[Listing[PermissionText]]:
        """Those Hexward asks for, then those that roles name for other services."""
        found = await permissions(actor)
        return Response(Listing([PermissionText(str(p), text) for p, text in found.items()], None))


class GrantsController(Controller):
    """Who holds which role, where, for how long."""

    path = "/grants"
    tags = ["Grants"]

    @get("/", summary="List grants", responses=described(400, 401, 403, 422, 503))
    async def list_grants(
        self,
        request: Request[Any, Any, Any],
        actor: FromDishka[Actor],
        grants: FromDishka[ListGrants],
        user_id: Annotated[UUID | None, QueryParameter(required=False)] = None,
        role: RoleInQuery = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[Listing[GrantReply]]:
        """Those the caller may see; one's own always."""
        query = GrantQuery(
            (),
            None if user_id is None else UserId(user_id),
            None if role is None else parse_role_name(role, "/role"),
            limit,
            position(cursor, "grants"),
        )
        return listing(request, await grants(actor, query), "grants", grant_reply)

    @post("/", status_code=201, summary="Grant a role", responses=described(400, 401, 403, 404, 409, 422, 503))
    async def create_grant(
        self, data: JSONBody[GrantCreation], actor: FromDishka[Actor], grant: FromDishka[GrantRole]
    ) -> Response[GrantReply]:
        """Nobody can grant what they do not hold, at that scope and for that time."""
        made = await grant(
            actor,
            UserId(data.subject.id),
            data.role,
            Scope.parse(data.scope),
            moment(data.starts_at, "/starts_at"),
            moment(data.expires_at, "/expires_at"),
        )
        return Response(grant_reply(made), status_code=201, headers={"Location": f"/api/v1/grants/{made.id}"})

    @get("/{grant_id:uuid}", summary="Show a grant", responses=described(401, 403, 404, 503))
    async def show_grant(
        self, grant_id: FromPath[UUID], actor: FromDishka[Actor], grants: FromDishka[ListGrants]
    ) -> GrantReply:
        """One grant."""
        return grant_reply(await grants.one(actor, GrantId(grant_id)))

    @delete("/{grant_id:uuid}", status_code=204, summary="Revoke a grant", responses=described(401, 403, 404, 409, 503))
    async def revoke_grant(
        self, grant_id: FromPath[UUID], actor: FromDishka[Actor], revoke: FromDishka[RevokeGrant]
    ) -> None:
        """The last administrator keeps the role."""
        await revoke(actor, GrantId(grant_id))


class UserRolesController(Controller):
    """The roles of one user: a shorthand for grants."""

    path = "/users/{user_id:uuid}/roles"
    tags = ["Grants"]

    @get("/", summary="List a user's grants", responses=described(400, 401, 403, 422, 503))
    async def list_user_roles(
        self,
        request: Request[Any, Any, Any],
        user_id: FromPath[UUID],
        actor: FromDishka[Actor],
        grants: FromDishka[ListGrants],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[Listing[GrantReply]]:
        """At every scope, also those that have not begun."""
        query = GrantQuery((), UserId(user_id), None, limit, position(cursor, "grants"))
        return listing(request, await grants(actor, query), "grants", grant_reply)

    @put("/{role:str}", summary="Grant a role to a user", responses=described(400, 401, 403, 404, 409, 422, 503))
    async def put_user_role(
        self,
        user_id: FromPath[UUID],
        role: RoleInPath,
        actor: FromDishka[Actor],
        grant: FromDishka[GrantRole],
        at: ScopeInQuery = "*",
        data: JSONBody[GrantTimes | None] = None,
    ) -> GrantReply:
        """The same again changes nothing; other times replace those of the grant at that scope."""
        times = data or GrantTimes()
        made = await grant(
            actor,
            UserId(user_id),
            role,
            Scope.parse(at),
            moment(times.starts_at, "/starts_at"),
            moment(times.expires_at, "/expires_at"),
            replacing=True,
        )
        return grant_reply(made)

    @delete(
        "/{role:str}",
        status_code=204,
        summary="Revoke a user's role",
        responses=described(401, 403, 404, 409, 422, 503),
    )
    async def delete_user_role(
        self,
        user_id: FromPath[UUID],
        role: RoleInPath,
        actor: FromDishka[Actor],
        revoke: FromDishka[RevokeGrant],
        at: ScopeInQuery = "*",
    ) -> None:
        """At exactly that scope; taking away what is not held is no error."""
        await revoke.by_role(actor, UserId(user_id), parse_role_name(role, "/role"), Scope.parse(at))
