"""The ring: signing keys with their secret halves, parsed once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

import msgspec
from jwt import get_algorithm_by_name
from jwt.algorithms import Algorithm, AllowedPublicKeys
from jwt.utils import base64url_encode

from adapters.jwt.make import PrivateKey, public_jwk, read_private_key
from domain.errors import Unavailable
from domain.keys import Key, KeyUse, active


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key ready for use. `jwk` comes from the sealed half: what the database says of the public one proves nothing,
    and publishing a stranger's key would let the stranger sign."""

    key: Key
    private: PrivateKey = field(repr=False)
    public: AllowedPublicKeys = field(repr=False)
    jwk: Mapping[str, str] = field(repr=False)
    algorithm: Algorithm = field(repr=False)

    def sign(self, type: str, payload: bytes) -> str:
        """A JWS in its compact form (RFC 7515, 7.1)."""
        signed = _header(type, self.key.algorithm, self.key.id) + b"." + base64url_encode(payload)
        return (signed + b"." + base64url_encode(self.algorithm.sign(signed, self.private))).decode()


class JwtSigningKeys:
    """The ring that both kinds of token share: keys of asymmetric uses; their states pass with the time that is asked
    about. `generation` rises with every load, for whoever remembers what verified."""

    def __init__(self) -> None:
        self._keys: Mapping[str, SigningKey] = {}
        self._published: tuple[tuple[str, ...], bytes] | None = None
        self.generation = 0

    def load(self, keys: Collection[tuple[Key, bytes]]) -> None:
        self._keys = {key.id: _read(key, secret) for key, secret in keys if key.use is not KeyUse.REFRESH}
        self._published = None
        self.generation += 1

    def find(self, id: str) -> SigningKey | None:
        """The key of that id, in whatever state."""
        return self._keys.get(id)

    def signing(self, use: KeyUse, now: datetime) -> SigningKey:
        """The key that signs at `now`; raises Unavailable without one."""
        key = active((held.key for held in self._keys.values()), use, now)
        if key is None:
            raise Unavailable(f"there is no key for the use {use}", code="no_active_key")
        return self._keys[key.id]

    def jwks(self, now: datetime) -> bytes:
        """The usable keys, newest first: the same bytes until one comes or goes."""
        usable = [held for held in self._keys.values() if held.key.usable(now)]
        usable.sort(key=lambda held: (held.key.activates_at, held.key.id), reverse=True)
        ids = tuple(held.key.id for held in usable)
        if self._published is None or self._published[0] != ids:
            keys = [{**held.jwk, "kid": held.key.id, "use": "sig", "alg": held.key.algorithm} for held in usable]
            self._published = ids, msgspec.json.encode({"keys": keys}, order="sorted")
        return self._published[1]


def _read(key: Key, secret: bytes) -> SigningKey:
    try:
        private = read_private_key(key.algorithm, secret)
    except ValueError as error:
        raise Unavailable(f"the signing key {key.id} cannot be read", code="key_malformed") from error
    return SigningKey(key, private, private.public_key(), public_jwk(private), get_algorithm_by_name(key.algorithm))


@lru_cache(maxsize=256)
def _header(type: str, algorithm: str, id: str) -> bytes:
    return base64url_encode(msgspec.json.encode({"alg": algorithm, "kid": id, "typ": type}))
