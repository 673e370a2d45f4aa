"""Browsers that are signed in: the cookie that says so, and the tokens that keep other sites' forms out.

A cookie is the id of a session and a MAC over it, as refresh tokens are: nothing is stored for it, a forgery ends
before the database, and a database that was restored (a new epoch) knows none of the cookies from before.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from application.keys import KeyRing
from application.repetition import safe_to_repeat
from domain.clients import PAGES
from domain.policies import Actor, Facts, Origin
from domain.ports import Clients, Clock, Roles, Sessions, Transaction, Users
from domain.sessions import Session, SessionId, exit_refusal
from domain.users import User

TOUCHED_AGAIN = timedelta(minutes=1)
"""A use is noted this often; in between, looking at a page writes nothing."""
_ID_BYTES, _MAC_BYTES = 16, 32


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that is signed in: its session, and the person as they are now."""

    session: Session
    user: User
    facts: Facts = field(repr=False)


@dataclass(frozen=True, slots=True)
class Browsers:
    """Who a browser is signed in as."""

    users: Users
    roles: Roles
    sessions: Sessions
    clients: Clients
    ring: KeyRing
    clock: Clock
    transaction: Transaction

    def cookie(self, session: Session) -> str:
        """What the browser is to keep; secret."""
        return _text(session.id.bytes + self._mac(session.id.bytes))

    @safe_to_repeat
    async def signed_in(self, cookie: str | None) -> Browser | None:
        """The browser of a cookie of ours whose session, user and client are all still allowed; else None."""
        id = self._session_id(cookie)
        if id is None:
            return None
        now = self.clock.now()
        async with self.transaction.reading():
            session = await self.sessions.find(id)
            user = await self.users.find(session.user_id) if session is not None else None
            facts = await self.users.facts(session.user_id) if session is not None else None
            client = await self.clients.find(PAGES)
        if session is None or user is None or facts is None or session.client_id != PAGES:
            return None
        if exit_refusal(facts.status, session, client, now) is not None:
            return None
        if now - session.last_used_at >= TOUCHED_AGAIN:
            await self._touch(id)
        return Browser(session, user, facts)

    async def actor(self, browser: Browser, origin: Origin) -> Actor:
        """Whoever sits at the browser, with authority as of now."""
        async with self.transaction.reading():
            rules = await self.roles.rules()
        return Actor.from_token(browser.facts, rules, self.clock.now(), browser.session.id, origin)

    def form_token(self, browser_key: str, cookie: str | None) -> str:
        """What a form has to send along: made for this browser, and for the session that it shows."""
        said = f"{browser_key}\0{cookie or ''}".encode(errors="surrogatepass")
        return _text(self.ring.keyed_hash("form", said))

    def is_form_token(self, given: str, browser_key: str | None, cookie: str | None) -> bool:
        """Whether a form of ours, shown to this browser, sent it."""
        if not browser_key:
            return False
        return hmac.compare_digest(given.encode(errors="replace"), self.form_token(browser_key, cookie).encode())

    async def _touch(self, id: SessionId) -> None:
        async with self.transaction():
            session = await self.sessions.locked(id)
            if session is not None and session.ended_at is None:
                await self.sessions.save(replace(session, last_used_at=self.clock.now()))

    def _session_id(self, cookie: str | None) -> SessionId | None:
        try:
            raw = base64.b64decode((cookie or "") + "=" * (-len(cookie or "") % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) != _ID_BYTES + _MAC_BYTES:
            return None
        id, mac = raw[:_ID_BYTES], raw[_ID_BYTES:]
        return SessionId(UUID(bytes=id)) if hmac.compare_digest(mac, self._mac(id)) else None

    def _mac(self, id: bytes) -> bytes:
        return self.ring.keyed_hash("browser-session", id + self.ring.epoch.to_bytes(4))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
