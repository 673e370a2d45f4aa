"""Tickets: an authorization request on its way through the pages, signed, so that nothing needs to be stored for it."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from application.keys import KeyRing
from domain.authorization import CARRIED_MAX, TICKET_LIFETIME, Parameters
from domain.errors import Invalid, OAuthError

SKEW = timedelta(seconds=5)
"""How far the clocks of our own servers may be apart."""
_MAC_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request as it came, and when, and of when the browser's sign-in was; `chosen` once the person has chosen to go
    on with the account they have."""

    parameters: Mapping[str, str]
    resources: tuple[str, ...]
    issued_at: datetime
    signed_in_at: datetime | None = None
    chosen: bool = False

    def request(self) -> Parameters:
        """The parameters, to be read once more: what was allowed may have changed meanwhile."""
        return Parameters([*self.parameters.items(), *(("resource", resource) for resource in self.resources)])

    def since(self, auth_time: datetime) -> bool:
        """Whether somebody has signed in since the request came: however shortly before it, that was no answer."""
        return auth_time >= self.issued_at - SKEW and auth_time != self.signed_in_at

    def go_on(self) -> "Ticket":
        """With the account that the browser has."""
        return replace(self, chosen=True)


@dataclass(frozen=True, slots=True)
class Tickets:
    """Writes and reads them."""

    ring: KeyRing

    def write(self, ticket: Ticket) -> str:
        """As text for a URL or a form. Raises OAuthError (`invalid_request`), to be told to the application, for a
        request that would not come back from there."""
        before = None if ticket.signed_in_at is None else ticket.signed_in_at.timestamp()
        content = [dict(ticket.parameters), ticket.resources, ticket.issued_at.timestamp(), before, ticket.chosen]
        body = json.dumps(content, separators=(",", ":")).encode()
        text = base64.urlsafe_b64encode(self._mac(body) + body).rstrip(b"=").decode()
        if len(text) > CARRIED_MAX:
            raise OAuthError("invalid_request", "the request is too long")
        return text

    def read(self, text: str, now: datetime) -> Ticket:
        """Raises Invalid (`ticket_expired`) for one that is old, or none of ours."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _expired() from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _expired()
        parameters, resources, issued_at, before, chosen = json.loads(body)
        signed_in_at = None if before is None else datetime.fromtimestamp(before, UTC)
        ticket = Ticket(parameters, tuple(resources), datetime.fromtimestamp(issued_at, UTC), signed_in_at, chosen)
        if now >= ticket.issued_at + TICKET_LIFETIME:
            raise _expired()
        return ticket

    def _mac(self, body: bytes) -> bytes:
        return self.ring.keyed_hash("authorization-ticket", body)


def _expired() -> Invalid:
    return Invalid("this page is too old; go back to the application and begin again", code="ticket_expired")
