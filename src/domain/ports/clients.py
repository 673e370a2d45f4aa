"""Applications, how they prove who they are, and what people let them have."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.clients import Client, ClientId
from domain.consents import Consent
from domain.ports.transactions import Page
from domain.scopes import Scope
from domain.users import UserId


@dataclass(frozen=True, slots=True)
class ClientQuery:
    """Which clients: at or below any of `scopes`, whose name contains `text` (None: all), the oldest first.
    Both are compared as `email_key` folds them. `after` is a Page's."""

    scopes: Collection[Scope]
    text: str | None = None
    limit: int = 50
    after: tuple[str, UUID] | None = None


class Clients(Protocol):
    """Applications. Those that are deleted are found by nobody, and their ids are never used again."""

    async def find(self, id: ClientId) -> Client | None:
        """The client, or None."""

    async def held(self, id: ClientId) -> Client | None:
        """The client, held against `locked` until the transaction ends; any number may hold it at the same time. For
        whoever hands out what `locked` takes away: who waited sees what was done meanwhile."""

    async def locked(self, id: ClientId) -> Client | None:
        """The client, held against all others until the transaction ends."""

    async def add(self, client: Client) -> None:
        """Store a new client; an id that was ever used is refused."""

    async def save(self, client: Client) -> None:
        """Replace a client read by `locked`, and tell the change feed."""

    async def page(self, query: ClientQuery) -> Page[Client]:
        """Clients in order of creation; those that are built in are left out."""


class Consents(Protocol):
    """What people let applications have; one a (user, client)."""

    async def find(self, user_id: UserId, client_id: ClientId) -> Consent | None:
        """The consent, or None."""

    async def save(self, consent: Consent) -> None:
        """Store it, or replace the one there is; scopes that another one granted meanwhile are kept."""

    async def remove(self, user_id: UserId, client_id: ClientId) -> bool:
        """Take it away; whether there was one."""

    async def of_user(self, user_id: UserId) -> Sequence[Consent]:
        """All of a user's, the oldest first."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """The claims of a client's assertion (RFC 7523, 3) whose signature is right; they are still to be judged."""

    issuer: str
    subject: str
    audience: tuple[str, ...]
    id: str | None
    expires_at: datetime
    issued_at: datetime | None = None
    not_before: datetime | None = None


class ClientAssertions(Protocol):
    """Reads JWTs by which clients authenticate themselves (RFC 7523, 2.2)."""

    def claimed(self, assertion: str) -> ClientId | None:
        """Whom it claims to come from, unverified, or None for what is no JWT; asks nobody."""

    async def read(self, assertion: str, client: Client, now: datetime) -> Assertion | None:
        """Its claims if one of the client's keys signed it with an algorithm that the key is for, else None.

        Keys at the client's `jwks_uri` are fetched when none is held, when those held are old, and when none fits, the
        last at most once a minute a client (PARITY R21). Raises Unavailable where they cannot be had.
        """
