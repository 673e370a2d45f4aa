"""JWTs by which clients authenticate themselves (RFC 7523, 2.2 and 3; RFC 8725)."""

import asyncio
import base64
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from jwt import PyJWK, PyJWS, PyJWTError

from adapters.oauth.remote_keys import RemoteDocuments, Unreachable
from application.authority import Recent
from domain.clients import KEYS_MAX, Client, ClientId
from domain.errors import Unavailable
from domain.ports import Assertion

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
MAX_LENGTH = 8 * 1024
RSA_BITS = 2048
FRESH = timedelta(minutes=5)
ASKED_AGAIN = timedelta(minutes=1)
"""How often, at most, a key that is not known leads to a request (PARITY R21)."""
CLIENTS = 1_000
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_KINDS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
_LAST_SECOND = 253_402_300_799  # the last one that a datetime can hold
type NumericDate = Annotated[float, msgspec.Meta(ge=0, le=_LAST_SECOND)]

log = logging.getLogger(__name__)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is heeded. `jwk`, `jku`, `x5u`, `x5c`, `crit` and whatever comes next are refused unread: an assertion
    does not bring its own key along (RFC 8725, 3.1)."""

    alg: str
    kid: str | None = None
    typ: str | None = None


class Claims(msgspec.Struct, frozen=True):
    """The claims by their registered names."""

    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: NumericDate
    jti: str | None = None
    iat: NumericDate | None = None
    nbf: NumericDate | None = None


_header = msgspec.json.Decoder(Header)
_claims = msgspec.json.Decoder(Claims)
_set = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class _Held:
    """The keys at a client's address as they were when they were read, None where there are none, and when they were
    asked for last, with success or not."""

    uri: str
    keys: Sequence[Mapping[str, Any]] | None = None
    read_at: datetime | None = None
    asked_at: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Whether the keys are good without asking."""
        return self.keys is not None and _within(FRESH, self.read_at, now)

    def may_be_asked(self, now: datetime) -> bool:
        """Whether it is long enough ago: neither strangers nor a site that is away lead to a request each time."""
        return not _within(ASKED_AGAIN, self.asked_at, now)


def _within(patience: timedelta, since: datetime | None, now: datetime) -> bool:
    return since is not None and timedelta(0) <= now - since < patience


class JwtClientAssertions:
    """Reads assertions with the keys that a client has registered, or publishes."""

    def __init__(self) -> None:
        self.fetch: Callable[[str], Awaitable[bytes]] = RemoteDocuments()
        self._jws = PyJWS(algorithms=ALGORITHMS)  # `none` and HMAC do not even exist in it
        self._held: Recent[ClientId, _Held] = Recent(CLIENTS)
        self._asking: dict[tuple[ClientId, str], asyncio.Task[_Held]] = {}

    def claimed(self, assertion: str) -> ClientId | None:
        compact = _COMPACT.fullmatch(assertion) if len(assertion) <= MAX_LENGTH else None
        if compact is None:
            return None
        try:
            return ClientId(_claims.decode(_decoded(compact[2])).sub)
        except (ValueError, RecursionError):
            return None

    async def read(self, assertion: str, client: Client, now: datetime) -> Assertion | None:
        compact = _COMPACT.fullmatch(assertion) if len(assertion) <= MAX_LENGTH else None
        if compact is None:
            return None
        try:
            header = _header.decode(_decoded(compact[1]))
            claims = _claims.decode(_decoded(compact[2]))
        except (ValueError, RecursionError):
            return None
        if header.alg not in ALGORITHMS:
            return None
        if not await self._is_signed(assertion, header, client, now):
            return None
        return Assertion(
            issuer=claims.iss,
            subject=claims.sub,
            audience=(claims.aud,) if isinstance(claims.aud, str) else claims.aud,
            id=claims.jti,
            expires_at=_time(claims.exp),
            issued_at=None if claims.iat is None else _time(claims.iat),
            not_before=None if claims.nbf is None else _time(claims.nbf),
        )

    async def _is_signed(self, assertion: str, header: Header, client: Client, now: datetime) -> bool:
        """By a key that is registered, or published: one that is not known may be new, and is asked for."""
        if client.jwks_uri is None:
            return self._verifies(assertion, header, _keys_of(client.jwks or {}))
        held = self._held.get(client.id)
        if held is None or held.uri != client.jwks_uri:
            held = _Held(client.jwks_uri)
        if not held.is_fresh(now) and held.may_be_asked(now):
            held = await self._asked(client.id, held, now)
        if held.keys is None:
            raise Unavailable("the keys of this application cannot be had", code="client_keys_unavailable")
        if self._verifies(assertion, header, held.keys):
            return True
        if not held.may_be_asked(now):
            return False
        held = await self._asked(client.id, held, now)
        return held.keys is not None and self._verifies(assertion, header, held.keys)

    def _verifies(self, assertion: str, header: Header, keys: Sequence[Mapping[str, Any]]) -> bool:
        """Whether one of the keys signed it: of that id, if it names one, and of a kind that the algorithm is for. As
        many are tried as could be registered."""
        fitting = [key for key in keys if _fits(key, header)]
        return any(self._signed_by(assertion, header.alg, key) for key in fitting[:KEYS_MAX])

    def _signed_by(self, assertion: str, algorithm: str, jwk: Mapping[str, Any]) -> bool:
        try:
            key = PyJWK(dict(jwk), algorithm=algorithm).key
            self._jws.decode(assertion, key, algorithms=[algorithm])
        except (PyJWTError, ValueError, TypeError, KeyError, RecursionError):
            return False
        return True

    async def _asked(self, id: ClientId, held: _Held, now: datetime) -> _Held:
        """What is at the address now. There is one request at a time, whose answer is good for all who wait; it goes on
        when they go away, so that nobody repeats it by hanging up."""
        place = (id, held.uri)
        asking = self._asking.get(place)
        if asking is None:
            asking = self._asking[place] = asyncio.create_task(self._ask(id, held, now))
            asking.add_done_callback(lambda _: self._asking.pop(place))
        return await asyncio.shield(asking)

    async def _ask(self, id: ClientId, held: _Held, now: datetime) -> _Held:
        try:
            found = _Held(held.uri, _published(await self.fetch(held.uri)), now, now)
        except (Unreachable, ValueError, RecursionError) as error:
            log.warning("the keys at %s cannot be had: %s", held.uri, error)
            found = replace(held, keys=held.keys if held.is_fresh(now) else None, asked_at=now)
        self._held.put(id, found)
        return found


def _fits(key: Mapping[str, Any], header: Header) -> bool:
    kind, curve = _KINDS[header.alg]
    if key.get("kty") != kind or (curve is not None and key.get("crv") != curve):
        return False
    if "d" in key:  # known to all who read it; and to take a secret half apart can take seconds
        return False
    if kind == "RSA" and len(str(key.get("n", "")).lstrip("A")) * 6 < RSA_BITS:  # A: zeros, that make nothing stronger
        return False
    if key.get("use", "sig") != "sig" or key.get("alg", header.alg) != header.alg:
        return False
    return header.kid is None or key.get("kid") == header.kid


def _keys_of(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    keys = document.get("keys")
    return [key for key in keys if isinstance(key, Mapping)] if isinstance(keys, list) else []


def _published(body: bytes) -> Sequence[Mapping[str, Any]]:
    """The keys of a set from elsewhere, where what is not understood is passed over (RFC 7517, 5)."""
    document = _set.decode(body)
    if not isinstance(document.get("keys"), list):
        raise Unreachable("the answer is no key set")
    return _keys_of(document)


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
