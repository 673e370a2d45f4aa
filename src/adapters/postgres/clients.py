"""Clients and consents in PostgreSQL."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.changes import announce
from adapters.postgres.database import Database, Hot, Row
from adapters.postgres.queries import parameters, storable, within
from adapters.postgres.tables import clients, consents
from domain.clients import BUILT_IN, AuthMethod, Client, ClientId, ClientSecret, GrantType, IdTokenAlgorithm
from domain.consents import Consent
from domain.ports import ChangeKind, ClientQuery, Page
from domain.scopes import Scope
from domain.users import UserId, email_key

_MOST = 2**63 - 1
_there = select(clients).where(clients.c.id == bindparam("id"), clients.c.deleted_at.is_(None))
_FIND = Hot(_there)
# Any number of those who issue tokens hold it at once, as the foreign keys of what they store do (FOR KEY SHARE), and
# none while somebody takes away what it may have (FOR UPDATE). Who waited reads the row anew.
_HELD = Hot(_there.with_for_update(read=True, key_share=True))
_LOCKED = Hot(_there.with_for_update())
_written = parameters(clients, "number")
_ADD = Hot(insert(clients).values(_written))
_SAVE = Hot(update(clients).where(clients.c.id == _written["id"]).values(_written))

_who = (consents.c.user_id == bindparam("user_id"), consents.c.client_id == bindparam("client_id"))
_FIND_CONSENT = Hot(select(consents).where(*_who))
_REMOVE_CONSENT = Hot(delete(consents).where(*_who).returning(consents.c.client_id))
_CONSENTS_OF = Hot(
    select(consents)
    .where(consents.c.user_id == bindparam("user_id"))
    .order_by(consents.c.granted_at, consents.c.client_id)
)


@dataclass(frozen=True, slots=True)
class PostgresClients:
    database: Database

    async def find(self, id: ClientId) -> Client | None:
        return await self._one(_FIND, id)

    async def held(self, id: ClientId) -> Client | None:
        return await self._one(_HELD, id)

    async def locked(self, id: ClientId) -> Client | None:
        return await self._one(_LOCKED, id)

    async def add(self, client: Client) -> None:
        await self.database.fetch(_ADD, **write_client(client))

    async def save(self, client: Client) -> None:
        await self.database.fetch(_SAVE, **write_client(client))
        await announce(self.database, ChangeKind.CLIENT, [client.id])

    async def page(self, query: ClientQuery) -> Page[Client]:
        table = clients
        statement = select(table).where(
            table.c.deleted_at.is_(None), table.c.id.not_in(BUILT_IN), within(table.c.scope_path, query.scopes)
        )
        if query.text is not None:
            if not storable(query.text):
                return Page([])
            statement = statement.where(func.strpos(table.c.name_key, email_key(query.text)) > 0)
        if query.after is not None:
            statement = statement.where(table.c.number > min(query.after[1].int, _MOST))
        rows = await self.database.rows(statement.order_by(table.c.number).limit(query.limit + 1))
        shown = rows[: query.limit]
        after = ("", UUID(int=shown[-1]["number"])) if len(rows) > query.limit else None
        return Page([read_client(row) for row in shown], after)

    async def _one(self, statement: Hot, id: ClientId) -> Client | None:
        row = await self.database.first(statement, id=id) if storable(id) else None
        return None if row is None else read_client(row)


@dataclass(frozen=True, slots=True)
class PostgresConsents:
    database: Database

    async def find(self, user_id: UserId, client_id: ClientId) -> Consent | None:
        if not storable(client_id):
            return None
        row = await self.database.first(_FIND_CONSENT, user_id=user_id, client_id=client_id)
        return None if row is None else _read_consent(row)

    async def save(self, consent: Consent) -> None:
        written = upsert(consents).values(
            user_id=consent.user_id,
            client_id=consent.client_id,
            scopes=sorted(consent.scopes),
            granted_at=consent.granted_at,
            updated_at=consent.updated_at,
        )
        kept: ColumnElement[Any] = literal_column(
            "ARRAY(SELECT DISTINCT unnest(consents.scopes || excluded.scopes) ORDER BY 1)"
        )
        changes = {"scopes": kept, "updated_at": written.excluded.updated_at}
        await self.database.execute(
            written.on_conflict_do_update(index_elements=["user_id", "client_id"], set_=changes)
        )

    async def remove(self, user_id: UserId, client_id: ClientId) -> bool:
        if not storable(client_id):
            return False
        return bool(await self.database.fetch(_REMOVE_CONSENT, user_id=user_id, client_id=client_id))

    async def of_user(self, user_id: UserId) -> Sequence[Consent]:
        return [_read_consent(row) for row in await self.database.fetch(_CONSENTS_OF, user_id=user_id)]


def _read_consent(row: Row) -> Consent:
    return Consent(
        user_id=UserId(row["user_id"]),
        client_id=ClientId(row["client_id"]),
        scopes=frozenset(row["scopes"]),
        granted_at=row["granted_at"],
        updated_at=row["updated_at"],
    )


def read_client(row: Row, prefix: str = "") -> Client:
    """A client from columns whose names begin with `prefix`."""
    return Client(
        id=ClientId(row[f"{prefix}id"]),
        name=row[f"{prefix}name"],
        enabled=row[f"{prefix}enabled"],
        access_token_lifetime=row[f"{prefix}access_token_lifetime"],
        family_idle=row[f"{prefix}family_idle"],
        family_lifetime=row[f"{prefix}family_lifetime"],
        auth_method=AuthMethod(row[f"{prefix}auth_method"]),
        grant_types=frozenset(map(GrantType, row[f"{prefix}grant_types"])),
        redirect_uris=tuple(row[f"{prefix}redirect_uris"]),
        post_logout_redirect_uris=tuple(row[f"{prefix}post_logout_redirect_uris"]),
        scopes=tuple(row[f"{prefix}scopes"]),
        audiences=tuple(row[f"{prefix}audiences"]),
        secrets=tuple(map(_read_secret, row[f"{prefix}secrets"])),
        jwks=row[f"{prefix}jwks"],
        jwks_uri=row[f"{prefix}jwks_uri"],
        id_token_algorithm=IdTokenAlgorithm(row[f"{prefix}id_token_algorithm"]),
        trusted=row[f"{prefix}trusted"],
        require_pkce=row[f"{prefix}require_pkce"],
        token_url_audience=row[f"{prefix}token_url_audience"],
        may_introspect=row[f"{prefix}may_introspect"],
        scope_path=Scope(row[f"{prefix}scope_path"]),
        created_at=row[f"{prefix}created_at"],
        updated_at=row[f"{prefix}updated_at"],
        deleted_at=row[f"{prefix}deleted_at"],
        version=row[f"{prefix}version"],
    )


def write_client(client: Client) -> Mapping[str, Any]:
    """The columns of a client, for hot statements, with the key that makes names comparable, as the core folds them."""
    return {
        "id": client.id,
        "name": client.name,
        "name_key": email_key(client.name),
        "enabled": client.enabled,
        "access_token_lifetime": client.access_token_lifetime,
        "family_idle": client.family_idle,
        "family_lifetime": client.family_lifetime,
        "auth_method": client.auth_method,
        "grant_types": sorted(client.grant_types),
        "redirect_uris": list(client.redirect_uris),
        "post_logout_redirect_uris": list(client.post_logout_redirect_uris),
        "scopes": list(client.scopes),
        "audiences": list(client.audiences),
        "secrets": json.dumps([_write_secret(secret) for secret in client.secrets]),
        "jwks": None if client.jwks is None else json.dumps(client.jwks),
        "jwks_uri": client.jwks_uri,
        "id_token_algorithm": client.id_token_algorithm,
        "trusted": client.trusted,
        "require_pkce": client.require_pkce,
        "token_url_audience": client.token_url_audience,
        "may_introspect": client.may_introspect,
        "scope_path": client.scope_path.path,
        "created_at": client.created_at,
        "updated_at": client.updated_at,
        "deleted_at": client.deleted_at,
        "version": client.version,
    }


def _read_secret(stored: Mapping[str, str | None]) -> ClientSecret:
    expires_at = stored["expires_at"]
    return ClientSecret(
        hash=base64.b64decode(stored["hash"] or ""),
        created_at=datetime.fromisoformat(stored["created_at"] or ""),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )


def _write_secret(secret: ClientSecret) -> Mapping[str, str | None]:
    return {
        "hash": base64.b64encode(secret.hash).decode(),
        "created_at": secret.created_at.isoformat(),
        "expires_at": None if secret.expires_at is None else secret.expires_at.isoformat(),
    }
