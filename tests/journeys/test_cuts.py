"""Thousands of callers who hang up at any moment, and others beside them who must not feel it."""

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest

from adapters.postgres.database import POOL_SIZE
from adapters.postgres.embedded import EmbeddedPostgres
from journeys.server_process import ADMIN, PASSWORD, Server, a_server
from journeys.wire import cut, request

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.long]

CUTS = 10_000 if os.environ.get("SOAK") else 750
"""With one worker, and as many again with two."""
CUTTERS = 8
PEOPLE = 4
FAMILIES = 8
APART = 2.0  # seconds between two uses of one family: what was cut must not come so late that it looks like theft

BACKENDS = "FROM pg_stat_activity WHERE application_name = 'hexward'"
OPEN = f"SELECT count(*) {BACKENDS} AND state IS DISTINCT FROM 'idle' AND state IS DISTINCT FROM 'disabled'"


@dataclass
class Person:
    """Somebody who signed in; `used` is when their refresh token was last presented."""

    id: str
    name: str
    email: str
    access: str
    refresh: str
    used: float = 0.0


@dataclass
class World:
    """A server, its people, what is tried on it, and within how many seconds each kind of it is cut."""

    server: Server
    owner: str
    admin: Person
    people: list[Person]
    families: list[Person]
    victims: list[tuple[str, str]]
    chance: random.Random
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    done: Counter[str] = field(default_factory=Counter)
    pace: dict[str, float] = field(default_factory=dict)

    def client(self) -> httpx.AsyncClient:
        """For whoever does not hang up."""
        return httpx.AsyncClient(base_url=self.server.url, timeout=60, verify=False)  # noqa: S501  # plain HTTP

    def any_request(self) -> tuple[str, bytes, dict[str, Any]]:
        """What it is called, its bytes, and what an answer with 200 has to say."""
        number, person = next(self.numbers), self.chance.choice(self.people)
        (victim, address), by = self.chance.choice(self.victims), self.admin.access
        user = f"/api/v1/users/{victim}"
        email = f"cut{number}@example.org"
        login = {"email": "visitor@example.org", "password": PASSWORD}
        name, wanted, *sent = self.chance.choice([
            ("login", {}, "POST", "/api/v1/auth/login", None, login),
            ("me", {"id": person.id, "display_name": person.name}, "GET", "/api/v1/me", person.access, None),
            ("change me", {"id": person.id}, "PATCH", "/api/v1/me", person.access, {"locale": f"x-{number % 1000}"}),
            ("show", {"id": victim, "email": address}, "GET", user, by, None),
            ("show me", {"id": person.id, "email": person.email}, "GET", f"/api/v1/users/{person.id}", by, None),
            ("create", {"email": email}, "POST", "/api/v1/users", by, {"email": email}),
            ("change", {"id": victim}, "PATCH", user, by, {"locale": f"x-{number % 1000}"}),
            ("list", {}, "GET", "/api/v1/users?limit=20", by, None),
            ("grant", {}, "PUT", f"{user}/roles/manager?scope=org/{number % 9}", by, None),
            ("revoke", {}, "DELETE", f"{user}/roles/manager?scope=org/{number % 9}", by, None),
            ("define", {}, "POST", "/api/v1/roles", by, {"name": f"cut{number}", "permissions": ["docs:read"]}),
            ("roles", {}, "GET", "/api/v1/roles", by, None),
            ("grants", {}, "GET", "/api/v1/grants?limit=20", by, None),
            ("trail", {}, "GET", "/api/v1/audit-events?limit=20", by, None),
            ("jwks", {}, "GET", "/oauth2/jwks", None, None),
            ("live", {"status": "ok"}, "GET", "/health/live", None, None),
            ("ready", {"status": "ok"}, "GET", "/health/ready", None, None),
        ])  # fmt: skip
        headers = {"x_request_id": f"cut-{number}", "if_match": "*"}
        return name, request(sent[0], sent[1], token=sent[2], body=sent[3], **headers), {**wanted, "": f"cut-{number}"}

    async def cut_something(self) -> None:
        """One request of any kind, cut at a random byte or after a random time."""
        if self.chance.random() < 0.12 and await self.cut_a_refresh():
            return
        name, sent, wanted = self.any_request()
        answer = await self._cut(name, sent)
        self.done[name] += 1
        if answer is None:
            return
        self.done["answered"] += 1
        assert answer.headers["x-request-id"] == wanted.pop("")
        if answer.status < 300 and answer.body:
            said = answer.json()
            assert {key: said[key] for key in wanted} == wanted
        if name == "login" and answer.status == 503:
            assert answer.json()["code"] == "overloaded"
        elif name != "ready":  # which says so where the machine is too slow for its bound
            assert answer.status < 500, answer.body

    async def cut_a_refresh(self) -> bool:
        """Cut a refresh and repeat it: whatever became of it, its owner goes on."""
        person = min(self.families, key=lambda family: family.used)
        if time.monotonic() - person.used < APART:
            return False
        person.used = time.monotonic()
        body = {"refresh_token": person.refresh}
        answer = await self._cut("refresh", request("POST", "/api/v1/auth/refresh", body=body))
        async with self.client() as client:
            again = await client.post("/api/v1/auth/refresh", json=body)
        assert again.status_code == 200, again.text
        if answer is not None:
            assert answer.status == 200
            assert answer.json()["refresh_token"] == again.json()["refresh_token"]
        person.refresh = again.json()["refresh_token"]
        self.done["refresh"] += 1
        return True

    async def _cut(self, name: str, sent: bytes) -> Any:
        """Most are cut at about the time of their answer, some while they are sent; a few hear it out."""
        kind, pace = self.chance.random(), self.pace.get(name, 0.02)
        bits = sent[: self.chance.randrange(len(sent))] if kind < 0.25 else sent
        seconds = 20.0 if kind > 0.95 else self.chance.random() * pace
        answer = await cut(self.server.port, bits, seconds, reset=self.chance.random() < 0.5)
        if 0.25 <= kind <= 0.95:  # whatever the machine, four in ten of these are answered just before
            self.pace[name] = pace * (0.9 if answer is not None else 1.07)
        return answer

    async def live_on(self, person: Person, over: asyncio.Event) -> None:
        """Somebody who does not hang up, and must get their own answers and no fault."""
        async with self.client() as client:
            for number in itertools.count():
                if over.is_set():
                    return
                id = f"{person.id}-{number}"
                headers = {"Authorization": f"Bearer {person.access}", "X-Request-ID": id}
                answer = await client.get("/api/v1/me", headers=headers)
                assert (answer.status_code, answer.headers["x-request-id"]) == (200, id), answer.text
                assert (answer.json()["id"], answer.json()["display_name"]) == (person.id, person.name)
                if number % 20 == 0:
                    again = await client.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh})
                    assert again.status_code == 200, again.text
                    person.access, person.refresh = again.json()["access_token"], again.json()["refresh_token"]
                self.done["beside"] += 1
                await asyncio.sleep(0.01)

    async def administer(self, over: asyncio.Event) -> None:
        """The administrator, whose access token lives shorter than the cuts last, at work meanwhile."""
        async with self.client() as client:
            while not over.is_set():
                again = await client.post("/api/v1/auth/refresh", json={"refresh_token": self.admin.refresh})
                self.admin.access, self.admin.refresh = again.json()["access_token"], again.json()["refresh_token"]
                email = f"beside{next(self.numbers)}@example.org"
                headers = {"Authorization": f"Bearer {self.admin.access}"}
                made = await client.post("/api/v1/users", headers=headers, json={"email": email})
                assert made.status_code == 201, made.text
                shown = await client.get(f"/api/v1/users/{made.json()['id']}", headers=headers)
                assert (shown.status_code, shown.json()["email"]) == (200, email)
                await asyncio.sleep(0.1)

    async def hang_up(self, cuts: "itertools.count[int]") -> None:
        while next(cuts) < CUTS:
            await self.cut_something()


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def world(request):
    with a_server({"HEXWARD_LOG_LEVEL": "warning"}, "--workers", str(request.param)) as server:
        with server.client() as client:
            headers = server.login(client)

            def made(email: str, **more: str) -> str:
                answer = client.post("/api/v1/users", headers=headers, json={"email": email, **more})
                assert answer.status_code == 201, answer.text
                return answer.json()["id"]

            def signed_in(id: str, name: str, email: str) -> Person:
                server.login(client, email)
                tokens = server.tokens[email]
                return Person(id, name, email, tokens["access_token"], tokens["refresh_token"])

            people = []
            for number in range(PEOPLE):
                name, email = f"Person {number}", f"person{number}@example.org"
                people.append(signed_in(made(email, password=PASSWORD, display_name=name), name, email))
            traveller, email = made("traveller@example.org", password=PASSWORD), "traveller@example.org"
            families = [signed_in(traveller, "", email) for _ in range(FAMILIES)]
            made("visitor@example.org", password=PASSWORD)
            victims = [(made(f"victim{number}@example.org"), f"victim{number}@example.org") for number in range(20)]
            tokens = server.tokens[ADMIN]
            admin = Person("", "", ADMIN, tokens["access_token"], tokens["refresh_token"])
        owner = EmbeddedPostgres(server.data_dir).attach().url("hexward_owner")
        yield World(server, owner, admin, people, families, victims, random.Random(11))  # noqa: S311  # when they hang up


async def test_requests_cut_at_any_moment_are_felt_by_nobody_else(world):
    over, cuts = asyncio.Event(), itertools.count()
    others = [asyncio.create_task(world.live_on(person, over)) for person in world.people]
    others.append(asyncio.create_task(world.administer(over)))
    try:
        await asyncio.gather(*(world.hang_up(cuts) for _ in range(CUTTERS)))
    finally:
        over.set()
        beside = await asyncio.gather(*others, return_exceptions=True)
    assert [str(error) for error in beside if error is not None] == []
    assert world.done["refresh"] > CUTS / 200
    assert CUTS / 50 < world.done["answered"] < CUTS / 2, "cut too early or too late to tell anything"
    assert len(world.done) == 20, world.done
    await nothing_is_left_of_them(world)
    assert "Traceback" not in world.server.output(), world.server.output()[-4000:]


async def nothing_is_left_of_them(world: World) -> None:
    """No transaction open, no backend too many, and quick answers."""
    workers = len(world.server.workers())
    connection = await asyncpg.connect(world.owner)
    try:
        deadline = time.monotonic() + 5
        while await connection.fetchval(OPEN):
            assert time.monotonic() < deadline, await connection.fetch(f"SELECT state, query {BACKENDS}")
            await asyncio.sleep(0.05)
        assert workers < await connection.fetchval(f"SELECT count(*) {BACKENDS}") <= workers * (POOL_SIZE + 1)
    finally:
        await connection.close()
    async with world.client() as client:
        for _ in range(50):
            began = time.monotonic()
            headers = {"Authorization": f"Bearer {world.admin.access}"}
            assert (await client.get("/api/v1/users?limit=1", headers=headers)).status_code == 200
            assert time.monotonic() - began < 1
    for family in world.families:
        async with world.client() as client:
            again = await client.post("/api/v1/auth/refresh", json={"refresh_token": family.refresh})
            assert again.status_code == 200, again.text
