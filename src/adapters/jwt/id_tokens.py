"""ID tokens (OpenID Connect Core 2), with keys that sign nothing else."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from jwt import PyJWS, PyJWTError

from adapters.jwt.access_tokens import MAX_LENGTH
from adapters.jwt.ring import JwtSigningKeys
from domain.clients import IdTokenAlgorithm
from domain.keys import KeyUse

_USES: Mapping[IdTokenAlgorithm, KeyUse] = {
    IdTokenAlgorithm.RS256: KeyUse.ID_TOKEN_RS256,
    IdTokenAlgorithm.ES256: KeyUse.ID_TOKEN_ES256,
}
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class JwtIdTokens:
    """The ID tokens of `issuer`."""

    def __init__(self, keys: JwtSigningKeys, issuer: str) -> None:
        self._keys, self._issuer = keys, issuer
        self._jws = PyJWS(algorithms=[algorithm.value for algorithm in IdTokenAlgorithm])

    def sign(self, claims: Mapping[str, Any], algorithm: IdTokenAlgorithm, now: datetime) -> str:
        return self._keys.signing(_USES[algorithm], now).sign("JWT", msgspec.json.encode(claims))

    def hint(self, token: str) -> Mapping[str, Any] | None:
        if len(token) > MAX_LENGTH or not _COMPACT.fullmatch(token):
            return None
        try:
            key = self._keys.find(self._jws.get_unverified_header(token).get("kid", ""))
            if key is None or key.key.use not in _USES.values():
                return None
            claims = msgspec.json.decode(self._jws.decode(token, key.public, algorithms=[key.key.algorithm]))
        except (PyJWTError, ValueError, RecursionError):
            return None
        return claims if isinstance(claims, dict) and claims.get("iss") == self._issuer else None
