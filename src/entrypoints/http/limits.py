"""Rate limits: which quota a request draws on, and the headers that tell of it (draft-ietf-httpapi-ratelimit-headers).

Callers are told apart by address; an IPv6 caller by its network, for whoever has one address has 2^64 of them.
"""

import ipaddress
import math
from collections.abc import Mapping

from domain.limits import Allowance, Quota
from domain.ports import Limiter

QUOTAS: Mapping[str, Quota] = {
    "sign-in": Quota("sign-in", limit=6_000, seconds=60),
    "api": Quota("api", limit=20_000, seconds=1),
}
"""Bounds against a caller that runs wild, far above what one machine can answer; guessing at passwords is slowed down
by account, and hashing sheds what it cannot do."""

_SIGN_IN = ("/api/v1/auth/", "/login")
_EXEMPT = ("/health/", "/metrics")  # probes and scrapers must get through, above all when it is crowded


class Limits:
    """Draws on the quota of each request."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._policies = {q.name: f'"{q.name}";q={q.limit};w={q.seconds}'.encode() for q in QUOTAS.values()}

    async def take(self, path: str, address: str | None) -> tuple[Allowance, list[tuple[bytes, bytes]]] | None:
        """The allowance and its headers, or None for what nobody limits."""
        if path.startswith(_EXEMPT) or path == "/health":
            return None
        quota = QUOTAS["sign-in" if path.startswith(_SIGN_IN) else "api"]
        allowance = await self._limiter.take(quota, caller(address))
        left = f'"{quota.name}";r={allowance.remaining};t={math.ceil(allowance.reset)}'.encode()
        return allowance, [(b"ratelimit-policy", self._policies[quota.name]), (b"ratelimit", left)]


def caller(address: str | None) -> str:
    """What tells callers apart: the address, or its /64 network."""
    if address is None or ":" not in address:
        return address or ""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"
