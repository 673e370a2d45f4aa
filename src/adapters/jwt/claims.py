"""What an access token looks like on the wire: header and claims (RFC 9068, 2.1 and 2.2), strictly typed."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec

from domain.clients import ClientId
from domain.sessions import SessionId
from domain.tokens import AccessClaims
from domain.users import UserId

TYPE = "at+jwt"
_TYPES = frozenset({TYPE, f"application/{TYPE}"})

_LAST_SECOND = 253_402_300_799  # the last one that a datetime can hold
type NumericDate = Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly what we write. `jwk`, `jku`, `x5u`, `x5c`, `crit`, `b64` and whatever comes next are refused unread."""

    alg: str
    kid: str
    typ: str

    def is_access_token(self) -> bool:
        """Whether the token claims to be one; the ID tokens and logout tokens of the same keys do not."""
        return self.typ.lower() in _TYPES


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims by their registered names. Others are ignored, so that newer servers may add some.

    Times are whole seconds, rounded down. What tells of a person and their session is there as a whole or not at all.
    """

    iss: str
    sub: str
    aud: str | tuple[str, ...]
    client_id: str
    scope: str
    iat: NumericDate
    nbf: NumericDate
    exp: NumericDate
    jti: UUID
    sid: UUID | None = None
    auth_time: NumericDate | None = None
    acr: str | None = None
    amr: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    authv: tuple[int, int] | None = None
    claims: tuple[str, ...] = ()


_claims = msgspec.json.Decoder(Claims)
_header = msgspec.json.Decoder(Header)
_encoder = msgspec.json.Encoder()


def write_claims(claims: AccessClaims) -> bytes:
    """The claims as JSON; a single audience is written as a string (RFC 7519, 4.1.3)."""
    issued_at = int(claims.issued_at.timestamp())
    person = claims.user_id is not None
    wire = Claims(
        iss=claims.issuer,
        sub=claims.subject,
        aud=claims.audience[0] if len(claims.audience) == 1 else claims.audience,
        client_id=claims.client_id,
        scope=claims.scope,
        iat=issued_at,
        nbf=issued_at,
        exp=int(claims.expires_at.timestamp()),
        jti=claims.token_id,
        sid=claims.session_id,
        auth_time=None if claims.auth_time is None else int(claims.auth_time.timestamp()),
        acr=claims.acr,
        amr=claims.amr if person else None,
        roles=claims.roles if person else None,
        authv=claims.authv if person else None,
        claims=claims.claims,
    )
    return _encoder.encode(wire)


def read_header(text: bytes) -> Header:
    """Raises ValueError unless it is JSON with exactly the members of a Header."""
    return _header.decode(text)


def read_claims(text: bytes) -> tuple[AccessClaims, datetime]:
    """The claims, and the time before which they do not hold; raises ValueError if one is missing or mistyped."""
    wire = _claims.decode(text)
    person = (wire.sid, wire.auth_time, wire.acr, wire.amr, wire.roles, wire.authv)
    of_client = all(value is None for value in person)
    if not of_client and any(value is None for value in person):
        raise ValueError("a session, or none")
    if of_client and wire.sub != wire.client_id:
        raise ValueError("a client's own token has the client as its subject (RFC 9068, 2.2)")
    user_id = None if of_client else UserId(UUID(wire.sub))
    if user_id is not None and str(user_id) != wire.sub:
        raise ValueError("an id in another spelling")
    claims = AccessClaims(
        issuer=wire.iss,
        user_id=user_id,
        audience=(wire.aud,) if isinstance(wire.aud, str) else wire.aud,
        client_id=ClientId(wire.client_id),
        scope=wire.scope,
        issued_at=_time(wire.iat),
        expires_at=_time(wire.exp),
        token_id=wire.jti,
        session_id=None if wire.sid is None else SessionId(wire.sid),
        auth_time=None if wire.auth_time is None else _time(wire.auth_time),
        acr=wire.acr,
        amr=wire.amr or (),
        roles=wire.roles or (),
        authv=wire.authv or (0, 0),
        claims=wire.claims,
    )
    return claims, _time(max(wire.nbf, wire.iat))


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
