"""The same paths with ten thousand people and, with `--large`, with a million: what grows must not slow them down."""

from dataclasses import replace

from benchmarks import me, prepare, refresh, users
from benchmarks.bench import Bench, a_server_to_measure

SMALL, LARGE = 10_000, 1_000_000


async def run(bench: Bench) -> None:
    """Print them at 16 connections for each size."""
    at_16 = replace(bench, connections=(16,))
    for size in (SMALL, LARGE) if bench.large else (SMALL,):
        with a_server_to_measure() as server:
            await prepare.people(server, size)
            among = f"of {size:,}:"
            await me.measure_many(at_16, server, f"{among} me")
            await users.measure_lists(at_16, server, f"{among} users")
            await refresh.measure(at_16, server, f"{among} refresh")
