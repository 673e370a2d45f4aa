"""Two servers on one database: what one acknowledges, the other feels."""

import time
from contextlib import ExitStack

import asyncpg
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from journeys.server_process import PASSWORD, a_server, start

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.long]

HEARTBEAT = 1.0
KILL_FEEDS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND (query LIKE '%pg_visible_in_snapshot%' OR query LIKE '%pg_current_snapshot%'
OR query LIKE 'LISTEN%')
"""


@pytest.fixture(scope="module")
def pair():
    with ExitStack() as stack:
        first = stack.enter_context(a_server())
        cluster = EmbeddedPostgres(first.data_dir).attach()
        settings = {
            "HEXWARD_DATABASE_URL": cluster.url("hexward_owner"),
            "HEXWARD_MASTER_KEY": (first.data_dir / "master.key").read_text().strip(),
            "HEXWARD_PUBLIC_URL": f"http://localhost:{first.port}",
        }
        second = start(first.data_dir.with_name("second"), settings)
        stack.callback(second.stop)
        second.wait_until_ready()
        yield first, second, cluster


def until(ask, status, seconds=HEARTBEAT):
    """Seconds until the answer has that status; fails after the heartbeat."""
    began = time.monotonic()
    while (answer := ask()).status_code != status:
        assert time.monotonic() - began < seconds + 0.5, answer.text  # half a second for a slow machine's answer
    return time.monotonic() - began


async def test_a_grant_and_a_suspension_are_felt_by_the_other_server_also_with_its_feed_cut(pair):
    first, second, cluster = pair
    with first.client() as one, second.client() as other:
        admin = first.login(one)
        for number, cut in enumerate([False, False, True, True]):
            email = f"person{number}@example.org"
            user = one.post("/api/v1/users", headers=admin, json={"email": email, "password": PASSWORD}).json()
            token = second.login(other, email)
            assert other.get("/api/v1/users", headers=token).status_code == 403
            if cut:
                connection = await asyncpg.connect(cluster.url("hexward_owner"))
                assert await connection.fetchval(KILL_FEEDS) >= 2
                await connection.close()
            assert one.put(f"/api/v1/users/{user['id']}/roles/manager", headers=admin).status_code == 200
            until(lambda token=token: other.get("/api/v1/users", headers=token), 200)
            assert one.post(f"/api/v1/users/{user['id']}/suspend", headers=admin).status_code == 200
            until(lambda token=token: other.get("/api/v1/me", headers=token), 401)


def test_tokens_of_one_server_are_good_at_the_other_and_keys_follow(pair):
    first, second, _ = pair
    with first.client() as one, second.client() as other:
        admin = first.login(one)
        assert other.get("/api/v1/me", headers=admin).status_code == 200
        key = one.post("/api/v1/keys/rotate", headers=admin, json={}).json()
        began = time.monotonic()
        while key["id"] not in {k["kid"] for k in other.get("/oauth2/jwks").json()["keys"]}:
            assert time.monotonic() - began < HEARTBEAT + 0.5
        token = first.tokens[next(iter(first.tokens))]["refresh_token"]
        assert other.post("/api/v1/auth/refresh", json={"refresh_token": token}).status_code == 200
