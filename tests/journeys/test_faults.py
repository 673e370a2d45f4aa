"""A database that ends connections, is full, stops, freezes and comes back, under a server that people use."""

import asyncio
import base64
import itertools
import os
import secrets
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx
import psutil
import pytest

from contracts.postgres_cluster import PostgresCluster, start_cluster
from journeys.server_process import ADMIN, Server, a_place, start

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.long]

SOAK = bool(os.environ.get("SOAK"))
FROZEN = 30.0 if SOAK else 8.0
LOADED = 20.0 if SOAK else 5.0
CALLERS = 16
LONGEST = 20.0
"""Seconds that an answer may take: a statement's time, and before and after it that for a connection."""
BACK_WITHIN = 5.0
PROBLEM = "application/problem+json"


@dataclass
class Load:
    """What callers asked and were told while it lasted."""

    server: Server
    token: dict[str, str]
    refresh: str
    answers: list[tuple[float, str, int, float]] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    running: bool = True
    at_work: asyncio.Event = field(default_factory=asyncio.Event)

    def statuses(self, since: float = 0.0) -> Counter[int]:
        return Counter(status for at, _, status, _ in self.answers if at >= since)

    def seconds(self, since: float, part: float) -> float:
        """What that part of the answers took at most."""
        took = sorted(seconds for at, _, _, seconds in self.answers if at >= since)
        return took[min(len(took) - 1, int(len(took) * part))]

    async def call(self, client: httpx.AsyncClient, number: int) -> None:
        """Create users, read them, read the list and oneself, until told to stop."""
        shown = "/api/v1/me"
        for turn in itertools.count():
            if not self.running:
                return
            email = f"load{number}-{turn}@example.org"
            await self.ask(client, "POST", "/api/v1/users", json={"email": email})
            for path in ("/api/v1/users?limit=3", shown, "/api/v1/me"):
                await self.ask(client, "GET", path)

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, **more: object) -> httpx.Response:
        began = time.monotonic()
        answer = await client.request(method, path, headers=self.token, **more)
        self.answers.append((began, f"{method} {path}", answer.status_code, time.monotonic() - began))
        if answer.status_code == 201:
            self.stored.append(answer.json()["id"])
            self.at_work.set()
        elif answer.status_code >= 400:
            told = answer.json()
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == PROBLEM
            assert int(answer.headers["retry-after"]) >= 1
            assert told["correlation_id"] == answer.headers["x-request-id"]
        return answer


@asynccontextmanager
async def under_load(server: Server, callers: int = CALLERS):
    """Callers at work until the block ends; whatever one of them finds wrong is raised."""
    with server.client() as client:
        token = server.login(client)
    load = Load(server, token, server.tokens[ADMIN]["refresh_token"])
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
        work = [asyncio.create_task(load.call(client, number)) for number in range(callers)]
        try:
            async with asyncio.timeout(60):
                await load.at_work.wait()
            yield load
        finally:
            load.running = False
            for outcome in await asyncio.gather(*work, return_exceptions=True):
                if outcome is not None:
                    raise outcome


async def status(server: Server, path: str, **more: object) -> int:
    async with httpx.AsyncClient(base_url=server.url, timeout=30, verify=False) as client:  # noqa: S501  # plain HTTP
        return (await client.get(path, **more)).status_code


async def within(seconds: float, ask, wanted: object) -> float:
    """Seconds until what is asked for is so, and once more; fails after that time."""
    began = time.monotonic()
    while (found := await ask()) != wanted:
        assert time.monotonic() - began < seconds, found
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def all_stored(load: Load, url: str) -> None:
    """What was acknowledged is there, whatever happened since."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch("SELECT id FROM hexward.users WHERE id = ANY($1::uuid[])", load.stored)
        events = await connection.fetch(
            "SELECT subject FROM hexward.audit_events WHERE action = 'user.created' AND subject = ANY($1)",
            [f"user:{id}" for id in load.stored],
        )
    finally:
        await connection.close()
    assert load.stored
    assert len(found) == len(events) == len(load.stored)


def settings(url: str, **more: str) -> dict[str, str]:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return {"HEXWARD_DATABASE_URL": url, "HEXWARD_MASTER_KEY": key, "HEXWARD_LOG_LEVEL": "warning", **more}


@pytest.fixture
async def place(request):
    """A server on a database of its own in a cluster that other tests share; a test may ask for a smaller pool."""
    cluster = start_cluster(18)
    name = await cluster.create_database(migrated=False)
    pool = getattr(request, "param", "10")
    with a_place() as data_dir:
        server = start(data_dir, settings(cluster.owner_url(name), HEXWARD_DATABASE_POOL_SIZE=pool))
        try:
            server.wait_until_ready()
            yield server, cluster.superuser_url(name)
        finally:
            server.stop()
            await cluster.drop_database(name)


@pytest.fixture(params=[15, 18] if SOAK else [18], ids=lambda version: f"postgres{version}")
async def cluster(request):
    """A cluster that this test may stop and freeze."""
    own = await asyncio.to_thread(PostgresCluster, request.param)
    yield own
    own.stop()


@pytest.fixture
async def server(cluster):
    name = await cluster.create_database("faults", migrated=False)
    with a_place() as data_dir:
        server = start(data_dir, settings(cluster.owner_url(name)))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()


VICTIM = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'hexward' AND datname = current_database() AND pid <> pg_backend_pid()
ORDER BY state LIKE 'idle in transaction%' OR state = 'active' DESC, random() LIMIT 1
"""


async def test_backends_that_are_ended_in_the_middle_cost_nobody_more_than_another_try(place):
    server, url = place
    connection = await asyncpg.connect(url)
    try:
        async with under_load(server) as load:
            ended, until = 0, time.monotonic() + LOADED
            while time.monotonic() < until:
                ended += len(await connection.fetch(VICTIM))
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
    assert ended > LOADED
    assert load.statuses()[201] > 0
    assert set(load.statuses()) <= {200, 201, 503}
    await within(BACK_WITHIN, lambda: status(server, "/health/ready"), 200)
    assert await status(server, "/api/v1/users", headers=load.token) == 200
    await all_stored(load, url)
    assert "Traceback" not in server.output(), server.output()[-4000:]


@pytest.mark.parametrize("place", ["2"], indirect=True)
async def test_with_every_connection_waiting_for_a_lock_callers_are_shed_and_the_rest_goes_on(place):
    server, url = place
    connection = await asyncpg.connect(url)
    try:
        async with under_load(server) as load:
            await connection.execute("BEGIN; LOCK TABLE hexward.users IN ACCESS EXCLUSIVE MODE")
            locked, slowest = time.monotonic(), 0.0
            async with httpx.AsyncClient(base_url=server.url) as client:
                while time.monotonic() < locked + 7:
                    asked = time.monotonic()
                    assert (await client.get("/health/live")).status_code == 200
                    slowest = max(slowest, time.monotonic() - asked)
                    asked = time.monotonic()
                    await client.get("/health/ready")
                    assert time.monotonic() - asked < 2
                    await asyncio.sleep(0.05)
            await connection.execute("ROLLBACK")
            await asyncio.sleep(1)
            back = time.monotonic()
            await asyncio.sleep(0.5)
    finally:
        await connection.close()
    assert slowest < 1
    assert load.statuses()[503] > 0
    assert load.seconds(locked, 1) < LONGEST
    assert set(load.statuses(back)) <= {200, 201}, load.statuses(back)
    assert 1 <= server.output().count("callers shed") <= 3, "told once in a while, not once a caller"
    await all_stored(load, url)


async def test_a_database_that_stops_is_told_at_once_lived_without_and_found_again(server, cluster):
    async with under_load(server) as load:
        await asyncio.to_thread(cluster.pause)
        stopped = time.monotonic()
        await within(2, lambda: status(server, "/health/ready"), 503)
        for _ in range(10):
            assert await status(server, "/oauth2/jwks") == 200
            assert await status(server, "/health/live") == 200
            await asyncio.sleep(0.2)
        away = time.monotonic()
        assert set(load.statuses(stopped + 1.5)) == {503}, load.statuses(stopped + 1.5)
        await asyncio.to_thread(cluster.resume)
        await within(BACK_WITHIN, lambda: status(server, "/health/ready"), 200)
        await within(BACK_WITHIN, lambda: status(server, "/api/v1/users", headers=load.token), 200)
        back = time.monotonic()
        await asyncio.sleep(0.5)
    assert away > stopped
    assert set(load.statuses(back)) <= {200, 201}, load.statuses(back)
    await all_stored(load, cluster.superuser_url("faults"))
    assert "Traceback" not in server.output(), server.output()[-4000:]


async def test_a_database_that_freezes_delays_nobody_beyond_the_time_outs(server, cluster):
    [worker] = server.workers()
    usual = psutil.Process(worker).memory_info().rss
    async with under_load(server, 64) as load:
        frozen = time.monotonic()
        with cluster.frozen():
            told = await within(3, lambda: status(server, "/health/ready"), 503)
            slowest = []
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
                while time.monotonic() < frozen + FROZEN:
                    asked = time.monotonic()
                    assert (await client.get("/health/live")).status_code == 200
                    slowest.append(time.monotonic() - asked)
                    assert (await client.get("/oauth2/jwks")).status_code == 200
                    asked = time.monotonic()
                    assert (await client.get("/health/ready")).status_code == 503
                    assert time.monotonic() - asked < 2.5
                    await asyncio.sleep(0.1)
        await within(BACK_WITHIN, lambda: status(server, "/health/ready"), 200)
        await within(BACK_WITHIN, lambda: status(server, "/api/v1/users", headers=load.token), 200)
        back = time.monotonic()
        await asyncio.sleep(0.5)
    assert told < 2.5
    assert sorted(slowest)[len(slowest) // 2] < 0.5
    assert load.seconds(frozen, 0.99) < LONGEST
    assert load.statuses(frozen)[503] > 0, "whoever waits is told"
    assert set(load.statuses(back)) <= {200, 201, 503}
    assert psutil.Process(worker).memory_info().rss < usual + (64 << 20)
    await all_stored(load, cluster.superuser_url("faults"))
    assert "Traceback" not in server.output(), server.output()[-4000:]
