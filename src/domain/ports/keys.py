"""Keys, the installation they belong to, and what is done with them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.keys import Key


class Keys(Protocol):
    """Keys, their secret halves sealed."""

    async def all(self) -> Sequence[Key]:
        """All keys; an adapter may leave out those that have been retired for long."""

    async def locked(self) -> Sequence[Key]:
        """The same, held against other writers of keys until the transaction ends."""

    async def save(self, keys: Collection[Key]) -> None:
        """Store or replace, and tell the change feed."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is known of this database: `epoch` counts its lives (a restore raises it), `secret` is sealed and keys
    hashes of account names, `prepared_at` is None until the first start has finished."""

    epoch: int
    secret: bytes | None
    prepared_at: datetime | None


class Installations(Protocol):
    """The one row about the installation itself."""

    async def read(self) -> Installation:
        """As it is."""

    async def locked(self) -> Installation:
        """The same, held against other starting servers until the transaction ends."""

    async def prepared(self, secret: bytes, at: datetime) -> None:
        """Mark the first start as done."""


class Sealer(Protocol):
    """Seals secrets at rest under the key-encryption key, with a key id, bound to their context."""

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt and authenticate; `context` names where the value lives, such as `keys/<id>`."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt; raises ValueError if key, context or bytes are not those it was sealed with."""

    def under(self, secret: bytes) -> "Sealer":
        """A sealer whose key is made of this one's and `secret`: what it seals opens with both and not with one."""


class KeyMaker(Protocol):
    """Makes key material."""

    def make(self, algorithm: str) -> tuple[Mapping[str, str], bytes]:
        """A fresh key: its public JWK (empty for secret keys) and its secret half, encoded."""
