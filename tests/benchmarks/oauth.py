"""What services do all day: get tokens for themselves (`POST /oauth2/token`), and ask about others'
(`POST /oauth2/introspect`)."""

import base64
from collections.abc import Mapping, Sequence

from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.load import Script, request
from journeys.server_process import Server

AUDIENCE = "https://orders.example.org"
MANY = 1_000


async def run(bench: Bench) -> None:
    """Print both."""
    with a_server_to_measure() as server:
        service = register(server, {"client_name": "Orders", "introspection": True})
        await bench.measure(server, "client credentials, ES256", lambda: issue_script(service), "POST")
        few, many = tokens(server, service, 1), tokens(server, service, MANY)
        await bench.measure(server, "introspection, one token", lambda: introspect_script(service, few), "POST")
        await bench.measure(server, f"introspection, {MANY:,} tokens", lambda: introspect_script(service, many), "POST")


def register(server: Server, metadata: Mapping[str, object]) -> dict[str, str]:
    """A service, and the header that proves it."""
    with server.client() as client:
        headers = server.login(client)
        body = {"grant_types": ["client_credentials"], "scope": "orders:read", "audiences": [AUDIENCE], **metadata}
        answer = client.post("/api/v1/clients", headers=headers, json=body)
        answer.raise_for_status()
        made = answer.json()
    proof = base64.b64encode(f"{made['client_id']}:{made['client_secret']}".encode()).decode()
    return {"Authorization": f"Basic {proof}"}


def tokens(server: Server, service: Mapping[str, str], count: int) -> Sequence[str]:
    """That many of the service's own."""
    form = {"grant_type": "client_credentials"}
    with server.client(headers=dict(service)) as client:
        return [client.post("/oauth2/token", data=form).json()["access_token"] for _ in range(count)]


async def issue_script(service: Mapping[str, str]) -> Script:
    """Each request gets a token of its own."""
    return Script([request("POST", "/oauth2/token", form={"grant_type": "client_credentials"}, headers=service)])


async def introspect_script(service: Mapping[str, str], tokens: Sequence[str]) -> Script:
    """About one token after another."""
    return Script([request("POST", "/oauth2/introspect", form={"token": token}, headers=service) for token in tokens])
