"""Clients: the machines and applications that ask for tokens (RFC 6749, 2)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NewType

ClientId = NewType("ClientId", str)

FIRST_PARTY = ClientId("hexward-api")
"""The built-in public client that first-party sign-in acts as."""

ACCESS_TOKEN_LIFETIME = timedelta(minutes=5)
FAMILY_IDLE = timedelta(days=30)
FAMILY_LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Client:
    """An application. A disabled one gets no token, and its refresh tokens stop."""

    id: ClientId
    name: str
    enabled: bool = True
    access_token_lifetime: timedelta = ACCESS_TOKEN_LIFETIME
    family_idle: timedelta = FAMILY_IDLE
    family_lifetime: timedelta = FAMILY_LIFETIME
