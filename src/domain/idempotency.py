"""Requests that may be sent twice and count once: what is kept of the answer to each (the Idempotency-Key header)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.errors import Invalid

KEPT = timedelta(hours=24)
"""How long the same key gives the same answer."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that was given. `id` is a keyed hash of caller, operation and key, `fingerprint` one of what was asked;
    `sealed` opens only with the key at hand, so that what is stored tells nothing of a secret in an answer."""

    id: bytes
    fingerprint: bytes
    sealed: bytes
    expires_at: datetime

    def require_same(self, fingerprint: bytes) -> None:
        """Raises Invalid for another request under the same key."""
        if fingerprint != self.fingerprint:
            raise Invalid(
                "this Idempotency-Key came with another request before; use a fresh key for each",
                code="idempotency_key_reused",
            )
