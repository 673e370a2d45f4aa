"""`/api/v1/users` as an administrator uses it: lists, searches and new accounts."""

import itertools

from benchmarks import prepare
from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.load import NUMBER, Script, request
from journeys.server_process import PASSWORD, Server

_series = itertools.count(1)


async def run(bench: Bench) -> None:
    """Print them."""
    with a_server_to_measure() as server:
        await prepare.people(server, bench.people)
        await measure_lists(bench, server)
        await bench.measure(server, "users, create without password", lambda: creation(server), "POST")
        await bench.measure(server, "users, create with password", lambda: creation(server, PASSWORD), "POST")


async def measure_lists(bench: Bench, server: Server, name: str = "users") -> None:
    """The first page of fifty, and the first fifty of about a hundred that a search finds."""
    await bench.measure(server, f"{name}, list", lambda: listing(server))
    await bench.measure(server, f"{name}, search by prefix", lambda: listing(server, "?q=person00012"))


async def listing(server: Server, query: str = "") -> Script:
    """One and the same page."""
    return Script([request("GET", f"/api/v1/users{query}", token=await prepare.administrator(server))])


async def creation(server: Server, password: str | None = None) -> Script:
    """Another address each time."""
    body = {"email": f"new{next(_series)}-{NUMBER}@example.org"} | ({"password": password} if password else {})
    token = await prepare.administrator(server)
    return Script([request("POST", "/api/v1/users", token=token, body=body)], tell=True)
