"""Times from callers: with a time zone, and taken to UTC, where everything is compared."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from domain.errors import Invalid

Moment = Annotated[datetime, Meta(tz=True)]
"""A time in a body, in and out."""


def moment(value: datetime | None, pointer: str) -> datetime | None:
    """The time in UTC; raises Invalid without a zone, or where UTC has no such year."""
    if value is None:
        return None
    try:
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except OverflowError:
        pass
    raise _malformed(pointer)


def read(text: str | None, pointer: str) -> datetime | None:
    """The same from a parameter: RFC 3339, no seconds since 1970; raises Invalid."""
    try:
        return moment(None if text is None else msgspec.convert(text, Moment), pointer)
    except msgspec.ValidationError:
        raise _malformed(pointer) from None


def _malformed(pointer: str) -> Invalid:
    return Invalid.field(pointer, "not a time with a time zone, such as 2030-01-31T12:00:00Z", code="time_malformed")
