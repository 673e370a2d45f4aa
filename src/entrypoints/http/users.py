"""Users, and the profile of whoever calls."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from dishka import FromDishka
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from application.roles import EffectivePermission, EffectivePermissions
from application.users import (
    Account,
    CreateUser,
    DeleteUser,
    ListUsers,
    NewUser,
    ReactivateUser,
    SetPassword,
    ShowUser,
    SuspendUser,
    UpdateUser,
    UserChanges,
)
from domain.errors import NotAuthenticated
from domain.policies import Actor
from domain.ports import UserQuery, UserSort
from domain.users import UserId, UserStatus
from entrypoints.http.moments import Moment
from entrypoints.http.paging import Cursor, Limit, Listing, listing, position
from entrypoints.http.problems import described
from entrypoints.http.texts import DisplayName, Email, Locale, NewSecret, RoleName, ScopePath, Username
from entrypoints.http.versions import IfMatch, etag, expected


class UserReply(msgspec.Struct, frozen=True):
    """A user. `roles` are those in force everywhere; scoped ones are seen through grants."""

    id: UUID
    email: str
    email_verified: bool
    username: str | None
    display_name: str | None
    locale: str | None
    status: UserStatus
    scope: str
    roles: Sequence[str]
    created_at: Moment
    updated_at: Moment


class UserCreation(msgspec.Struct, forbid_unknown_fields=True):
    """A new user: with a password active at once, without one invited."""

    email: Email
    password: NewSecret | None = None
    username: Username | None = None
    display_name: DisplayName | None = None
    locale: Locale | None = None
    roles: Annotated[list[RoleName], Meta(max_length=50)] = []
    scope: ScopePath = "*"


class UserPatch(msgspec.Struct, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is absent stays, null clears."""

    email: Email | UnsetType | None = UNSET
    username: Username | UnsetType | None = UNSET
    display_name: DisplayName | UnsetType | None = UNSET
    locale: Locale | UnsetType | None = UNSET

    def changes(self) -> UserChanges:
        """The fields that were sent."""
        sent = {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name) is not UNSET}
        return UserChanges(frozenset(sent), **sent)


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    """A new password."""

    password: NewSecret


class PermissionReply(msgspec.Struct, frozen=True):
    """A permission somebody holds now, at `scope` and below, through that path of roles."""

    permission: str
    scope: str
    path: Sequence[str]
    expires_at: Moment | None


def user_reply(account: Account) -> UserReply:
    """The user as callers see it."""
    user = account.user
    return UserReply(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified,
        username=user.username,
        display_name=user.display_name,
        locale=user.locale,
        status=user.status,
        scope=str(user.scope),
        roles=account.roles,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


def permission_reply(held: EffectivePermission) -> PermissionReply:
    """The permission as callers see it."""
    return PermissionReply(str(held.permission), str(held.scope), held.path, held.expires_at)


def _one(account: Account, status: int = 200, headers: dict[str, str] | None = None) -> Response[UserReply]:
    return Response(user_reply(account), status_code=status, headers={**etag(account.user.version), **(headers or {})})


class UsersController(Controller):
    """Accounts of people."""

    path = "/users"
    tags = ["Users"]

    @get("/", summary="List users", responses=described(400, 401, 403, 422, 503))
    async def list_users(
        self,
        request: Request[Any, Any, Any],
        actor: FromDishka[Actor],
        users: FromDishka[ListUsers],
        q: Annotated[
            str | None,
            QueryParameter(
                max_length=200,
                required=False,
                description="The beginning of an e-mail address, username or display name.",
            ),
        ] = None,  # one parameter, one line
        status: Annotated[UserStatus | None, QueryParameter(required=False)] = None,
        sort: Annotated[UserSort, QueryParameter()] = UserSort.CREATED_AT,
        order: Annotated[str, QueryParameter(pattern="^(asc|desc)$", description="asc or desc")] = "asc",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[Listing[UserReply]]:
        """Those the caller may see, deleted ones only when asked for by status."""
        tag = f"users:{sort}:{order}"
        page = await users(actor, UserQuery((), status, q, sort, order == "desc", limit, position(cursor, tag)))
        return listing(request, page, tag, user_reply)

    @post("/", status_code=201, summary="Create a user", responses=described(400, 401, 403, 409, 422, 503))
    async def create_user(
        self, data: JSONBody[UserCreation], actor: FromDishka[Actor], create: FromDishka[CreateUser]
    ) -> Response[UserReply]:
        """With its roles, all of it or nothing. Nobody can give a role that holds more than they do."""
        account = await create(
            actor,
            NewUser(
                data.email,
                data.password,
                data.username,
                data.display_name,
                data.locale,
                tuple(data.roles),
                data.scope,
            ),
        )
        return _one(account, 201, {"Location": f"/api/v1/users/{account.user.id}"})

    @get("/{user_id:uuid}", summary="Show a user", responses=described(401, 403, 404, 503))
    async def show_user(
        self, user_id: FromPath[UUID], actor: FromDishka[Actor], show: FromDishka[ShowUser]
    ) -> Response[UserReply]:
        """With its ETag."""
        return _one(await show(actor, UserId(user_id)))

    @patch("/{user_id:uuid}", summary="Change a user", responses=described(400, 401, 403, 404, 409, 412, 422, 428, 503))
    async def update_user(
        self,
        user_id: FromPath[UUID],
        data: JSONBody[UserPatch],
        actor: FromDishka[Actor],
        update: FromDishka[UpdateUser],
        if_match: IfMatch = None,
    ) -> Response[UserReply]:
        """A merge patch (RFC 7396). A changed e-mail address counts as unverified."""
        return _one(await update(actor, UserId(user_id), expected(if_match), data.changes()))

    @delete(
        "/{user_id:uuid}",
        status_code=204,
        summary="Delete a user",
        responses=described(401, 403, 404, 409, 412, 428, 503),
    )
    async def delete_user(
        self,
        user_id: FromPath[UUID],
        actor: FromDishka[Actor],
        remove: FromDishka[DeleteUser],
        if_match: IfMatch = None,
    ) -> None:
        """Wipes personal data, ends all sessions and keeps the id, so that the audit trail keeps its meaning."""
        await remove(actor, UserId(user_id), expected(if_match))

    @post(
        "/{user_id:uuid}/suspend",
        status_code=200,
        summary="Suspend a user",
        responses=described(401, 403, 404, 409, 503),
    )
    async def suspend_user(
        self, user_id: FromPath[UUID], actor: FromDishka[Actor], suspend: FromDishka[SuspendUser]
    ) -> Response[UserReply]:
        """Ends every session and token before it answers."""
        return _one(await suspend(actor, UserId(user_id)))

    @post(
        "/{user_id:uuid}/reactivate",
        status_code=200,
        summary="Reactivate a user",
        responses=described(401, 403, 404, 409, 503),
    )
    async def reactivate_user(
        self, user_id: FromPath[UUID], actor: FromDishka[Actor], reactivate: FromDishka[ReactivateUser]
    ) -> Response[UserReply]:
        """Lets a suspended user sign in again; old sessions stay ended."""
        return _one(await reactivate(actor, UserId(user_id)))

    @post(
        "/{user_id:uuid}/password",
        status_code=204,
        summary="Set a user's password",
        responses=described(400, 401, 403, 404, 409, 422, 503),
    )
    async def set_password(
        self,
        user_id: FromPath[UUID],
        data: JSONBody[NewPassword],
        actor: FromDishka[Actor],
        set_password: FromDishka[SetPassword],
    ) -> None:
        """Ends every session. Nobody can take over an account that holds more than they do."""
        await set_password(actor, UserId(user_id), data.password)

    @get("/{user_id:uuid}/permissions", summary="Effective permissions", responses=described(401, 403, 404, 503))
    async def permissions(
        self, user_id: FromPath[UUID], actor: FromDishka[Actor], effective: FromDishka[EffectivePermissions]
    ) -> Response[Listing[PermissionReply]]:
        """What the user may do now, where, and through which roles."""
        found = await effective(actor, UserId(user_id))
        return Response(Listing([permission_reply(e) for e in found], None))


class MeController(Controller):
    """The profile of whoever calls."""

    path = "/me"
    tags = ["Me"]

    @get("/", hot=True, summary="Show my profile", responses=described(401, 503))
    async def show_me(self, actor: FromDishka[Actor], show: FromDishka[ShowUser]) -> Response[UserReply]:
        """Needs no permission."""
        return _one(await show(actor, _own_id(actor)))

    @patch("/", summary="Change my profile", responses=described(400, 401, 403, 409, 412, 422, 428, 503))
    async def update_me(
        self,
        data: JSONBody[UserPatch],
        actor: FromDishka[Actor],
        update: FromDishka[UpdateUser],
        if_match: IfMatch = None,
    ) -> Response[UserReply]:
        """Display name, username and locale; an e-mail address needs proof and is changed otherwise."""
        return _one(await update.own(actor, expected(if_match), data.changes()))


def _own_id(actor: Actor) -> UserId:
    if actor.facts is None:
        raise NotAuthenticated("the caller is no user")
    return actor.facts.user_id
