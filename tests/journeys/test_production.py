"""Production: nothing is made up, everything is given, and then it runs."""

import base64
import json
import secrets

import httpx
import pytest

from contracts.postgres_cluster import start_cluster
from journeys.server_process import ADMIN, a_place, start

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.long]

KEY = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
async def given():
    cluster = start_cluster(18)
    database = await cluster.create_database(migrated=False)
    with a_place() as data_dir:
        yield (
            data_dir,
            {
                "HEXWARD_ENVIRONMENT": "production",
                "HEXWARD_DATABASE_URL": cluster.owner_url(database),
                "HEXWARD_MASTER_KEY": KEY,
                "HEXWARD_PUBLIC_URL": "https://id.example.org",
            },
        )


def test_with_everything_given_it_runs_and_its_log_is_json(given):
    data_dir, settings = given
    server = start(data_dir, settings)
    try:
        server.wait_until_ready()
        with server.client() as client:
            headers = server.login(client)
            answer = client.get("/api/v1/me", headers=headers)
        assert answer.json()["email"] == ADMIN
        assert answer.headers["strict-transport-security"]
    finally:
        server.stop()
    requests = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    (told,) = [line for line in requests if line.get("path") == "/api/v1/me"]
    assert (told["status"], told["level"], told["request_id"]) == (200, "info", answer.headers["x-request-id"])
    assert not data_dir.exists()  # the master key was given: there is nothing to keep here


@pytest.mark.parametrize("missing", ["HEXWARD_ADMIN_EMAIL", "HEXWARD_ADMIN_PASSWORD"])
def test_R04_no_administrator_is_made_up(given, missing):
    data_dir, settings = given
    server = start(data_dir, {**settings, missing: ""})
    assert server.process.wait(30) == 1
    assert "HEXWARD_ADMIN" in server.last_line()
    server = start(data_dir, settings)
    try:
        server.wait_until_ready()
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
    finally:
        server.stop()
