"""A thousand connections that do different things at once: as fast as they can, and as people do, who think.

The second is where the numbers of PARITY are judged: what is changed within 100 ms, what is read within 50 ms on
average, tokens within 10 ms, at 1,000 concurrent users.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks import login, me, prepare, refresh, users
from benchmarks.bench import Bench, a_server_to_measure, costs, seen
from benchmarks.load import Load, Script, request, wrk
from benchmarks.usage import Meter
from journeys.server_process import Server

SECONDS = 2  # for each of those that a single path is measured
THINK_SECONDS = 1.0  # between an answer and the next request, on average
REMOVABLE = 4_000  # more than those who remove can get to
CHANGED, QUERIED, MADE = "p99 < 100", "mean < 50", "mean < 10"


@dataclass(frozen=True)
class Crowd:
    """Connections that do one thing, and what it may take by PARITY."""

    name: str
    size: int
    script: Script
    goal: str = ""


async def run(bench: Bench) -> None:
    """Print each crowd, all of them, and the errors by kind."""
    with a_server_to_measure() as server:
        await prepare.people(server, bench.people)
        await prepare.passwords(server, bench.people)
        await _together(bench, server, "as fast as they can", await reading(bench, server))
        await _together(bench, server, f"thinking {THINK_SECONDS:.0f} s", await living(bench, server), THINK_SECONDS)


async def reading(bench: Bench, server: Server) -> Sequence[Crowd]:
    """Who asks, who lists, whose token is refreshed, and the few who sign in at the moment."""
    return [
        Crowd("me", 750, await me.script(server, bench.people)),
        Crowd("users, list", 48, await users.listing(server)),
        Crowd("refresh", 200, await refresh.script(server, 200)),
        Crowd("login", 2, login.script(bench.people)),
    ]


async def living(bench: Bench, server: Server) -> Sequence[Crowd]:
    """The same, and administrators at work on accounts."""
    ids = await prepare.user_ids(server, bench.people)
    removable, kept = ids[-REMOVABLE:], ids[:-REMOVABLE]
    token = await prepare.administrator(server)

    def on(method: str, ids: Sequence[str], body: Callable[[int], object] = lambda _: None) -> Script:
        headers = {} if method == "GET" else {"If-Match": "*"}
        paths = [f"/api/v1/users/{id}" for id in ids]
        texts = [request(method, path, token=token, body=body(n), headers=headers) for n, path in enumerate(paths)]
        return Script(texts, tell=True)

    return [
        Crowd("me", 650, await me.script(server, len(kept)), QUERIED),
        Crowd("users, list", 50, await users.listing(server), QUERIED),
        Crowd("users, show", 50, on("GET", kept), QUERIED),
        Crowd("users, create", 20, await users.creation(server), CHANGED),
        Crowd("users, change", 20, on("PATCH", kept, lambda n: {"locale": ("de", "en", "fr")[n % 3]}), CHANGED),
        Crowd("users, delete", 5, on("DELETE", removable), CHANGED),
        Crowd("refresh", 200, await refresh.script(server, 200), MADE),
        Crowd("login", 5, login.script(len(kept))),
    ]


async def _together(bench: Bench, server: Server, how: str, crowds: Sequence[Crowd], think: float = 0) -> None:
    size = sum(crowd.size for crowd in crowds)
    scripts = [replace(crowd.script, think=think, tell=True) for crowd in crowds]
    meter = Meter(server)
    loads = await asyncio.gather(
        *(
            wrk(server.url, crowd.size, SECONDS * bench.seconds, script)
            for crowd, script in zip(crowds, scripts, strict=True)
        )
    )
    for crowd, load in zip(crowds, loads, strict=True):
        told = {
            "connections": crowd.size,
            **seen(load),
            "unanswered": load.unanswered,
            "mean ms": load.mean,
            "goal ms": crowd.goal,
        }
        bench.report.row(f"{how}: {crowd.name}", told)
    total = {"connections": size, "per s": sum(load.rate for load in loads)}
    requests = sum(load.requests for load in loads)
    bench.report.row(f"{how}: all", {**total, **costs(requests, server, meter)})
    bench.report.row(f"{how}: errors by kind", _errors(crowds, loads) or {"none": 0})


def _errors(crowds: Sequence[Crowd], loads: Sequence[Load]) -> dict[str, object]:
    return {
        f"{crowd.name} {kind}": count
        for crowd, load in zip(crowds, loads, strict=True)
        for kind, count in load.errors.items()
    }
