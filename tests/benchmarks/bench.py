"""One run of the benchmarks: how long each path is measured, and beside what."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.bare import Bare
from benchmarks.load import Load, Script, wrk
from benchmarks.report import Report
from benchmarks.usage import Meter, resident_mb
from journeys.server_process import Server, a_place, start

BARE_SECONDS = 2
WARM_UP_SECONDS = 1
PATIENCE_SECONDS = 120  # a busy machine is no reason to lose what was measured before


@dataclass
class Bench:
    """How to measure, and where the figures go. `people`: how many accounts there are, and tokens in turn."""

    report: Report = field(default_factory=Report)
    seconds: float = 5
    connections: tuple[int, ...] = (16, 64)
    people: int = 10_000
    large: bool = False
    bare: Bare = field(default_factory=Bare)

    async def measure(
        self, server: Server, name: str, make: Callable[[], Awaitable[Script]], method: str = "GET"
    ) -> None:
        """A row for each number of connections. `make` is asked anew each time: tokens expire, and are used up.

        Right before, the bare application is measured in the same way: other work on the machine slows down both.
        """
        await wrk(server.url, self.connections[0], WARM_UP_SECONDS, await make())
        for connections in self.connections:
            script = await make()
            bare = await self.bare.load(method, connections, min(BARE_SECONDS, self.seconds))
            meter = Meter(server)
            load = await wrk(server.url, connections, self.seconds, script)
            self.report.row(
                name,
                {"connections": connections, **figures(load, server, meter), "% of bare": 100 * load.rate / bare.rate},
            )


def figures(load: Load, server: Server, meter: Meter) -> dict[str, object]:
    """What a load on a server came to."""
    return seen(load) | costs(load.requests, server, meter)


def seen(load: Load) -> dict[str, object]:
    """What the clients saw."""
    return {"per s": load.rate, "p50 ms": load.p50, "p99 ms": load.p99, "errors": load.failed}


def costs(requests: int, server: Server, meter: Meter) -> dict[str, object]:
    """What that many requests cost the server."""
    own, database = meter.seconds()
    thousands = max(requests, 1) / 1000
    return {
        "worker MB": resident_mb(server.workers()),
        "CPU s per 1000": own / thousands,
        "of PostgreSQL": database / thousands,
    }


@contextmanager
def a_server_to_measure(more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server as it is delivered, that neither logs every request nor counts them against a limit."""
    settings = {"HEXWARD_LOG_LEVEL": "warning", "HEXWARD_RATE_LIMITS": "off", **(more or {})}
    with a_place(on_disk=True) as data_dir:
        server = start(data_dir, settings)
        try:
            server.wait_until_ready(PATIENCE_SECONDS)
            yield server
        finally:
            server.stop()
