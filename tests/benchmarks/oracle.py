"""Can a guesser tell accounts apart by time: unknown, known and bcrypt ones at sign-in, free and taken addresses at
registration? Area under the curve: 0.5 means no."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable

import bcrypt
import httpx

from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.prepare import owner
from benchmarks.report import spread
from journeys.server_process import Server

TRIES = 200
AT_ONCE = 4
ACCOUNTS = TRIES // 4  # four tries each: one more would be slowed down, for all kinds alike


async def run(bench: Bench) -> None:
    """Print the area for each pair of kinds."""
    with a_server_to_measure({"HEXWARD_REGISTRATION": "open"}) as server:
        names = _accounts(server)
        await _make_foreign(server)
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            tries = [(kind, name) for kind in names for name in names[kind] for _ in range(4)]
            _tell(bench, "wrong password, {} account", await _times(client, _sign_in, tries))
            free = [("free", f"free{n}@example.org") for n in range(TRIES // 2)]
            taken = [("taken", name) for name in names["known"] for _ in range(2)]
            _tell(bench, "registration, {} address", await _times(client, _register, free + taken))


type Try = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


async def _times(client: httpx.AsyncClient, attempt: Try, tries: list[tuple[str, str]]) -> dict[str, list[float]]:
    """Milliseconds by kind. Who stands in line behind whom must not depend on the kind."""
    random.Random(7).shuffle(tries)  # noqa: S311  # no secret
    times: dict[str, list[float]] = {kind: [] for kind, _ in tries}
    for batch in itertools.batched(tries, AT_ONCE):
        for kind, seconds in await asyncio.gather(*(_timed(client, attempt, *one) for one in batch)):
            times[kind].append(seconds * 1000)
    return times


def _tell(bench: Bench, text: str, times: dict[str, list[float]]) -> None:
    for kind, values in sorted(times.items()):
        bench.report.row(text.format(kind), spread(values))
    for one, other in itertools.combinations(sorted(times), 2):
        bench.report.row(f"{one} against {other}", {"area": area(times[one], times[other])})


def area(first: list[float], second: list[float]) -> float:
    """The chance that a value of the first is greater than one of the second (Mann-Whitney)."""
    greater = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    return greater / (len(first) * len(second))


async def _timed(client: httpx.AsyncClient, attempt: Try, kind: str, email: str) -> tuple[str, float]:
    began = time.monotonic()
    answer = await attempt(client, email)
    if answer.status_code not in {401, 202}:
        raise RuntimeError(f"unexpected answer {answer.status_code}")
    return kind, time.monotonic() - began


async def _sign_in(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/api/v1/auth/login", json={"email": email, "password": "not the right pass phrase"})


async def _register(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/api/v1/auth/register", json={"email": email, "password": "a long enough pass phrase"})


def _accounts(server: Server) -> dict[str, list[str]]:
    with server.client() as client:
        headers = server.login(client)
        names = {kind: [f"{kind}{i}@example.org" for i in range(ACCOUNTS)] for kind in ("unknown", "known", "bcrypt")}
        for email in names["known"] + names["bcrypt"]:
            body = {"email": email, "password": "a long enough pass phrase"}
            while client.post("/api/v1/users", headers=headers, json=body).status_code == 503:
                time.sleep(0.1)
    return names


async def _make_foreign(server: Server) -> None:
    foreign = bcrypt.hashpw(b"a long enough pass phrase", bcrypt.gensalt(12)).decode()
    async with owner(server) as connection:
        await connection.execute(
            "UPDATE hexward.password_credentials SET hash = $1 WHERE user_id IN "
            "(SELECT id FROM hexward.users WHERE email LIKE 'bcrypt%')",
            foreign,
        )
