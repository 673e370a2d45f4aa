"""People, their credentials, and how often somebody guessed at them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.credentials import Failures, PasswordCredential
from domain.policies import Facts
from domain.ports.transactions import Page
from domain.scopes import Scope
from domain.users import User, UserId, UserStatus


class UserSort(StrEnum):
    """What users can be listed by; the id breaks ties."""

    CREATED_AT = "created_at"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which users: visible at any of `scopes`, in that `status` (None: all but deleted), whose e-mail, username or
    display name begins with `text`, caseless and taken literally. `after` is a Page's, for the same sort."""

    scopes: Collection[Scope]
    status: UserStatus | None = None
    text: str | None = None
    sort: UserSort = UserSort.CREATED_AT
    descending: bool = False
    limit: int = 50
    after: tuple[str, UUID] | None = None


class Users(Protocol):
    """People. `email_key` and `username_key` are unique; whatever was stored can be read back."""

    async def add(self, user: User) -> None:
        """Store a new user; raises Conflict (`email_taken`, `username_taken`)."""

    async def find(self, id: UserId) -> User | None:
        """The user, or None."""

    async def find_many(self, ids: Collection[UserId]) -> Mapping[UserId, User]:
        """Those of the users that exist."""

    async def locked(self, id: UserId) -> User | None:
        """The user, held against other writers until the transaction ends. Lock the user before anything of theirs."""

    async def by_login(self, identifier: str) -> User | None:
        """The user of this e-mail address (if it has an @) or username, in whatever case; None if deleted."""

    async def save(self, user: User) -> None:
        """Replace a locked user; raises Conflict (`email_taken`, `username_taken`)."""

    async def page(self, query: UserQuery) -> Page[User]:
        """Users in order."""

    async def facts(self, id: UserId) -> Facts | None:
        """What counts for decisions about a user: status, authority version, and all grants, lapsed ones included."""

    async def record_sign_in(self, id: UserId, at: datetime) -> None:
        """Remember the last sign-in, which never moves back; not part of the user, so it changes no version."""

    async def last_sign_in(self, id: UserId) -> datetime | None:
        """When the user last signed in."""


class Credentials(Protocol):
    """Password hashes, one a user."""

    async def password(self, id: UserId) -> PasswordCredential | None:
        """The user's password, or None."""

    async def set_password(self, credential: PasswordCredential) -> None:
        """Set or replace it."""

    async def remove(self, id: UserId) -> None:
        """Forget it."""


class SignInFailures(Protocol):
    """Failed sign-ins by a keyed hash of the account name. Bounded: forgotten ones make room as others come."""

    async def get(self, key: bytes) -> Failures | None:
        """The count, or None."""

    async def add(self, key: bytes, now: datetime) -> None:
        """Count one more, atomically; a forgotten count begins again at one."""

    async def claim(self, key: bytes, seen: Failures, now: datetime) -> bool:
        """Take the one try that is due: of any number that saw the same failures, one gets it, and `last_at` becomes
        `now`, so that the next has to wait again."""

    async def give_back(self, key: bytes, seen: Failures, claimed_at: datetime) -> None:
        """Undo a claim whose try did not take place; nothing if there was another failure or success since."""

    async def clear(self, key: bytes) -> None:
        """Forget, after a success."""
