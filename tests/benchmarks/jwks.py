"""`GET /oauth2/jwks`: what every verifier of tokens reads."""

from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.load import Script, request


async def run(bench: Bench) -> None:
    """Print it."""
    with a_server_to_measure() as server:
        await bench.measure(server, "JWKS", script)


async def script() -> Script:
    """No caller needed."""
    return Script([request("GET", "/oauth2/jwks")])
