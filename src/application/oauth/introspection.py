"""What others may ask about a token, and how one is taken back (RFC 7662, RFC 7009)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from application.audit import Trail
from application.authority import LiveAuthority
from application.keys import KeyRing
from application.oauth.authentication import AuthenticateClient, Basic
from application.repetition import safe_to_repeat
from application.sessions import Authenticate
from domain.audit import Action
from domain.authorization import Parameters
from domain.clients import FIRST_PARTY, Client, ClientId
from domain.errors import InvalidGrant, NotAuthenticated, OAuthError
from domain.policies import Origin
from domain.ports import AccessTokens, Clock, Families, Sessions, Transaction
from domain.sessions import EndReason, Family, SessionId, exit_refusal
from domain.tokens import PREFIX, AccessClaims, read_refresh_token

INACTIVE: Mapping[str, Any] = {"active": False}
"""All that is told of a token that is not good, not known, or not the caller's business (RFC 7662, 2.2)."""


@dataclass(frozen=True, slots=True)
class Introspect:
    """Whether a token is good at this moment, and what it stands for."""

    authenticate_client: AuthenticateClient
    authenticate: Authenticate
    access_tokens: AccessTokens
    authority: LiveAuthority
    families: Families
    ring: KeyRing
    clock: Clock
    transaction: Transaction

    async def __call__(self, parameters: Parameters, basic: Basic | None, origin: Origin) -> Mapping[str, Any]:
        """Raises OAuthError (`invalid_client`, `invalid_request`, or `unauthorized_client` for one that may not)."""
        client = await self.authenticate_client(parameters, basic, origin)
        if not client.may_introspect:
            raise OAuthError("unauthorized_client", "this application may not introspect tokens")
        token = parameters.required("token")
        if token.startswith(PREFIX):
            return await self._refresh_token(token, client)
        return await self._access_token(token, client)

    async def _access_token(self, token: str, caller: Client) -> Mapping[str, Any]:
        now = self.clock.now()
        await self.authority.ensure_fresh()
        try:
            claims = self.access_tokens.read(token, now)
            if not _concerns(claims, caller):
                return INACTIVE
            if claims.session_id is not None:
                await self.authenticate.holder(claims, now)
            else:
                await self._require_client(claims.client_id)
        except NotAuthenticated:
            return INACTIVE
        return _told(claims)

    async def _require_client(self, id: ClientId) -> None:
        client = await self.authority.client(id)
        if client is None or client.refusal() is not None:
            raise NotAuthenticated("the application is disabled", code="client_disabled")

    @safe_to_repeat
    async def _refresh_token(self, token: str, caller: Client) -> Mapping[str, Any]:
        """Only the client's own: a refresh token is nobody else's business."""
        now = self.clock.now()
        try:
            read = read_refresh_token(token, lambda id: self.ring.refresh_key(id, now))
        except InvalidGrant:
            return INACTIVE
        async with self.transaction.reading():
            found = await self.families.standing(read.family_id)
        if found is None or found.client.id != caller.id or found.family.epoch != self.ring.epoch:
            return INACTIVE
        family = found.family
        refusal = exit_refusal(found.facts.status, found.session, found.client, now, family.rotated_at)
        if refusal is not None or not family.alive(now) or read.counter != family.counter:
            return INACTIVE
        return {
            "active": True,
            "scope": family.scope,
            "client_id": family.client_id,
            "sub": str(family.user_id),
            "iat": int(family.rotated_at.timestamp()),
            "exp": int(min(family.expires_at, family.rotated_at + family.idle).timestamp()),
            "token_type": "refresh_token",
        }


def _concerns(claims: AccessClaims, caller: Client) -> bool:
    """Whether the caller may know of the token: its own, or one for an audience it is registered for (RFC 7662, 4)."""
    return claims.client_id == caller.id or not set(claims.audience).isdisjoint(caller.audiences)


def _told(claims: AccessClaims) -> dict[str, Any]:
    told: dict[str, Any] = {
        "active": True,
        "scope": claims.scope,
        "client_id": claims.client_id,
        "token_type": "Bearer",
        "exp": int(claims.expires_at.timestamp()),
        "iat": int(claims.issued_at.timestamp()),
        "nbf": int(claims.issued_at.timestamp()),
        "sub": claims.subject,
        "aud": claims.audience[0] if len(claims.audience) == 1 else list(claims.audience),
        "iss": claims.issuer,
        "jti": str(claims.token_id),
    }
    if claims.session_id is not None and claims.auth_time is not None:
        told |= {
            "sid": str(claims.session_id),
            "auth_time": int(claims.auth_time.timestamp()),
            "acr": claims.acr,
            "amr": list(claims.amr),
            "roles": list(claims.roles),
        }
    return told


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """Takes back a token and all that was given with it: the client's session ends (RFC 7009, 2.1)."""

    authenticate_client: AuthenticateClient
    access_tokens: AccessTokens
    authority: LiveAuthority
    sessions: Sessions
    families: Families
    ring: KeyRing
    trail: Trail
    clock: Clock
    transaction: Transaction

    async def __call__(self, parameters: Parameters, basic: Basic | None, origin: Origin) -> None:
        """A token that is not good, or not the client's own, is no error (2.2). Raises OAuthError, also
        `unsupported_token_type` for a token that a client has for itself, which nothing can take back."""
        client = await self.authenticate_client(parameters, basic, origin)
        token = parameters.required("token")
        now = self.clock.now()
        await self.authority.ensure_fresh()
        session = await (self._of_refresh if token.startswith(PREFIX) else self._of_access)(token, client, now)
        if session is not None:
            await self._end(session, client, now, origin)

    async def _of_refresh(self, token: str, client: Client, now: datetime) -> SessionId | None:
        try:
            read = read_refresh_token(token, lambda id: self.ring.refresh_key(id, now))
        except InvalidGrant:
            return None
        async with self.transaction.reading():
            family: Family | None = await self.families.find(read.family_id)
        return family.session_id if family is not None and family.client_id == client.id else None

    async def _of_access(self, token: str, client: Client, now: datetime) -> SessionId | None:
        try:
            claims = self.access_tokens.read(token, now)
        except NotAuthenticated:
            return None
        if claims.client_id != client.id:
            return None
        if claims.session_id is None:
            raise OAuthError("unsupported_token_type", "a token of an application itself ends by itself")
        return claims.session_id

    @safe_to_repeat
    async def _end(self, session: SessionId, client: Client, now: datetime, origin: Origin) -> None:
        reason = EndReason.SIGNED_OUT if client.id == FIRST_PARTY else EndReason.REVOKED
        async with self.transaction():
            if await self.sessions.end([session], now, reason):
                await self.trail.record_at_door(
                    origin, Action.TOKEN_REVOKED, actor=f"client:{client.id}", subject=f"session:{session}"
                )
