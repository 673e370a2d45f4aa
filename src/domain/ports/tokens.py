"""Tokens that others can verify: what signs them, and what they say."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from domain.clients import IdTokenAlgorithm
from domain.keys import Key
from domain.tokens import AccessClaims


class SigningKeys(Protocol):
    """The ring that tokens are signed and verified with."""

    def load(self, keys: Collection[tuple[Key, bytes]]) -> None:
        """Replace the ring by these keys with their opened secret halves; all but those of asymmetric uses are left
        out. Raises Unavailable for one that cannot be read, and keeps the ring as it was."""

    def jwks(self, now: datetime) -> bytes:
        """The public keys as a JSON Web Key Set (RFC 7517)."""


class AccessTokens(Protocol):
    """Signs and verifies access tokens (RFC 9068), algorithm pinned by key."""

    def sign(self, claims: AccessClaims, now: datetime) -> str:
        """The token, signed with the key that is active at `now`; raises Unavailable without one."""

    def verify(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token of ours, for ourselves, that has not expired; raises NotAuthenticated."""

    def read(self, token: str, now: datetime) -> AccessClaims:
        """The same, whomever the token is for."""


class IdTokens(Protocol):
    """Signs ID tokens (OpenID Connect Core 2), with keys that sign nothing else."""

    def sign(self, claims: Mapping[str, Any], algorithm: IdTokenAlgorithm, now: datetime) -> str:
        """The token, with these claims and no others; raises Unavailable without an active key of that algorithm."""

    def hint(self, token: str) -> Mapping[str, Any] | None:
        """The claims of an ID token that we signed, however long ago (an `id_token_hint`), or None. It names somebody
        and proves nothing."""
