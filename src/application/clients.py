"""Clients: register applications, change them, give them secrets, and take them out of service."""

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from application.audit import Trail, require_any
from application.authority import Reread
from application.repetition import safe_to_repeat
from domain.audit import Action, Details
from domain.clients import (
    ACCESS_TOKEN_LIFETIME,
    ACCESS_TOKEN_LIFETIME_MAX,
    EMAIL,
    FAMILY_IDLE,
    FAMILY_LIFETIME,
    OPENID,
    PROFILE,
    AuthMethod,
    Client,
    ClientId,
    ClientSecret,
    GrantType,
    IdTokenAlgorithm,
    check_client,
    parse_audiences,
    parse_client_name,
    parse_jwks,
    parse_jwks_uri,
    parse_lifetime,
    parse_oauth_scopes,
    parse_redirect_uris,
    secret_hash,
)
from domain.errors import Conflict, Invalid, NotFound, Stale
from domain.policies import Actor, may_control_client, require
from domain.ports import ClientQuery, Clients, Clock, Families, Page, Secrets, Transaction
from domain.roles import CLIENTS_READ, CLIENTS_WRITE
from domain.scopes import Scope
from domain.sessions import EndReason

SECRET_PREFIX = "hws_"  # noqa: S105  # what secrets begin with, so that leaked ones can be searched for
SECRET_BYTES, ID_BYTES = 32, 12
OVERLAP, OVERLAP_MAX = 24 * 3600, 30 * 24 * 3600
"""How many seconds the secret before a new one is still accepted: unless told otherwise, and at the most."""


class AssertionAudience(StrEnum):
    """Whom a client's assertions have to be made for (RFC 7523, 3)."""

    ISSUER = "issuer"
    ISSUER_OR_TOKEN_URL = "issuer_or_token_url"  # noqa: S105  # an audience, not a secret


class Member(NamedTuple):
    """How a member of the metadata is kept: as which attribute of a client, how it is read, and what it is where none
    was given."""

    attribute: str
    read: Callable[[Any], object]
    default: object


def _addresses(name: str) -> Member:
    return Member(name, partial(parse_redirect_uris, pointer=f"/{name}"), ())


def _lifetime(name: str, attribute: str, default: timedelta, most: timedelta) -> Member:
    return Member(attribute, partial(parse_lifetime, most=most, pointer=f"/{name}"), default)


def _takes_token_url(audience: AssertionAudience) -> bool:
    return audience is AssertionAudience.ISSUER_OR_TOKEN_URL


MEMBERS: Mapping[str, Member] = {
    "client_name": Member("name", parse_client_name, ""),
    "redirect_uris": _addresses("redirect_uris"),
    "post_logout_redirect_uris": _addresses("post_logout_redirect_uris"),
    "grant_types": Member("grant_types", frozenset, frozenset({GrantType.AUTHORIZATION_CODE})),
    "scope": Member("scopes", parse_oauth_scopes, ()),
    "token_endpoint_auth_method": Member("auth_method", AuthMethod, AuthMethod.BASIC),
    "jwks": Member("jwks", parse_jwks, None),
    "jwks_uri": Member("jwks_uri", parse_jwks_uri, None),
    "id_token_signed_response_alg": Member("id_token_algorithm", IdTokenAlgorithm, IdTokenAlgorithm.RS256),
    "audiences": Member("audiences", parse_audiences, ()),
    "access_token_lifetime": _lifetime(
        "access_token_lifetime", "access_token_lifetime", ACCESS_TOKEN_LIFETIME, ACCESS_TOKEN_LIFETIME_MAX
    ),
    "refresh_token_idle": _lifetime("refresh_token_idle", "family_idle", FAMILY_IDLE, FAMILY_IDLE),
    "refresh_token_lifetime": _lifetime("refresh_token_lifetime", "family_lifetime", FAMILY_LIFETIME, FAMILY_LIFETIME),
    "require_pkce": Member("require_pkce", bool, True),
    "trusted": Member("trusted", bool, False),
    "introspection": Member("may_introspect", bool, False),
    "assertion_audience": Member("token_url_audience", _takes_token_url, False),
    "enabled": Member("enabled", bool, True),
}
"""The metadata that can be given, under the names of RFC 7591 where that has one."""


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """What to register, or a merge patch, as it came in: nothing here is parsed yet. Only `fields` of these count. None
    is what a member is where none was given; lifetimes are in seconds."""

    fields: Collection[str]
    client_name: str = ""
    redirect_uris: Sequence[str] | None = None
    post_logout_redirect_uris: Sequence[str] | None = None
    grant_types: Collection[GrantType] | None = None
    scope: str | None = None
    token_endpoint_auth_method: AuthMethod | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    id_token_signed_response_alg: IdTokenAlgorithm | None = None
    audiences: Sequence[str] | None = None
    access_token_lifetime: float | None = None
    refresh_token_idle: float | None = None
    refresh_token_lifetime: float | None = None
    require_pkce: bool | None = None
    trusted: bool | None = None
    introspection: bool | None = None
    assertion_audience: AssertionAudience | None = None
    enabled: bool | None = None

    def apply(self, client: Client, now: datetime) -> Client:
        """The changed client, one version on, or the same client if nothing differs; raises Invalid."""
        read: dict[str, Any] = {}
        for name, member in MEMBERS.items():
            if name in self.fields:
                value = getattr(self, name)
                read[member.attribute] = member.default if value is None else member.read(value)
        if "scope" in self.fields and self.scope is None:
            read["scopes"] = default_scopes(read.get("grant_types", client.grant_types))
        changes = {name: value for name, value in read.items() if getattr(client, name) != value}
        return check_client(client.changed(now, **changes)) if changes else client

    def registered(self, id: ClientId, scope_path: Scope, now: datetime) -> Client:
        """A new client, for which every member counts, given or not; raises Invalid."""
        blank = Client(id, "", scope_path=scope_path, created_at=now)
        return replace(replace(self, fields=MEMBERS.keys()).apply(blank, now), version=1)


def default_scopes(grants: Collection[GrantType]) -> tuple[str, ...]:
    """What a client may ask for unless told otherwise: who somebody is; of that a machine has no use."""
    return (OPENID, PROFILE, EMAIL) if GrantType.AUTHORIZATION_CODE in grants else ()


def _named(fields: Collection[str]) -> Details:
    """Members for the trail: their names, never their values."""
    return {"fields": " ".join(sorted(fields))}


def _differing(before: Client, after: Client) -> list[str]:
    return [n for n, member in MEMBERS.items() if getattr(before, member.attribute) != getattr(after, member.attribute)]


@dataclass(frozen=True, slots=True)
class Registered:
    """A client, and in clear the secret it just got, if it got one: nobody can read that again."""

    client: Client
    secret: str | None = field(default=None, repr=False)


def _new_secret(secrets: Secrets, now: datetime) -> tuple[str, ClientSecret]:
    text = SECRET_PREFIX + base64.urlsafe_b64encode(secrets.token(SECRET_BYTES)).rstrip(b"=").decode()
    return text, ClientSecret(secret_hash(text), now)


@dataclass(frozen=True, slots=True)
class CreateClient:
    """Register an application; one that proves itself by a secret gets its first."""

    clients: Clients
    reread: Reread
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, metadata: ClientMetadata, scope_path: str = "*") -> Registered:
        """Raises Invalid or Forbidden."""
        now = self.clock.now()
        place = Scope.parse(scope_path, "/scope_path")
        require(actor.decide(CLIENTS_WRITE, place))
        client = metadata.registered(ClientId(self.secrets.token(ID_BYTES).hex()), place, now)
        secret = None
        if client.auth_method.by_secret:
            secret, stored = _new_secret(self.secrets, now)
            client = replace(client, secrets=(stored,))
        async with self.transaction():
            require(may_control_client(await self.reread(actor), CLIENTS_WRITE, client))
            await self.clients.add(client)
            details = _named(metadata.fields)
            await self.trail.record(actor, Action.CLIENT_CREATED, f"client:{client.id}", details, scope=place)
        return Registered(client, secret)


@dataclass(frozen=True, slots=True)
class ShowClient:
    """One application, as far as the actor may see it; also those that are built in."""

    clients: Clients
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: ClientId) -> Client:
        """Raises NotFound, also for what the actor may not see, and Forbidden if they may see none."""
        scopes = actor.scopes(CLIENTS_READ)
        require_any(actor, scopes, str(CLIENTS_READ))
        async with self.transaction.reading():
            client = await self.clients.find(id)
        if client is None or not any(s.reaches(client.scope_path) for s in scopes):
            raise NotFound("no such application")
        return client


@dataclass(frozen=True, slots=True)
class ListClients:
    """The applications that the actor may see, by creation, without those that are built in."""

    clients: Clients
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, query: ClientQuery) -> Page[Client]:
        """Raises Forbidden for an actor who may see none."""
        scopes = actor.scopes(CLIENTS_READ)
        require_any(actor, scopes, str(CLIENTS_READ))
        async with self.transaction():
            return await self.clients.page(replace(query, scopes=scopes))


@dataclass(frozen=True, slots=True)
class ClientChange:
    """The ground every change of a client stands on: lock it, check the version and the actor's right to it."""

    clients: Clients
    families: Families
    reread: Reread
    trail: Trail
    clock: Clock
    transaction: Transaction

    async def held(self, actor: Actor, id: ClientId, version: int | None) -> tuple[Client, Actor]:
        """The client, locked, and the actor with authority as of now. `version` None: the caller did not ask for a
        check. Raises NotFound, Forbidden, Stale, or Conflict (`client_built_in`)."""
        client = await self.clients.locked(id)
        actor = await self.reread(actor)  # after the wait for the lock
        writable = actor.scopes(CLIENTS_WRITE)
        require_any(actor, writable, str(CLIENTS_WRITE))
        seen = (*writable, *actor.scopes(CLIENTS_READ))
        if client is None or not any(s.reaches(client.scope_path) for s in seen):
            raise NotFound("no such application")
        require(may_control_client(actor, CLIENTS_WRITE, client))
        if version is not None and client.version != version:
            raise Stale("the application has changed since it was read")
        if client.built_in:
            raise Conflict("built-in applications cannot be changed or deleted", code="client_built_in")
        return client, actor

    async def record(self, actor: Actor, action: Action, client: Client, details: Details) -> None:
        """Tell it to the trail, where the client belongs."""
        await self.trail.record(actor, action, f"client:{client.id}", details, scope=client.scope_path)


@dataclass(frozen=True, slots=True)
class UpdateClient:
    """Change what is registered of an application. Disabling it, and taking something away from it, ends its refresh
    tokens with the same commit."""

    change: ClientChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: ClientId, version: int | None, metadata: ClientMetadata) -> Client:
        """Raises NotFound, Forbidden, Stale, Invalid, or Conflict (`client_built_in`)."""
        work = self.change
        async with work.transaction():
            client, actor = await work.held(actor, id, version)
            now = work.clock.now()
            changed = metadata.apply(client, now)
            if changed is client:
                return client
            _check_auth_method(client, changed)
            require(may_control_client(actor, CLIENTS_WRITE, changed))
            await work.clients.save(changed)
            details = _named(_differing(client, changed))
            if client.enabled and not changed.enabled:
                details = {**details, "families_ended": await work.families.end_at(id, now, EndReason.CLIENT_DISABLED)}
            elif client.loses_to(changed):
                details = {**details, "families_ended": await work.families.end_at(id, now, EndReason.REVOKED)}
            await work.record(actor, Action.CLIENT_UPDATED, changed, details)
        return changed


def _check_auth_method(before: Client, after: Client) -> None:
    """How a client proves itself decides what it can be trusted with, so that stays as it was registered."""
    same = before.auth_method is after.auth_method or (before.auth_method.by_secret and after.auth_method.by_secret)
    if not same:
        raise Invalid.field(
            "/token_endpoint_auth_method",
            "only client_secret_basic and client_secret_post can be exchanged; register another application",
            code="auth_method_fixed",
        )


@dataclass(frozen=True, slots=True)
class RotateClientSecret:
    """A new secret; the one before it stays good for an overlap, so that nothing has to stop meanwhile."""

    change: ClientChange
    secrets: Secrets

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: ClientId, overlap_seconds: float = OVERLAP) -> Registered:
        """Raises Invalid, NotFound, Forbidden, or Conflict (`client_built_in`, `client_without_secret`)."""
        if not 0 <= overlap_seconds <= OVERLAP_MAX or overlap_seconds != int(overlap_seconds):
            raise Invalid.field("/overlap_seconds", f"from 0 to {OVERLAP_MAX} seconds", code="overlap_malformed")
        work = self.change
        async with work.transaction():
            client, actor = await work.held(actor, id, None)
            if not client.auth_method.by_secret:
                raise Conflict("this application does not prove itself by a secret", code="client_without_secret")
            now = work.clock.now()
            secret, stored = _new_secret(self.secrets, now)
            changed = client.with_secret(stored, now, timedelta(seconds=overlap_seconds))
            await work.clients.save(changed)
            details: Details = {**_named(["secrets"]), "overlap_seconds": int(overlap_seconds)}
            await work.record(actor, Action.CLIENT_SECRET_ROTATED, changed, details)
        return Registered(changed, secret)


@dataclass(frozen=True, slots=True)
class DeleteClient:
    """Take an application out of service for good: its secrets are wiped, its refresh tokens end."""

    change: ClientChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: ClientId, version: int | None) -> None:
        """Raises NotFound, Forbidden, Stale, or Conflict (`client_built_in`)."""
        work = self.change
        async with work.transaction():
            client, actor = await work.held(actor, id, version)
            now = work.clock.now()
            await work.clients.save(client.changed(now, enabled=False, secrets=(), deleted_at=now))
            ended = await work.families.end_at(id, now, EndReason.CLIENT_DISABLED)
            await work.record(actor, Action.CLIENT_DELETED, client, {"families_ended": ended})
