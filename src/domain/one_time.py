"""One-time values: random, hashed at rest, used once, short-lived, typed and owned.

A value is looked up by its kind and its hash, so that one of a kind can never be redeemed as another (PARITY R03), and
carries whom it belongs to, so that nobody else can redeem it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain.clients import ClientId
from domain.sessions import SessionId
from domain.users import UserId


class OneTimeKind(StrEnum):
    """What a value is good for, and nothing else."""

    AUTHORIZATION_CODE = "authorization_code"
    ASSERTION = "client_assertion"


@dataclass(frozen=True, slots=True)
class OneTimeValue:
    """A value that can be used once. `made` is what its use brought about (a session), for when it comes again.

    `details` is what its kind needs, as JSON values.
    """

    kind: OneTimeKind
    hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    client_id: ClientId | None = None
    user_id: UserId | None = None
    session_id: SessionId | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    used_at: datetime | None = None
    made: UUID | None = None


def one_time_hash(text: str) -> bytes:
    """What is stored of a value with full entropy."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
