"""Texts in bodies and parameters, described as far as a schema can; what is accepted, the domain decides.

The patterns are for readers and their tools: what breaks one is refused by the domain, with a code of its own.
"""

from typing import Annotated, Any

from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from domain.credentials import PASSWORD_MAX, PASSWORD_MIN
from domain.roles import DESCRIPTION_MAX
from domain.scopes import MAX_LENGTH
from domain.users import USERNAME_MAX

LIMIT = 1024
"""Characters; beyond it a text is not even looked at."""
_PART = r"[a-z0-9]([a-z0-9_.\-]{0,62}[a-z0-9])?"
_ROLE: dict[str, Any] = {"pattern": f"^{_PART}$", "description": "The name of a role."}
_SCOPE: dict[str, Any] = {
    "pattern": r"^(\*|[A-Za-z0-9._~\-]{1,64}(/[A-Za-z0-9._~\-]{1,64})*)$",
    "description": "Where: `*` for everywhere, or a path, of which no segment is `.` or `..`.",
}


def described(pattern: str) -> Meta:
    """A pattern to be told, and a length to be enforced."""
    return Meta(max_length=LIMIT, extra_json_schema={"pattern": pattern})


Text = Annotated[str, Meta(max_length=LIMIT)]
Email = Annotated[str, described(r"^[^@\s]+@[^@\s]+$")]
Username = Annotated[str, described(rf"^[^@\s]{{1,{USERNAME_MAX}}}$")]
DisplayName = Annotated[str, described(r"\S")]
Locale = Annotated[str, described("^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$")]
NewSecret = Annotated[str, described(rf"^[\s\S]{{{PASSWORD_MIN},{PASSWORD_MAX}}}$")]
"""A password to be set; one to be tried is any Text."""
Description = Annotated[str, described(rf"^[\s\S]{{0,{DESCRIPTION_MAX}}}$")]
PermissionName = Annotated[str, described(rf"^(\*|{_PART}):(\*|{_PART})$")]
RoleName = Annotated[str, Meta(max_length=LIMIT, extra_json_schema=_ROLE)]
ScopePath = Annotated[str, Meta(max_length=LIMIT, extra_json_schema=_SCOPE)]

RoleInPath = Annotated[str, PathParameter(schema_extra=_ROLE)]
RoleInQuery = Annotated[str | None, QueryParameter(required=False, schema_extra=_ROLE)]
ScopeInQuery = Annotated[
    str,
    QueryParameter(
        name="scope",
        max_length=MAX_LENGTH,
        description="A scope path, `*` for everywhere.",
        schema_extra=_SCOPE,
    ),
]
