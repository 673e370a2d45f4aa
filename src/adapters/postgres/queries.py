"""Pieces of statements that several storage ports share."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, false, or_, true, tuple_

from domain.scopes import EVERYWHERE, Scope


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold the text at all: no NUL, no lone surrogates. What it cannot hold is never found."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def begins_with(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """Whether a text begins with `prefix`, taken literally."""
    escaped = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.like(escaped + "%")


def within(column: ColumnElement[Any], scopes: Collection[Scope]) -> ColumnElement[bool]:
    """Whether any of the scopes reaches the one in the column, segment by segment."""
    if EVERYWHERE in scopes:
        return true()
    paths = sorted({scope.path for scope in scopes if storable(scope.path)})
    reached = [column == path for path in paths] + [begins_with(column, path + "/") for path in paths]
    return or_(false(), *reached)


def following(
    statement: Select[Any],
    key: ColumnElement[Any] | None,
    id: ColumnElement[UUID],
    after: tuple[Any, UUID] | None,
    *,
    descending: bool,
) -> Select[Any]:
    """Order by `key` (if any) and id, and begin behind the position `after`."""
    columns = [id] if key is None else [key, id]
    if after is not None:
        position = list(after)[-len(columns) :]
        here, there = (tuple_(*columns), tuple_(*position)) if key is not None else (id, position[0])
        statement = statement.where(here < there if descending else here > there)
    return statement.order_by(*(column.desc() if descending else column.asc() for column in columns))
