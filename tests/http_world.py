"""The real application on the memory store: real routes, use cases, tokens and hashes; only time is ours."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from dishka import AsyncContainer
from litestar import Litestar

from adapters.memory.store import MemoryStore
from application.authority import LiveAuthority
from application.installation import PrepareInstallation
from builders import NOW, SECOND, SettableClock
from domain import ports
from domain.roles import Grant
from domain.scopes import EVERYWHERE
from entrypoints.http.app import create_app
from entrypoints.settings import Settings, load
from wired import Adapters, instead, wired

ADMIN = "root@example.org"
PASSWORD = "a long enough pass phrase"

STORAGE = {
    "transaction": ports.Transaction, "users": ports.Users, "credentials": ports.Credentials,
    "failures": ports.SignInFailures, "roles": ports.Roles, "grants": ports.Grants, "clients": ports.Clients,
    "consents": ports.Consents, "one_time_values": ports.OneTimeValues,
    "sessions": ports.Sessions, "families": ports.Families, "keys": ports.Keys, "audit": ports.AuditLog,
    "answers": ports.Answers, "installations": ports.Installations, "changes": ports.Changes,
    "upkeep": ports.Upkeep,
}  # fmt: skip


class CurrentSchema:
    """A memory store always has the shape of its code."""

    async def lag(self) -> str | None:
        return None


def memory(store: MemoryStore, clock: ports.Clock) -> Adapters:
    """Everything a world stands on: the memory store in place of PostgreSQL, and a settable clock."""
    return {**on_store(store, store.feed), **instead(ports.Clock, clock)}


def on_store(store: Any, new_feed: Callable[[], Any]) -> Adapters:
    """The adapters of a store."""
    made = {port: partial(getattr, store, name) for name, port in STORAGE.items()}
    return {**made, ports.Schema: CurrentSchema, ports.ChangeFeed: new_feed}


@dataclass
class Api:
    """Speaks to the API as one caller after another."""

    client: httpx.AsyncClient
    store: MemoryStore
    clock: SettableClock
    container: Any
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def call(self, method: str, path: str, *, by: str | None = None, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if by is not None:
            headers.update(self.bearer(by))
        return await self.client.request(method, path, headers=headers, **options)

    def bearer(self, who: str) -> dict[str, str]:
        """The header that says who calls."""
        return {"Authorization": f"Bearer {self.tokens[who]['access_token']}"}

    async def login(self, who: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = await self.call("POST", "/api/v1/auth/login", json={"email": who, "password": password})
        assert answer.status_code == 200, answer.text
        self.tokens[who] = answer.json()
        return self.tokens[who]

    async def a_user(self, email: str, *roles: str, **more: Any) -> dict[str, Any]:
        body = {"email": email, "password": PASSWORD, "roles": list(roles), **more}
        answer = await self.call("POST", "/api/v1/users", by=ADMIN, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def store_grants(self) -> Sequence[Grant]:
        """All grants, as stored."""
        async with self.store.transaction():
            return (await self.store.grants.page(ports.GrantQuery((EVERYWHERE,)))).items

    async def caught_up(self) -> None:
        """The server has heard of everything that was committed."""
        await (await self.container.get(LiveAuthority)).catch_up()

    async def signed_in(self, email: str, *roles: str, **more: Any) -> dict[str, Any]:
        user = await self.a_user(email, *roles, **more)
        await self.login(email)
        return user


@asynccontextmanager
async def a_world(clock: SettableClock, **variables: str) -> AsyncIterator[Api]:
    """An application with one administrator, signed in; `variables` are HEXWARD_ settings."""
    more = {f"HEXWARD_{name}": value for name, value in variables.items()}
    settings = load({"HEXWARD_HASHING_THREADS": "2", **more}, Path.cwd())
    store = await prepared(settings)
    container = wired(settings, memory(store, clock))
    with an_application(container, settings, frozenset(more.items())) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with running(app), httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            world = Api(client, store, clock, container)
            await world.login(ADMIN)
            yield world


_prepared: list[MemoryStore] = []


async def prepared(settings: Settings) -> MemoryStore:
    """A store as a first start left it a second ago: made once, and copied."""
    if not _prepared:
        store = MemoryStore()
        container = wired(settings, memory(store, SettableClock(NOW - SECOND)))
        await (await container.get(PrepareInstallation))(ADMIN, PASSWORD, generate=True)
        await container.close()
        _prepared.append(store)
    return copy.deepcopy(_prepared[0])


_idle: dict[frozenset[tuple[str, str]], list[Litestar]] = {}


@contextmanager
def an_application(
    container: AsyncContainer, settings: Settings, key: frozenset[tuple[str, str]]
) -> Iterator[Litestar]:
    """One that served another test with the same settings, if there is one: to register all routes takes as long as
    most tests. All that it holds of a test hangs on the container, and is made anew when its lifespan begins."""
    idle = _idle.setdefault(key, [])
    app = idle.pop() if idle else create_app(container, settings)
    app.state.dishka_container = container
    yield app
    idle.append(app)


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[None]:
    """The application's lifespan, in a task of its own: a fixture begins and ends in different tasks."""
    up, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            up.set()
            await over.wait()

    life = asyncio.create_task(live())
    begun = asyncio.create_task(up.wait())
    await asyncio.wait([life, begun], return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        begun.cancel()
        life.result()  # it did not start, and says why
    yield
    over.set()
    await life


@asynccontextmanager
async def served(clock, replaced=(), *, peer="127.0.0.1", prepared=False, **settings):
    """An application with these settings, and a client that comes from that address."""
    loaded = load({f"HEXWARD_{name}": value for name, value in settings.items()}, Path.cwd())
    store = MemoryStore()
    container = wired(loaded, {**memory(store, clock), **dict(replaced)})
    if prepared:
        await (await container.get(PrepareInstallation))(ADMIN, PASSWORD, generate=False)
    app = create_app(container, loaded)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(peer, 4711))
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield store, client


def problem(answer, status, code):
    """Whether the answer is that problem, complete and in form."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), answer.text
    assert body["type"] == f"urn:hexward:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["correlation_id"] == answer.headers["x-request-id"]
    return body
