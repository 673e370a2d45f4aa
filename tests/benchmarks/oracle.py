"""Can a guesser tell unknown, known and bcrypt accounts apart by time? Area under the curve: 0.5 means no."""

import asyncio
import itertools
import random
import time

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
    with a_server_to_measure() as server:
        names = _accounts(server)
        await _make_foreign(server)
        times: dict[str, list[float]] = {kind: [] for kind in names}
        tries = [(kind, name) for kind in names for name in names[kind] for _ in range(4)]
        random.Random(7).shuffle(tries)  # noqa: S311  # no secret: who stands in line behind whom must not depend on the kind
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            for batch in itertools.batched(tries, AT_ONCE):
                for kind, seconds in await asyncio.gather(*(_try(client, *one) for one in batch)):
                    times[kind].append(seconds * 1000)
    for kind, values in times.items():
        bench.report.row(f"wrong password, {kind} account", spread(values))
    for one, other in itertools.combinations(times, 2):
        bench.report.row(f"{one} against {other}", {"area": area(times[one], times[other])})


def area(first: list[float], second: list[float]) -> float:
    """The chance that a value of the first is greater than one of the second (Mann-Whitney)."""
    greater = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    return greater / (len(first) * len(second))


async def _try(client: httpx.AsyncClient, kind: str, email: str) -> tuple[str, float]:
    began = time.monotonic()
    answer = await client.post("/api/v1/auth/login", json={"email": email, "password": "not the right pass phrase"})
    if answer.status_code != 401:
        raise RuntimeError(f"unexpected answer {answer.status_code}")
    return kind, time.monotonic() - began


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
