"""Pieces of statements that several storage ports share."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Label, Select, Table, bindparam, false, or_, true, tuple_

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


def parameters(table: Table, *left_to_the_database: str) -> Mapping[str, BindParameter[Any]]:
    """A parameter for each column, of its name; for hot statements that write whole rows."""
    return {c.name: bindparam(c.name, type_=c.type) for c in table.c if c.name not in left_to_the_database}


def prefixed(table: Table, prefix: str) -> list[Label[Any]]:
    """All columns, named so that several tables fit into one row."""
    return [column.label(f"{prefix}{column.name}") for column in table.c]
