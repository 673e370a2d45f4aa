"""Health over HTTP: alive, able to work, and what exactly is the matter."""

from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from adapters.memory.store import MemoryStore
from application.authority import LiveAuthority
from application.installation import PrepareInstallation
from domain import ports
from domain.errors import Unavailable
from entrypoints.http.app import create_app
from entrypoints.settings import load
from http_world import ADMIN, PASSWORD, STORAGE, memory, running
from wired import always, instead, wired


class Switch:
    """Turns the database off."""

    def __init__(self):
        self.off = False

    def check(self):
        if self.off:
            raise Unavailable("the database does not answer", code="database_away")


class OnASwitch:
    """A port that does not answer while the switch is off."""

    def __init__(self, port, switch):
        self._port, self._switch = port, switch

    def __getattr__(self, name):
        async def call(*arguments):
            self._switch.check()
            return await getattr(self._port, name)(*arguments)

        return call


@pytest.fixture
async def switch():
    return Switch()


@asynccontextmanager
async def served(store, clock, replaced=()):
    """An application that nobody has prepared, its container, and a client of it."""
    settings = load({}, Path.cwd())
    container = wired(settings, {**memory(store, clock), **dict(replaced)})
    app = create_app(container, settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield container, client


async def test_R10_an_unprepared_server_is_alive_and_says_what_it_lacks(clock):
    async with served(MemoryStore(), clock) as (container, client):
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        assert (live.status_code, live.json()) == (200, {"status": "ok"})
        assert (ready.status_code, ready.json()) == (503, {"status": "failing", "failing": ["database", "keys"]})
        login = await client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
        assert (login.status_code, login.json()["code"]) == (503, "no_active_key")
        assert int(login.headers["retry-after"]) >= 1
        await (await container.get(PrepareInstallation))(ADMIN, PASSWORD, generate=False)
        await (await container.get(LiveAuthority)).catch_up()
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "failing": []})


async def test_R10_a_store_without_its_tables_is_not_ready(clock):
    class NoTables:
        async def lag(self):
            return "the database is empty; run hexward db upgrade"

    async with served(MemoryStore(), clock, instead(ports.Schema, NoTables())) as (container, client):
        await (await container.get(PrepareInstallation))(ADMIN, PASSWORD, generate=False)
        await (await container.get(LiveAuthority)).catch_up()
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["failing"]) == (503, ["schema"])
        assert "upgrade" not in ready.text, "only operators are told more"


async def test_a_database_that_goes_away_is_told_by_readiness_and_comes_back_by_itself(clock, switch):
    store = MemoryStore()
    away = {port: getattr(store, name) for name, port in STORAGE.items() if name in ("installations", "users", "roles")}
    away[ports.ChangeFeed] = store.feed()
    replaced = {port: always(OnASwitch(adapter, switch)) for port, adapter in away.items()}
    async with served(store, clock, replaced) as (container, client):
        await (await container.get(PrepareInstallation))(ADMIN, PASSWORD, generate=False)
        await (await container.get(LiveAuthority)).catch_up()
        login = {"email": ADMIN, "password": PASSWORD}
        token = (await client.post("/api/v1/auth/login", json=login)).json()["access_token"]
        by = {"Authorization": f"Bearer {token}"}
        switch.off = True
        await clock.sleep(5)
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["failing"]) == (503, ["database", "change_feed"])
        assert (await client.get("/oauth2/jwks")).status_code == 200
        for answer in (await client.get("/api/v1/me", headers=by), await client.post("/api/v1/auth/login", json=login)):
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1
        switch.off = False
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/api/v1/me", headers=by)).status_code == 200


async def test_details_are_for_those_who_may_see_them(api):
    await api.signed_in("boss@example.org", "manager")
    assert (await api.call("GET", "/health")).status_code == 401
    refused = await api.call("GET", "/health", by="boss@example.org")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    answer = await api.call("GET", "/health", by=ADMIN)
    body = answer.json()
    assert (answer.status_code, body["status"], body["version"]) == (200, "ok", version("hexward"))
    assert [c["name"] for c in body["checks"]] == ["database", "schema", "keys", "change_feed"]
    assert all(c["ok"] and c["problem"] is None and c["milliseconds"] >= 0 for c in body["checks"])


async def test_probes_need_no_token_and_are_never_cached(api):
    for path in ("/health/live", "/health/ready"):
        for headers in ({}, {"Authorization": "Bearer forged"}, {"Authorization": "nonsense"}):
            answer = await api.call("GET", path, headers=headers)
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
