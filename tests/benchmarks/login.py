"""Passwords checked as fast as the machine can, for many accounts in turn, and what `/health/live` feels of it."""

import asyncio
import sys

from benchmarks import prepare
from benchmarks.bench import Bench, a_server_to_measure, figures
from benchmarks.load import Script, request, wrk
from benchmarks.references import raw_argon2
from benchmarks.report import spread
from benchmarks.usage import Meter
from journeys.server_process import PASSWORD, Server


async def run(bench: Bench) -> None:
    """Print rates and latencies, and the share of what Argon2id alone reaches here."""
    with a_server_to_measure() as server:
        await prepare.people(server, bench.people)
        await prepare.passwords(server, bench.people)
        felt: dict[str, list[float]] = {}
        for connections in bench.connections:
            await _measure(bench, server, connections, felt)
        for name, times in felt.items():
            bench.report.row(f"/health/live {name}", spread(times))


async def _measure(bench: Bench, server: Server, connections: int, felt: dict[str, list[float]]) -> None:
    raw = await asyncio.to_thread(raw_argon2, min(3, bench.seconds))
    felt[f"before, {connections} connections"] = await _health(server.url, 1)
    meter = Meter(server)
    load, felt[f"meanwhile, {connections} connections"] = await asyncio.gather(
        wrk(server.url, connections, bench.seconds, script(bench.people)), _health(server.url, bench.seconds)
    )
    told = {"connections": connections, **figures(load, server, meter)}
    bench.report.row("login", told | {"% of Argon2 alone": 100 * load.rate / raw})


def script(accounts: int) -> Script:
    """Each time another account, whose password is right."""
    bodies = ({"email": prepare.email(number), "password": PASSWORD} for number in range(accounts))
    return Script([request("POST", "/api/v1/auth/login", body=body) for body in bodies], tell=True)


async def _health(url: str, seconds: float) -> list[float]:
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
