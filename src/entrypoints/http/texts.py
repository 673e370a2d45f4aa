"""Texts in bodies and parameters, described as far as a schema can; what is accepted, the domain decides.

The patterns are for readers and their tools: what breaks one is refused by the domain, with a code of its own.
"""

from typing import Annotated, Any

from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from domain.credentials import PASSWORD_MAX, PASSWORD_MIN
from domain.roles import DESCRIPTION_MAX
from domain.scopes import MAX_LENGTH
from domain.users import DISPLAY_NAME_MAX, EMAIL_MAX, USERNAME_MAX

LIMIT = 1024
"""Characters; beyond it a text is not even looked at."""
_SCOPE = r"^(\*|[A-Za-z0-9._~\-]{1,64}(/[A-Za-z0-9._~\-]{1,64})*)$"
_ROLE: dict[str, Any] = {
    "pattern": r"^[a-z0-9]([a-z0-9_.\-]{0,62}[a-z0-9])?$",
    "maxLength": 64,
    "description": "The name of a role.",
}
_PART = r"(\*|[a-z0-9]([a-z0-9_.\-]{0,62}[a-z0-9])?)"

Text = Annotated[str, Meta(max_length=LIMIT)]
Email = Annotated[
    str, Meta(max_length=LIMIT, extra_json_schema={"pattern": r"^[^@\s]+@[^@\s]+$", "maxLength": EMAIL_MAX})
]
Username = Annotated[
    str, Meta(max_length=LIMIT, extra_json_schema={"pattern": r"^[^@\s]+$", "minLength": 1, "maxLength": USERNAME_MAX})
]
DisplayName = Annotated[
    str, Meta(max_length=LIMIT, extra_json_schema={"pattern": r"\S", "minLength": 1, "maxLength": DISPLAY_NAME_MAX})
]
Locale = Annotated[
    str, Meta(max_length=LIMIT, extra_json_schema={"pattern": r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$"})
]
NewSecret = Annotated[
    str, Meta(max_length=LIMIT, extra_json_schema={"minLength": PASSWORD_MIN, "maxLength": PASSWORD_MAX})
]
"""A password to be set; one to be tried is any Text."""
Description = Annotated[str, Meta(max_length=LIMIT, extra_json_schema={"maxLength": DESCRIPTION_MAX})]
RoleName = Annotated[str, Meta(max_length=LIMIT, extra_json_schema=_ROLE)]
PermissionName = Annotated[str, Meta(max_length=LIMIT, extra_json_schema={"pattern": f"^{_PART}:{_PART}$"})]
ScopePath = Annotated[
    str,
    Meta(
        max_length=LIMIT,
        extra_json_schema={
            "pattern": _SCOPE,
            "maxLength": MAX_LENGTH,
            "description": "Where; `*` for everywhere. No segment is `.` or `..`.",
        },
    ),
]

RoleInPath = Annotated[str, PathParameter(schema_extra=_ROLE)]
RoleInQuery = Annotated[str | None, QueryParameter(required=False, schema_extra=_ROLE)]
ScopeInQuery = Annotated[
    str,
    QueryParameter(
        name="scope",
        max_length=MAX_LENGTH,
        description="A scope path, `*` for everywhere.",
        schema_extra={"pattern": _SCOPE},
    ),
]
