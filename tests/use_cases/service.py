"""The application on a store of either kind: wired as in production, with time, passwords and storage of the test's."""

import hashlib
from collections import ChainMap
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from dishka import AsyncContainer

from adapters.jwt import JwtKeyMaker
from application.authority import LiveAuthority
from application.installation import PrepareInstallation
from application.sign_in import SignIn
from application.users import Account, CreateUser, NewUser
from builders import SettableClock, new_id
from domain import ports
from domain.audit import AuditEvent
from domain.policies import Actor, Origin
from domain.ports import AuditQuery, Verdict
from domain.scopes import EVERYWHERE
from domain.tokens import TokenSet
from domain.users import UserId
from entrypoints.settings import load
from http_world import PASSWORD, on_store
from wired import MASTER_KEY, Adapters, instead, wired

ROOT = "root@example.org"
ORIGIN = Origin(door="test", address="192.0.2.7", correlation_id="story-1")


class QuickHasher:
    """The PasswordHasher port without the slowness, which tests/contracts is about: `cost` passes on the settable clock
    alone. What was compared is remembered, and `meanwhile` happens between a comparison and its answer."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.compared: list[str | None] = []
        self.hashed = 0
        self.cost: Callable[[str | None], float] = lambda _: 0.0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def hash(self, password: str) -> str:
        self.hashed += 1
        await self._interrupted()
        return f"quick${_digest(password)}"

    async def verify(self, password: str, hash: str | None) -> Verdict:
        self.compared.append(hash)
        cost = self.cost(hash)
        self.clock.move(timedelta(seconds=cost))
        await self._interrupted()
        kind, _, digest = (hash or "none$").partition("$")
        matches = digest == _digest(password)
        return Verdict(matches, outdated=matches and kind == "old", seconds=cost)

    async def _interrupted(self) -> None:
        happening, self.meanwhile = self.meanwhile, None
        if happening is not None:
            await happening()


class QuickKeyMaker:
    """The KeyMaker port; an RSA key, which takes long to make, is made once for all tests of a process."""

    def __init__(self) -> None:
        self._maker = JwtKeyMaker()

    def make(self, algorithm: str) -> Any:
        if algorithm != "RS256":
            return self._maker.make(algorithm)
        if not _rsa:
            _rsa.append(self._maker.make(algorithm))
        return _rsa[0]


_rsa: list[Any] = []


def old_hash(password: str) -> str:
    """A hash that is right and ought to be replaced."""
    return f"old${_digest(password)}"


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode(errors="surrogatepass")).hexdigest()


@dataclass
class Server:
    """One server on a store, which others may share."""

    store: Any
    clock: SettableClock
    hasher: QuickHasher
    container: AsyncContainer
    root: UserId | None = None

    async def get[T](self, kind: type[T]) -> T:
        return await self.container.get(kind)

    async def catch_up(self) -> None:
        """Hear what others have changed."""
        await (await self.get(LiveAuthority)).catch_up()

    async def actor(self, user_id: UserId) -> Actor:
        """That user, signed in, with the authority of this moment."""
        async with self.store.transaction():
            rules, facts = await self.store.roles.rules(), await self.store.users.facts(user_id)
        return Actor.from_token(facts, rules, self.clock.now(), new_id(), ORIGIN)

    async def operator(self) -> Actor:
        """The person at the command."""
        async with self.store.transaction():
            rules = await self.store.roles.rules()
        return Actor.operator("test", rules, self.clock.now(), ORIGIN)

    async def a_user(self, email: str, *roles: str, **more: Any) -> Account:
        """An account with these roles, made by the operator; active unless `password` is None."""
        new = NewUser(email, **{"password": PASSWORD, "roles": roles, **more})
        return await (await self.get(CreateUser))(await self.operator(), new)

    async def sign_in(self, name: str, password: str = PASSWORD) -> TokenSet:
        return await (await self.get(SignIn))(name, password, ORIGIN)

    async def events(self, **query: Any) -> list[AuditEvent]:
        """The trail, oldest first."""
        async with self.store.transaction():
            page = await self.store.audit.page(AuditQuery(**{"scopes": [EVERYWHERE], "limit": 1000, **query}))
        return list(reversed(page.items))

    async def found(self, user_id: UserId | UUID) -> Any:
        async with self.store.transaction():
            return await self.store.users.find(user_id)


@asynccontextmanager
async def a_server(
    store: Any,
    new_feed: Callable[[], Any],
    clock: SettableClock,
    *replaced: Adapters,
    prepared: bool = True,
    master_key: bytes = MASTER_KEY,
    **settings: str,
) -> Any:
    """A server with one administrator; `replaced` stand for adapters, `settings` are HEXWARD_ ones."""
    hasher = QuickHasher(clock)
    adapters = {**on_store(store, new_feed), **instead(ports.Clock, clock), **instead(ports.PasswordHasher, hasher)}
    adapters |= {ports.KeyMaker: QuickKeyMaker, **ChainMap(*(dict(each) for each in replaced))}
    loaded = load({f"HEXWARD_{name}": value for name, value in settings.items()}, Path.cwd())
    container = wired(loaded, adapters, master_key)
    server = Server(store, clock, hasher, container)
    try:
        if prepared:
            await (await server.get(PrepareInstallation))(ROOT, PASSWORD, generate=False)
            await server.catch_up()
            async with store.transaction():
                server.root = (await store.users.by_login(ROOT)).id
        yield server
    finally:
        await container.close()
