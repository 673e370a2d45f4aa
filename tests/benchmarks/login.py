"""Sixteen clients sign in as fast as they can: how many succeed, and what `/health/live` feels of it."""

import asyncio
import collections
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import argon2
import httpx

from benchmarks.table import percentile, row, spread
from journeys.server_process import ADMIN, PASSWORD, a_server

CLIENTS = 16
SECONDS = 10.0


def raw_argon2(seconds: float = 3.0) -> float:
    """Verifications per second with a thread per core and nothing else to do."""
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
    stored = hasher.hash(PASSWORD)
    deadline = time.monotonic() + seconds

    def verify_on() -> int:
        done = 0
        while time.monotonic() < deadline:
            hasher.verify(stored, PASSWORD)
            done += 1
        return done

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        return sum(f.result() for f in [pool.submit(verify_on) for _ in range(cores)]) / seconds


async def run() -> None:
    """Print rates and latencies."""
    raw = await asyncio.to_thread(raw_argon2)
    row("reference: raw Argon2id verifications", rate=f"{raw:.0f}/s")
    with a_server({"HEXWARD_LOG_LEVEL": "warning"}) as server:
        idle = await _health(server.url, asyncio.Event(), 2.0)
        row("/health/live, idle", **spread(idle))
        statuses: collections.Counter[int] = collections.Counter()
        times: list[float] = []
        over = asyncio.Event()
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            work = [asyncio.create_task(_sign_in(client, statuses, times, over)) for _ in range(CLIENTS)]
            busy = await _health(server.url, over, SECONDS)
            over.set()
            await asyncio.gather(*work)
    row(
        f"login, {CLIENTS} clients",
        rate=f"{statuses[200] / SECONDS:.0f}/s",
        answers=dict(statuses),
        p99=f"{percentile(times, 0.99):.0f} ms",
    )
    row("/health/live meanwhile", **spread(busy))


async def _sign_in(
    client: httpx.AsyncClient, statuses: collections.Counter[int], times: list[float], over: asyncio.Event
) -> None:
    while not over.is_set():
        began = time.monotonic()
        answer = await client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
        times.append((time.monotonic() - began) * 1000)
        statuses[answer.status_code] += 1


async def _health(url: str, over: asyncio.Event, seconds: float) -> list[float]:
    """Latencies in milliseconds, measured by a client in a process of its own, so that it waits for nobody here."""
    code = (
        "import http.client,sys,time\n"
        "h=http.client.HTTPConnection(sys.argv[1]);end=time.monotonic()+float(sys.argv[2])\n"
        "while time.monotonic()<end:\n"
        "  t=time.monotonic();h.request('GET','/health/live');h.getresponse().read()\n"
        "  print((time.monotonic()-t)*1000);time.sleep(0.002)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, url.removeprefix("http://"), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return [float(line) for line in output.decode().split()]
