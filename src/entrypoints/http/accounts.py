"""One's own account: register, change the password, see what one may do."""

from typing import Literal

import msgspec
from dishka import FromDishka
from litestar import Controller, Response, get, post
from litestar.params import JSONBody

from application.accounts import ChangeOwnPassword, Register, Registrant
from application.open_sessions import own_id
from application.roles import EffectivePermissions
from domain.policies import Actor, Origin
from entrypoints.http.paging import Listing
from entrypoints.http.problems import described
from entrypoints.http.texts import DisplayName, Email, Locale, NewSecret, Text, Username
from entrypoints.http.users import PermissionReply, permission_reply


class RegistrationBody(msgspec.Struct, forbid_unknown_fields=True):
    """What people say of themselves."""

    email: Email
    password: NewSecret
    username: Username | None = None
    display_name: DisplayName | None = None
    locale: Locale | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The one answer there is, whether the account was made or not."""

    status: Literal["accepted"] = "accepted"


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The password as it is, for proof, and as it is to be."""

    current_password: Text
    new_password: NewSecret


class RegistrationController(Controller):
    """Accounts that people make for themselves."""

    path = "/auth"
    tags = ["Sign-in"]
    security: list[dict[str, list[str]]] = [{}]

    @post("/register", status_code=202, summary="Register", responses=described(400, 403, 422, 503))
    async def register(
        self, data: JSONBody[RegistrationBody], origin: FromDishka[Origin], register: FromDishka[Register]
    ) -> Accepted:
        """Where settings allow it. A taken address or username gets the same answer after the same time, and changes
        nothing. A new account is active, its e-mail address not verified, and it holds no role."""
        registrant = Registrant(data.email, data.password, data.username, data.display_name, data.locale)
        await register(registrant, origin)
        return Accepted()


class OwnAccountController(Controller):
    """What people do about their own account."""

    path = "/me"
    tags = ["Me"]

    @post(
        "/password",
        status_code=204,
        summary="Change my password",
        responses=described(400, 401, 403, 409, 422, 429, 503),
    )
    async def change_password(
        self, data: JSONBody[PasswordChange], actor: FromDishka[Actor], change: FromDishka[ChangeOwnPassword]
    ) -> None:
        """Ends all other sessions; this one goes on. A wrong current password is a 403 (`password_wrong`), and counts
        as a failed sign-in does; an account without a password is a 409 (`password_not_set`)."""
        await change(actor, data.current_password, data.new_password)

    @get("/permissions", summary="Show my permissions", responses=described(401, 503))
    async def show_my_permissions(
        self, actor: FromDishka[Actor], effective: FromDishka[EffectivePermissions]
    ) -> Response[Listing[PermissionReply]]:
        """What the caller may do now, where, and through which roles. Needs no permission."""
        found = await effective(actor, own_id(actor))
        return Response(Listing([permission_reply(e) for e in found], None))
