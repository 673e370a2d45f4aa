"""Pages: a limit, an opaque cursor, and a link to the next one."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.params import QueryParameter

from domain.errors import Invalid
from domain.ports import Page

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many items at the most.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=2000, required=False, description="`next_cursor` of the page before.")
]


class _Position(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    order: str
    key: str
    id: UUID


class Listing[T](msgspec.Struct, frozen=True):
    """A page of a list. `next_cursor` is null at its end."""

    items: Sequence[T]
    next_cursor: str | None


def position(cursor: str | None, order: str) -> tuple[str, UUID] | None:
    """Where a cursor stands in that order; raises Invalid for a forged one, or one of another order."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = msgspec.msgpack.decode(raw, type=_Position)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        found = None
    if found is None or found.order != order or "\x00" in found.key:
        raise Invalid.field("/cursor", "not a cursor of this list in this order", code="cursor_malformed")
    return found.key, found.id


def next_cursor(after: tuple[str, UUID] | None, order: str) -> str | None:
    """Where the next page begins, as callers hold it; None at the end."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(_Position(order, *after))).rstrip(b"=").decode()


def listing[T, R](
    request: Request[Any, Any, Any], page: Page[T], order: str, reply: Callable[[T], R]
) -> Response[Listing[R]]:
    """The page as a response, with a `next` link (RFC 8288) that keeps the other parameters."""
    headers = {}
    cursor = next_cursor(page.after, order)
    if cursor is not None:
        kept = [(k, v) for k, v in parse_qsl(request.scope["query_string"].decode("latin-1")) if k != "cursor"]
        headers["Link"] = f'<{quote(request.scope["path"])}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
    return Response(Listing([reply(item) for item in page.items], cursor), headers=headers)
