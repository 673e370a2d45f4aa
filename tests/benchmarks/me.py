"""`GET /api/v1/me`: who calls, by one token over and over, and by many tokens in turn."""

from benchmarks import prepare
from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.load import Script, request
from journeys.server_process import Server


async def run(bench: Bench) -> None:
    """Print both."""
    with a_server_to_measure() as server:
        await prepare.people(server, bench.people)
        await measure_one(bench, server)
        await measure_many(bench, server)


async def measure_one(bench: Bench, server: Server) -> None:
    """What a worker remembers of its callers serves best here."""
    await bench.measure(server, "me, one token", lambda: script(server, 1))


async def measure_many(bench: Bench, server: Server, name: str = "me") -> None:
    """Each request by another caller than the one before."""
    await bench.measure(server, f"{name}, {bench.people:,} tokens", lambda: script(server, bench.people))


async def script(server: Server, callers: int) -> Script:
    """One request a caller."""
    tokens = await prepare.tokens(server, callers)
    return Script([request("GET", "/api/v1/me", token=token.access_token) for token in tokens])
