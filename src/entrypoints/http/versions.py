"""Versions as strong ETags (RFC 9110, 8.8.3) and the If-Match that guards against lost updates."""

import re
from collections.abc import Iterable
from typing import Annotated

from litestar.params import HeaderParameter

from domain.errors import Stale
from entrypoints.http.problems import HttpProblem

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        required=False,
        description='The ETag of the resource as it was read, such as `"3"`; `*` for whatever it is now.',
        schema_extra={"pattern": r'^(\*|"[0-9]{1,18}")$', "examples": ["*", '"1"']},
    ),
]
_TAG = re.compile(r'"(\d{1,18})"')


def etag(version: int) -> dict[str, str]:
    """The header for a resource of that version."""
    return {"ETag": f'"{version}"'}


def unchanged(tag: str, if_none_match: Iterable[str]) -> bool:
    """Whether the caller has what `tag` stands for: those header lines name it, weakly or not (RFC 9110, 13.1.2)."""
    known = {each.strip().removeprefix("W/") for each in ",".join(if_none_match).split(",")}
    return tag in known or "*" in known


def expected(if_match: str | None) -> int | None:
    """The version the caller read, None for `*`. Raises 428 without the header, Stale for what is no ETag of ours."""
    if if_match is None:
        raise HttpProblem(
            428, "if_match_required", "send If-Match with the ETag of the resource as you read it, or * to insist"
        )
    if if_match.strip() == "*":
        return None
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None:  # weak and foreign tags never match (RFC 9110, 13.1.1)
        raise Stale("the If-Match header names no version of this resource")
    return int(tag.group(1))
