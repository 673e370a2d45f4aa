"""Users in memory."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from adapters.memory.tables import Tables, page_of, reached
from domain.errors import Conflict, Invalid
from domain.policies import Facts
from domain.ports import Page, UserQuery, UserSort
from domain.users import User, UserId, UserStatus, email_key, username_key


@dataclass(frozen=True, slots=True)
class MemoryUsers:
    tables: Tables

    async def add(self, user: User) -> None:
        self._write(user)

    async def find(self, id: UserId) -> User | None:
        return self.tables.users.get(id)

    async def find_many(self, ids: Collection[UserId]) -> Mapping[UserId, User]:
        return {id: user for id in ids if (user := self.tables.users.get(id)) is not None}

    async def locked(self, id: UserId) -> User | None:
        return self.tables.users.get(id)

    async def by_login(self, identifier: str) -> User | None:
        if "@" in identifier:
            id = self.tables.emails.get(email_key(identifier))
        else:
            id = self.tables.usernames.get(username_key(identifier))
        user = None if id is None else self.tables.users.get(id)
        return None if user is None or user.status is UserStatus.DELETED else user

    async def save(self, user: User) -> None:
        self._write(user)

    async def page(self, query: UserQuery) -> Page[User]:
        position = _by_email if query.sort is UserSort.EMAIL else _by_creation
        after = None if query.after is None else (_position(query.after[0], query.sort), query.after[1])
        return page_of(
            (user for user in self.tables.users.all() if _matches(user, query)),
            position,
            after=after,
            descending=query.descending,
            limit=query.limit,
        )

    async def facts(self, id: UserId) -> Facts | None:
        if (user := self.tables.users.get(id)) is None:
            return None
        grants = sorted((g for g in self.tables.grants.all() if g.user_id == id), key=lambda g: g.id)
        return Facts(id, user.status, tuple(grants), self.tables.authority.get(id) or 0)

    async def record_sign_in(self, id: UserId, at: datetime) -> None:
        self.tables.sign_ins.put(id, max(at, self.tables.sign_ins.get(id) or at))

    async def last_sign_in(self, id: UserId) -> datetime | None:
        return self.tables.sign_ins.get(id)

    def _write(self, user: User) -> None:
        """Both names are checked before anything is written, as one statement would."""
        email, username = email_key(user.email), None if user.username is None else username_key(user.username)
        if self.tables.emails.get(email) not in {None, user.id}:
            raise self.tables.transaction.refused(Conflict("this e-mail address is taken", code="email_taken"))
        if username is not None and self.tables.usernames.get(username) not in {None, user.id}:
            raise self.tables.transaction.refused(Conflict("this username is taken", code="username_taken"))
        if (before := self.tables.users.get(user.id)) is not None:
            self.tables.emails.remove(email_key(before.email))
            if before.username is not None:
                self.tables.usernames.remove(username_key(before.username))
        self.tables.users.put(user.id, user)
        self.tables.emails.put(email, user.id)
        if username is not None:
            self.tables.usernames.put(username, user.id)


def _by_creation(user: User) -> tuple[str, UUID]:
    return _moment(user.created_at), user.id


def _by_email(user: User) -> tuple[str, UUID]:
    return email_key(user.email), user.id


def _position(text: str, sort: UserSort) -> str:
    """A position travels through the caller's hands; it may be one of another list, or made up."""
    try:
        if sort is UserSort.CREATED_AT:
            return _moment(datetime.fromisoformat(text))
        if "\0" not in text and text.encode():
            return text
    except (ValueError, OverflowError):  # no moment, or a lone surrogate
        pass
    raise Invalid.field("/cursor", "not a cursor of this list", code="cursor_malformed")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _matches(user: User, query: UserQuery) -> bool:
    if query.status is None and user.status is UserStatus.DELETED:
        return False
    if query.status is not None and user.status is not query.status:
        return False
    return reached(query.scopes, user.scope) and (query.text is None or _begins(user, query.text))


def _begins(user: User, text: str) -> bool:
    return (
        email_key(user.email).startswith(email_key(text))
        or (user.username is not None and username_key(user.username).startswith(username_key(text)))
        or (user.display_name is not None and email_key(user.display_name).startswith(email_key(text)))
    )
