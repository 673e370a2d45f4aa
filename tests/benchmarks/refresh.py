"""`POST /api/v1/auth/refresh`: as many families as connections, each rotated by the token its last answer gave."""

from benchmarks import prepare
from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.load import TOKEN, Script, request
from journeys.server_process import Server


async def run(bench: Bench) -> None:
    """Print it."""
    with a_server_to_measure() as server:
        await prepare.people(server, bench.people)
        await measure(bench, server)


async def measure(bench: Bench, server: Server, name: str = "refresh with rotation") -> None:
    """Every request moves a family on, durably, and gets a new access token."""
    await bench.measure(server, name, lambda: script(server, max(bench.connections)), "POST")


async def script(server: Server, connections: int) -> Script:
    """The next token in turn for whichever connection is free."""
    spare = 2  # wrk asks its script once for a request that it does not send
    tokens = [one.refresh_token for one in await prepare.tokens(server, connections + spare)]
    text = request("POST", "/api/v1/auth/refresh", body={"refresh_token": tokens[0]})
    return Script([text.replace(tokens[0], TOKEN)], tokens)
