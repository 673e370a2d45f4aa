"""Clients and consents in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from adapters.memory.tables import Tables, page_of, reached
from domain.clients import Client, ClientId
from domain.consents import Consent
from domain.ports import Change, ChangeKind, ClientQuery, Page
from domain.users import UserId, email_key


@dataclass(frozen=True, slots=True)
class MemoryClients:
    tables: Tables

    async def find(self, id: ClientId) -> Client | None:
        client = self.tables.clients.get(id)
        return client if client is not None and client.deleted_at is None else None

    async def held(self, id: ClientId) -> Client | None:
        return await self.find(id)

    async def locked(self, id: ClientId) -> Client | None:
        return await self.find(id)

    async def add(self, client: Client) -> None:
        if self.tables.clients.get(client.id) is not None:
            raise RuntimeError("the id of a client is never used again")
        self.tables.clients.put(client.id, client)

    async def save(self, client: Client) -> None:
        self.tables.clients.put(client.id, client)
        self.tables.transaction.announce(Change(ChangeKind.CLIENT, client.id))

    async def page(self, query: ClientQuery) -> Page[Client]:
        numbered = {client.id: UUID(int=n) for n, client in enumerate(self.tables.clients.all())}  # in order of adding
        return page_of(
            (client for client in self.tables.clients.all() if _matches(client, query)),
            lambda client: ("", numbered[client.id]),
            after=None if query.after is None else ("", query.after[1]),
            descending=False,
            limit=query.limit,
        )


def _matches(client: Client, query: ClientQuery) -> bool:
    return (
        client.deleted_at is None
        and not client.built_in
        and reached(query.scopes, client.scope_path)
        and (query.text is None or email_key(query.text) in email_key(client.name))
    )


@dataclass(frozen=True, slots=True)
class MemoryConsents:
    tables: Tables

    async def find(self, user_id: UserId, client_id: ClientId) -> Consent | None:
        return self.tables.consents.get((user_id, client_id))

    async def save(self, consent: Consent) -> None:
        known = await self.find(consent.user_id, consent.client_id)
        if known is not None:
            consent = known.widened(consent.scopes, consent.updated_at)
        self.tables.consents.put((consent.user_id, consent.client_id), consent)

    async def remove(self, user_id: UserId, client_id: ClientId) -> bool:
        there = await self.find(user_id, client_id) is not None
        self.tables.consents.remove((user_id, client_id))
        return there

    async def of_user(self, user_id: UserId) -> Sequence[Consent]:
        found = (consent for consent in self.tables.consents.all() if consent.user_id == user_id)
        return sorted(found, key=lambda consent: (consent.granted_at, consent.client_id))
