"""Users in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import IntegrityConstraintViolationError
from sqlalchemy import BindParameter, Integer, Uuid, any_, bindparam, false, func, insert, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.faults import violated
from adapters.postgres.queries import begins_with, following, parameters, prefixed, storable, within
from adapters.postgres.roles import read_grant
from adapters.postgres.tables import grants, user_sign_ins, users
from domain.errors import Conflict, Invalid
from domain.policies import Facts
from domain.ports import Page, UserQuery, UserSort
from domain.scopes import EVERYWHERE, Scope
from domain.users import User, UserId, UserStatus, email_key, username_key

_ID: BindParameter[UserId] = bindparam("id")
_KEY: BindParameter[str] = bindparam("key")
_WRITTEN = parameters(users, "authv")  # which `Changes` counts up

_FIND = Hot(select(users).where(users.c.id == _ID))
_FIND_MANY = Hot(select(users).where(users.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))
# Not against rows that refer to the user: those are added under this lock anyway.
_LOCK = Hot(select(users).where(users.c.id == _ID).with_for_update(key_share=True))
_THERE = users.c.status != UserStatus.DELETED
_BY_EMAIL = Hot(select(users).where(users.c.email_key == _KEY, _THERE))
_BY_USERNAME = Hot(select(users).where(users.c.username_key == _KEY, _THERE))
_FACTS = Hot(
    select(users.c.status, users.c.authv, *prefixed(grants, "grant."))
    .select_from(users.outerjoin(grants, grants.c.user_id == users.c.id))
    .where(users.c.id == _ID)
    .order_by(grants.c.id)
)
_FIRST = select(users).where(_THERE).order_by(users.c.created_at, users.c.id).limit(bindparam("limit", type_=Integer))
_PAGES = (
    Hot(_FIRST),
    Hot(_FIRST.where(tuple_(users.c.created_at, users.c.id) > tuple_(bindparam("created_at"), bindparam("id")))),
)
"""What is asked for most: everybody, in order of creation; the first page, and those behind a position."""
_ADD = Hot(insert(users).values(_WRITTEN))
_SAVE = Hot(update(users).where(users.c.id == _WRITTEN["id"]).values(_WRITTEN))
_SIGNED_IN = upsert(user_sign_ins).values(parameters(user_sign_ins))
_RECORD_SIGN_IN = Hot(
    _SIGNED_IN.on_conflict_do_update(
        index_elements=["user_id"], set_={"at": func.greatest(user_sign_ins.c.at, _SIGNED_IN.excluded.at)}
    )
)
_LAST_SIGN_IN = Hot(select(user_sign_ins.c.at).where(user_sign_ins.c.user_id == _ID))


@dataclass(frozen=True, slots=True)
class PostgresUsers:
    database: Database

    async def add(self, user: User) -> None:
        await self._write(_ADD, user)

    async def find(self, id: UserId) -> User | None:
        row = await self.database.first(_FIND, id=id)
        return None if row is None else read_user(row)

    async def find_many(self, ids: Collection[UserId]) -> Mapping[UserId, User]:
        rows = await self.database.fetch(_FIND_MANY, ids=list(ids))
        return {user.id: user for user in map(read_user, rows)}

    async def locked(self, id: UserId) -> User | None:
        row = await self.database.first(_LOCK, id=id)
        return None if row is None else read_user(row)

    async def by_login(self, identifier: str) -> User | None:
        if not storable(identifier):
            return None
        if "@" in identifier:
            row = await self.database.first(_BY_EMAIL, key=email_key(identifier))
        else:
            row = await self.database.first(_BY_USERNAME, key=username_key(identifier))
        return None if row is None else read_user(row)

    async def save(self, user: User) -> None:
        await self._write(_SAVE, user)

    async def page(self, query: UserQuery) -> Page[User]:
        everybody = EVERYWHERE in query.scopes and query.status is None and query.text is None
        if everybody and query.sort is UserSort.CREATED_AT and not query.descending:
            rows = await self._in_order(query.limit + 1, query.after)
        else:
            rows = await self._composed(query)
        items = [read_user(row) for row in rows[: query.limit]]
        return Page(items, _position(items[-1], query.sort) if len(rows) > query.limit else None)

    async def _in_order(self, limit: int, after: tuple[str, UUID] | None) -> Sequence[Row]:
        if after is None:
            return await self.database.fetch(_PAGES[0], limit=limit)
        return await self.database.fetch(_PAGES[1], limit=limit, created_at=_moment(after[0]), id=after[1])

    async def _composed(self, query: UserQuery) -> Sequence[Row]:
        if query.status is None:
            statement = select(users).where(users.c.status != UserStatus.DELETED)
        else:
            statement = select(users).where(users.c.status == query.status)
        statement = statement.where(within(users.c.scope, query.scopes))
        if query.text is not None:
            statement = statement.where(_begins(query.text) if storable(query.text) else false())
        after: tuple[Any, UUID] | None = query.after
        if query.sort is UserSort.EMAIL:
            key = users.c.email_key
            if after is not None and not storable(after[0]):
                raise _not_a_cursor()
        else:
            key = users.c.created_at
            after = None if after is None else (_moment(after[0]), after[1])
        statement = following(statement, key, users.c.id, after, descending=query.descending)
        return await self.database.rows(statement.limit(query.limit + 1))

    async def facts(self, id: UserId) -> Facts | None:
        rows = await self.database.fetch(_FACTS, id=id)
        return read_facts(id, rows) if rows else None

    async def record_sign_in(self, id: UserId, at: datetime) -> None:
        await self.database.fetch(_RECORD_SIGN_IN, user_id=id, at=at)

    async def last_sign_in(self, id: UserId) -> datetime | None:
        row = await self.database.first(_LAST_SIGN_IN, id=id)
        return None if row is None else row["at"]

    async def _write(self, statement: Hot, user: User) -> None:
        try:
            await self.database.fetch(statement, **write_user(user))
        except IntegrityConstraintViolationError as error:
            match violated(error):
                case "uq_users_email_key":
                    raise Conflict("this e-mail address is taken", code="email_taken") from error
                case "uq_users_username_key":
                    raise Conflict("this username is taken", code="username_taken") from error
            raise


def read_user(row: Row) -> User:
    return User(
        id=UserId(row["id"]),
        email=row["email"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        status=UserStatus(row["status"]),
        email_verified=row["email_verified"],
        username=row["username"],
        display_name=row["display_name"],
        locale=row["locale"],
        scope=Scope(row["scope"]),
        version=row["version"],
    )


def read_facts(id: UserId, rows: Sequence[Row]) -> Facts:
    """The facts about a user, from one row for each of their grants."""
    held = tuple(read_grant(row, "grant.") for row in rows if row["grant.id"] is not None)
    return Facts(id, UserStatus(rows[0]["status"]), held, rows[0]["authv"])


def write_user(user: User) -> Mapping[str, Any]:
    """The columns of a user, with the keys that make names comparable, as the core folds them."""
    return {
        "id": user.id,
        "email": user.email,
        "email_key": email_key(user.email),
        "email_verified": user.email_verified,
        "username": user.username,
        "username_key": None if user.username is None else username_key(user.username),
        "display_name": user.display_name,
        "display_name_key": None if user.display_name is None else email_key(user.display_name),
        "locale": user.locale,
        "status": user.status,
        "scope": user.scope.path,
        "version": user.version,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }


def _begins(text: str) -> Any:
    return or_(
        begins_with(users.c.email_key, email_key(text)),
        begins_with(users.c.username_key, username_key(text)),
        begins_with(users.c.display_name_key, email_key(text)),
    )


def _position(user: User, sort: UserSort) -> tuple[str, UUID]:
    if sort is UserSort.EMAIL:
        return email_key(user.email), user.id
    return user.created_at.astimezone(UTC).isoformat(timespec="microseconds"), user.id


def _moment(text: str) -> datetime:
    """A position travels through the caller's hands; one of another sort is not a moment."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _not_a_cursor() from error


def _not_a_cursor() -> Invalid:
    return Invalid.field("/cursor", "not a cursor of this list", code="cursor_malformed")
