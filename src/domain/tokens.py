"""Tokens: what an access token says, and how a refresh token is written."""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.clients import API_SCOPE, OPENID, ClientId
from domain.errors import InvalidGrant
from domain.sessions import FamilyId, SessionId
from domain.users import UserId


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """The claims of an access token (RFC 9068). `roles` are those in force everywhere; `authv` is the subject's
    authority version and the rules version it was issued at; `claims` were asked for at userinfo by name.

    A token of a person has a session, and all that says of it; one that a client has for itself has none of that, and
    the client as its subject (RFC 9068, 2.2).
    """

    issuer: str
    user_id: UserId | None
    audience: tuple[str, ...]
    client_id: ClientId
    scope: str
    issued_at: datetime
    expires_at: datetime
    token_id: UUID
    session_id: SessionId | None = None
    auth_time: datetime | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    authv: tuple[int, int] = (0, 0)
    claims: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The `sub` claim."""
        return str(self.user_id) if self.user_id is not None else self.client_id

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes one by one."""
        return frozenset(self.scope.split())


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token says: generation `counter` of a family, in the database's life `epoch`."""

    family_id: FamilyId
    counter: int
    epoch: int
    key_id: str


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What a grant answers (RFC 6749, 5.1; OpenID Connect Core 3.1.3.3). `expires_in` in seconds."""

    access_token: str
    expires_in: int
    scope: str
    refresh_token: str | None = None
    id_token: str | None = None

    def __repr__(self) -> str:
        return "TokenSet(***)"


def audience_of(issuer: str, granted: Collection[str], scopes: Collection[str]) -> tuple[str, ...]:
    """Whom an access token is for: the resources that were granted and, where a scope is about ourselves or nothing was
    granted, the issuer (RFC 9068, 3)."""
    ours = not granted or API_SCOPE in scopes or OPENID in scopes
    return (*granted, issuer) if ours else tuple(granted)


PREFIX = "hwr_"
KEY_ID_BYTES = 8
_BODY = struct.Struct(">B16sQI8s")
_VERSION = 1
_LENGTH = len(PREFIX) + -(-(_BODY.size + 32) * 4 // 3)


def write_refresh_token(token: RefreshToken, key: bytes) -> str:
    """The token as text: the same values and key give the same bytes, so that nothing needs to be stored per token."""
    body = _BODY.pack(_VERSION, token.family_id.bytes, token.counter, token.epoch, bytes.fromhex(token.key_id))
    mac = hmac.digest(key, body, hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()


def read_refresh_token(text: str, key_of: Callable[[str], bytes | None]) -> RefreshToken:
    """Read what `write_refresh_token` wrote; raises InvalidGrant. A forgery ends here, before the database.

    `key_of` gives the key of an id, or None. Only the canonical spelling is accepted: a token has one text.
    """
    refused = InvalidGrant("the refresh token is not valid")
    if len(text) != _LENGTH or not text.startswith(PREFIX) or not text.isascii():
        raise refused
    encoded = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        version, family, counter, epoch, key_id = _BODY.unpack(raw[: _BODY.size])
    except (binascii.Error, struct.error) as error:
        raise refused from error
    key = key_of(key_id.hex())
    if version != _VERSION or key is None:
        raise refused
    if not hmac.compare_digest(raw[_BODY.size :], hmac.digest(key, raw[: _BODY.size], hashlib.sha256)):
        raise refused
    token = RefreshToken(FamilyId(UUID(bytes=family)), counter, epoch, key_id.hex())
    if not hmac.compare_digest(text, write_refresh_token(token, key)):
        raise refused
    return token
