"""Keys and their life: published before first use, until the last thing they signed has expired.

States follow from times alone, so every worker passes from one to the next at the same moment, without a job.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from domain.clients import FAMILY_LIFETIME
from domain.errors import Conflict


class KeyUse(StrEnum):
    """`sign`: access tokens. `id_token_...`: ID tokens of one algorithm. The public halves of these are in the JWKS.
    `refresh`: the MAC of refresh tokens, wholly secret.

    Each kind of token has keys of its own, so that none can pass for another (RFC 8725, 3.12).
    """

    SIGN = "sign"
    REFRESH = "refresh"
    ID_TOKEN_RS256 = "id_token_rs256"  # noqa: S105  # a use, not a secret
    ID_TOKEN_ES256 = "id_token_es256"  # noqa: S105  # likewise


class KeyState(StrEnum):
    """`next` is published and not yet used, `active` signs, `retiring` still verifies, `retired` does nothing."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"


JWKS_MAX_AGE = timedelta(minutes=5)
"""How long a verifier may cache the JWKS; a key is published longer than that before it signs."""

_SEEN_BY_ALL = JWKS_MAX_AGE + timedelta(minutes=1)
LEAD: Mapping[KeyUse, timedelta] = {
    KeyUse.SIGN: _SEEN_BY_ALL,
    KeyUse.REFRESH: timedelta(minutes=1),
    KeyUse.ID_TOKEN_RS256: _SEEN_BY_ALL,
    KeyUse.ID_TOKEN_ES256: _SEEN_BY_ALL,
}
LINGER: Mapping[KeyUse, timedelta] = {
    KeyUse.SIGN: timedelta(hours=24) + timedelta(minutes=1),  # the longest access token a client may be given
    KeyUse.REFRESH: FAMILY_LIFETIME,
    KeyUse.ID_TOKEN_RS256: timedelta(hours=24) + timedelta(minutes=1),  # longer than any ID token
    KeyUse.ID_TOKEN_ES256: timedelta(hours=24) + timedelta(minutes=1),
}
ROTATE_AFTER: Mapping[KeyUse, timedelta] = {
    KeyUse.SIGN: timedelta(days=90),
    KeyUse.REFRESH: timedelta(days=365),
    KeyUse.ID_TOKEN_RS256: timedelta(days=180),
    KeyUse.ID_TOKEN_ES256: timedelta(days=180),
}
ALGORITHMS: Mapping[KeyUse, tuple[str, ...]] = {
    KeyUse.SIGN: ("ES256", "EdDSA", "RS256"),
    KeyUse.REFRESH: ("HS256",),
    KeyUse.ID_TOKEN_RS256: ("RS256",),
    KeyUse.ID_TOKEN_ES256: ("ES256",),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key. `sealed` is its secret half in the sealed format; `public` the public JWK (RFC 7517), without `kid`."""

    id: str
    use: KeyUse
    algorithm: str
    created_at: datetime
    activates_at: datetime
    sealed: bytes
    public: Mapping[str, str]
    superseded_at: datetime | None = None
    revoked_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, use={self.use!r}, algorithm={self.algorithm!r})"

    def state(self, now: datetime) -> KeyState:
        """Where in its life the key is at `now`."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if now < self.activates_at:
            return KeyState.NEXT
        if self.superseded_at is None or now < self.superseded_at:
            return KeyState.ACTIVE
        return KeyState.RETIRING if now < self.superseded_at + LINGER[self.use] else KeyState.RETIRED

    def usable(self, now: datetime) -> bool:
        """Whether what it signed is still accepted, and it belongs into the JWKS."""
        return self.state(now) in {KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRING}


def active(keys: Iterable[Key], use: KeyUse, now: datetime) -> Key | None:
    """The key that signs at `now`: the latest to have become active."""
    candidates = [k for k in keys if k.use is use and k.state(now) is KeyState.ACTIVE]
    return max(candidates, key=lambda k: (k.activates_at, k.id), default=None)


def succeed(keys: Iterable[Key], fresh: Key) -> list[Key]:
    """Rotation: what to save so that `fresh` takes over at its `activates_at` from those of its use.

    Raises Conflict while an earlier successor is still waiting for its turn.
    """
    now = fresh.created_at
    serving = [k for k in keys if k.use is fresh.use and k.state(now) in {KeyState.NEXT, KeyState.ACTIVE}]
    if any(k.state(now) is KeyState.NEXT for k in serving):
        raise Conflict("a next key is already waiting to become active", code="key_rotation_pending")
    return [*(replace(k, superseded_at=fresh.activates_at) for k in serving), fresh]


def revoke(keys: Iterable[Key], id: str, now: datetime) -> list[Key]:
    """What to save so that nothing the key signed is accepted any more, and another one serves if one is left.

    Whoever would have made room for it stays in office; a successor that waits takes over at once.
    """
    known = list(keys)
    key = next(k for k in known if k.id == id)
    changed = {id: replace(key, revoked_at=now)}
    for k in known:
        serving = k.state(now) in {KeyState.NEXT, KeyState.ACTIVE}  # next: to a clock that lags behind the others
        if k.use is key.use and serving and k.superseded_at == key.activates_at and k.id != id:
            changed[k.id] = replace(k, superseded_at=None)
    left = [changed.get(k.id, k) for k in known]
    if active(left, key.use, now) is None:
        waiting = [k for k in left if k.use is key.use and k.state(now) is KeyState.NEXT]
        changed |= {k.id: replace(k, activates_at=now) for k in waiting[:1]}
    return list(changed.values())


def due(keys: Iterable[Key], use: KeyUse, now: datetime) -> bool:
    """Whether a new key is to be made: none serves, or the one that does has served its time and nobody waits."""
    present = active(keys, use, now)
    if present is None:
        return True
    return present.superseded_at is None and now - present.activates_at >= ROTATE_AFTER[use]
