"""Signing and verifying: the key decides about the algorithm and `now` about the time, never the token.

PyJWT does the signatures and the strict reading of the three segments. Claims are judged here, because PyJWT would
take the time from the system's clock.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from jwt import PyJWS, PyJWTError

from adapters.jwt.claims import TYPE, read_claims, read_header, write_claims
from adapters.jwt.ring import JwtSigningKeys, SigningKey
from application.authority import Recent
from domain.errors import NotAuthenticated
from domain.keys import ALGORITHMS, Key, KeyUse
from domain.tokens import AccessClaims

MAX_LENGTH = 8 * 1024
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature and claims are right; whether it holds *now* is asked anew each time."""

    claims: AccessClaims
    not_before: datetime
    key: Key


class JwtAccessTokens:
    """The tokens of `issuer`, signed with the keys of use `sign` and no others.

    What verified is remembered, by hash of the token, for the `cache_size` tokens used last. To be used by one event
    loop only.
    """

    def __init__(self, keys: JwtSigningKeys, issuer: str, cache_size: int = 10_000) -> None:
        self._keys, self._issuer = keys, issuer
        self._cache_size = cache_size
        self._generation = keys.generation
        self._jws = PyJWS(algorithms=ALGORITHMS[KeyUse.SIGN])  # `none` and HMAC do not even exist in it
        self._verified: Recent[bytes, _Verified] = Recent(cache_size)

    def sign(self, claims: AccessClaims, now: datetime) -> str:
        """Times are written in whole seconds, rounded down."""
        return self._keys.signing(KeyUse.SIGN, now).sign(TYPE, write_claims(claims))

    def verify(self, token: str, now: datetime) -> AccessClaims:
        """Raises NotAuthenticated as `read` does, and for a token that is for others only."""
        claims = self.read(token, now)
        if self._issuer not in claims.audience:
            raise _invalid()
        return claims

    def read(self, token: str, now: datetime) -> AccessClaims:
        """Raises NotAuthenticated with `token_expired` for what was a good token, `token_invalid` for all else."""
        if self._generation != self._keys.generation:
            self._verified, self._generation = Recent(self._cache_size), self._keys.generation
        if len(token) > MAX_LENGTH or not token.isascii():
            raise _invalid()
        digest = hashlib.sha256(token.encode()).digest()
        held = self._verified.get(digest)
        if held is not None:
            _check_now(held, now)
            return held.claims
        held = self._read(token)
        _check_now(held, now)
        self._verified.put(digest, held)
        return held.claims

    def _read(self, token: str) -> _Verified:
        """Everything that does not depend on the time."""
        try:
            key = self._key_of(token)
            payload = self._jws.decode(token, key.public, algorithms=[key.key.algorithm])
            claims, not_before = read_claims(payload)
        except (PyJWTError, ValueError, RecursionError):
            raise _invalid() from None  # their messages quote the token
        if claims.issuer != self._issuer:
            raise _invalid()
        return _Verified(claims, not_before, key.key)

    def _key_of(self, token: str) -> SigningKey:
        """The key that the token must be signed with; raises ValueError unless token and key agree on everything."""
        compact = _COMPACT.fullmatch(token)
        if compact is None:
            raise ValueError("not three segments")
        segment = compact[1]
        header = read_header(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        key = self._keys.find(header.kid)
        # PyJWT compares the algorithm as well, with what we tell it; confusion of keys is worth two locks.
        if (
            key is None
            or key.key.use is not KeyUse.SIGN
            or header.alg != key.key.algorithm
            or not header.is_access_token()
        ):
            raise ValueError("not an access token of a key of ours")
        return key


SKEW = timedelta(seconds=5)
"""How far the clocks of our own servers may be apart: a token from one is good at the others at once."""


def _check_now(held: _Verified, now: datetime) -> None:
    """Leeway at the beginning only, for the clocks of our own servers; the end is the end."""
    if not held.key.usable(now) or now < held.not_before - SKEW:
        raise _invalid()
    if now >= held.claims.expires_at:
        raise NotAuthenticated("the access token has expired", code="token_expired")


def _invalid() -> NotAuthenticated:
    return NotAuthenticated("the access token is not valid", code="token_invalid")
