"""Live authority: what decisions are made from, in memory, and never older than the bound.

One instance a worker. It follows the change feed and forgets what changed; what it does not hold it reads. How old the
data may be is judged by the monotonic clock at the moment of each decision, not by the follower's good intentions.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NewType
from uuid import UUID

from application.keys import KeyRing
from domain.clients import Client, ClientId
from domain.errors import Forbidden, Unavailable
from domain.policies import Actor, Facts
from domain.ports import Change, ChangeFeed, ChangeKind, Clients, Clock, News, Roles, Sessions, Transaction, Users
from domain.roles import Rules
from domain.sessions import Session, SessionId
from domain.users import UserId

MaxStaleness = NewType("MaxStaleness", float)
"""How old, in seconds, authority data may be at the moment of a decision."""

HEARTBEAT = 1.0
CATCH_UP_SECONDS = 2.0
RETRY_SECONDS = 0.1
WAITING_FOR_NEWS = 1_000
SUBJECTS = 10_000

log = logging.getLogger(__name__)


class Recent[K, V]:
    """The values used last, up to a number: memory is bounded however many subjects there are."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the most recent one, or None."""
        value = self._held.get(key)
        if value is not None:
            self._held.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Hold it, and let the oldest one go where there is no room."""
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget it."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()


@dataclass(frozen=True, slots=True)
class Reread:
    """The actor with authority as of the present transaction.

    What hands authority on (grants, roles, passwords of others) is decided on what is stored now, not on what this
    worker has heard of so far: a role may have been defined or widened by another worker a moment ago.
    """

    users: Users
    roles: Roles

    async def __call__(self, actor: Actor) -> Actor:
        """The same actor; raises Forbidden if they are gone."""
        rules = await self.roles.rules()
        if actor.facts is None:
            return replace(actor, rules=rules)
        facts = await self.users.facts(actor.facts.user_id)
        if facts is None:
            raise Forbidden("nothing is known about the caller")
        return replace(actor, rules=rules, facts=facts)


class LiveAuthority:
    """Rules, subjects, sessions and clients as they are now, give or take `max_staleness` seconds."""

    def __init__(
        self,
        users: Users,
        roles: Roles,
        sessions: Sessions,
        clients: Clients,
        ring: KeyRing,
        transaction: Transaction,
        feed: ChangeFeed,
        clock: Clock,
        max_staleness: MaxStaleness,
    ) -> None:
        self._users, self._roles, self._sessions_store, self._clients_store = users, roles, sessions, clients
        self._ring, self._transaction, self._feed, self._clock = ring, transaction, feed, clock
        self._max_staleness = max_staleness
        self._rules: Rules | None = None
        self._subjects: Recent[UserId, Facts] = Recent(SUBJECTS)
        self._sessions: Recent[SessionId, Session] = Recent(SUBJECTS)
        self._clients: Recent[ClientId, Client] = Recent(SUBJECTS)
        self._keys_changed = True
        self._generation = 0
        self._fresh_at = float("-inf")
        self._reading = asyncio.Lock()
        self._waiting = 0

    async def follow(self) -> None:
        """Read the feed until cancelled: at every hint, and at the latest every heartbeat."""
        heartbeat = min(HEARTBEAT, self._max_staleness / 2)
        lost = False
        while True:
            try:
                await self.catch_up()
                if lost:
                    log.info("the change feed is back")
                lost = False
                await self._feed.wait(heartbeat)
            except Exception as error:  # whatever it is, following goes on: a dead follower would only be noticed late
                if not lost:
                    log.warning("the change feed is lost: %s", error, exc_info=not isinstance(error, Unavailable))
                lost = True
                await self._clock.sleep(RETRY_SECONDS)

    async def catch_up(self) -> None:
        """Take in everything committed until now; raises Unavailable when the feed cannot be read."""
        asked = self._clock.monotonic()
        await self._in_turn(lambda: self._fresh_at > asked)

    @property
    def age(self) -> float:
        """Seconds since the data was last known to be current."""
        return self._clock.monotonic() - self._fresh_at

    async def rules(self) -> Rules:
        """All roles; raises Unavailable rather than decide on data that is too old."""
        await self.ensure_fresh()
        if self._rules is not None:
            return self._rules
        generation = self._generation
        async with self._transaction.reading():
            rules = await self._roles.rules()
        if generation == self._generation:
            self._rules = rules
        return rules

    async def facts(self, id: UserId) -> Facts | None:
        """What counts for decisions about a user, or None if unknown; raises Unavailable."""
        return await self._read(self._subjects, id, self._users.facts)

    async def client(self, id: ClientId) -> Client | None:
        """The client, or None; raises Unavailable."""
        return await self._read(self._clients, id, self._clients_store.find)

    async def session_open(self, id: SessionId, now: datetime) -> bool:
        """Whether a session has neither ended nor outlived its absolute limit; raises Unavailable.

        Idle time is judged where it is renewed, at the refresh: an access token lives shorter than that.
        """
        session = await self._read(self._sessions, id, self._sessions_store.find)
        return session is not None and session.ended_at is None and now < session.expires_at

    async def _read[K, V](self, held: Recent[K, V], key: K, load: Callable[[K], Awaitable[V | None]]) -> V | None:
        await self.ensure_fresh()
        if (value := held.get(key)) is not None:
            return value
        generation = self._generation
        async with self._transaction.reading():
            value = await load(key)
        # News that came in during the read may be about what was read: good for this once, not to be kept.
        if value is not None and generation == self._generation:
            held.put(key, value)
        return value

    async def ensure_fresh(self) -> None:
        """Catch up if what is held, keys included, is older than the bound; raises Unavailable if that fails."""
        if self.age > self._max_staleness:
            await self._in_turn(lambda: self.age <= self._max_staleness)

    async def _in_turn(self, done: Callable[[], bool]) -> None:
        """Take in the news, unless another caller's read, for which this one waits, does it as well.

        Raises Unavailable after a bounded time, and at once where too many wait already: the feed is not answering.
        """
        if self._waiting >= WAITING_FOR_NEWS:
            raise _too_old()
        self._waiting += 1
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS), self._reading:
                if not done():
                    await self._take_in()
        except TimeoutError as error:
            raise _too_old() from error
        finally:
            self._waiting -= 1

    async def _take_in(self) -> None:
        began = self._clock.monotonic()
        self._forget(await self._feed.read())
        if self._keys_changed:
            await self._ring.reload()
            self._keys_changed = False
        self._fresh_at = began

    def _forget(self, news: News) -> None:
        if news.reset or news.changes:
            self._generation += 1
        if news.reset:
            self._rules = None
            self._keys_changed = True
            for held in (self._subjects, self._sessions, self._clients):
                held.clear()
        for change in news.changes:
            self._forget_one(change)

    def _forget_one(self, change: Change) -> None:
        match change.kind:
            case ChangeKind.RULES:
                self._rules = None
            case ChangeKind.AUTHORITY:
                self._subjects.drop(UserId(UUID(change.id)))
            case ChangeKind.SESSION:
                self._sessions.drop(SessionId(UUID(change.id)))
            case ChangeKind.CLIENT:
                self._clients.drop(ClientId(change.id))
            case ChangeKind.KEYS:
                self._keys_changed = True


def _too_old() -> Unavailable:
    return Unavailable("what is known of access rights is too old to decide", code="authority_stale")
