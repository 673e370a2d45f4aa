"""What this machine can do at all, in the same run: HTTP without an application, durable commits, password hashes."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import argon2

from adapters.argon2 import LANES, MEMORY_KIB, PASSES
from adapters.postgres.embedded import packaged_programs
from benchmarks.bare import served
from benchmarks.bench import Bench, a_server_to_measure, seen
from benchmarks.load import Load, Script, available, request, wrk
from benchmarks.prepare import owner
from entrypoints.wiring.footing import EmbeddedPostgres
from journeys.server_process import PASSWORD, Server

CLIENTS = 8


async def run(bench: Bench) -> None:
    """Print them."""
    if available():
        await bare(bench)
    with a_server_to_measure() as server:
        rate = await durable_commits(server, bench.seconds)
    bench.report.row(f"pgbench, durable one-row commits, {CLIENTS} clients", {"per s": rate})
    bench.report.row("Argon2id verifications", {"per s": await asyncio.to_thread(raw_argon2, bench.seconds)})


async def bare(bench: Bench) -> None:
    """Granian with an application that does nothing, and with a Litestar handler that does nothing."""
    handler = Script([request("GET", "/")])
    with served("litestar") as litestar:
        loads: dict[str, Callable[[int], Awaitable[Load]]] = {
            "bare ASGI, GET": lambda connections: bench.bare.load("GET", connections, bench.seconds),
            "bare ASGI, JSON POST": lambda connections: bench.bare.load("POST", connections, bench.seconds),
            "plain Litestar handler, GET": lambda connections: wrk(litestar, connections, bench.seconds, handler),
        }
        for name, run_load in loads.items():
            for connections in bench.connections:
                bench.report.row(name, {"connections": connections, **seen(await run_load(connections))})


async def durable_commits(server: Server, seconds: float) -> float:
    """One-row transactions a second that pgbench, which the wheel brings, commits in the server's own cluster."""
    cluster = EmbeddedPostgres(server.data_dir).attach()
    if cluster is None:
        raise RuntimeError("the server's database is not there")
    async with owner(server) as connection:
        await connection.execute("CREATE TABLE public.commits (id uuid PRIMARY KEY, note text)")
    process = await asyncio.create_subprocess_exec(
        packaged_programs() / "pgbench",
        *("--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}", f"--time={max(1, round(seconds))}"),
        *("--file=-", cluster.url("hexward_owner")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate(b"INSERT INTO public.commits VALUES (uuidv7(), 'a row');\n"))[0].decode()
    found = re.search(r"tps = ([\d.]+)", output)
    if found is None:
        raise RuntimeError(f"pgbench failed:\n{output}")
    return float(found[1])


def raw_argon2(seconds: float) -> float:
    """Verifications per second with a thread per core and nothing else to do."""
    hasher = argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
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
