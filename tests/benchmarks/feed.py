"""Two servers on one database: how long until a suspension acknowledged by one is felt by the other."""

import time
from contextlib import ExitStack

import asyncpg
import httpx

from benchmarks.bench import Bench
from benchmarks.report import spread
from entrypoints.wiring.footing import EmbeddedPostgres
from journeys.server_process import PASSWORD, Server, a_server, start

TRIALS = 60


async def run(bench: Bench) -> None:
    """Print the spread, in peace and right after the feed's connections were killed."""
    with ExitStack() as stack:
        first = stack.enter_context(a_server(on_disk=True))
        cluster = EmbeddedPostgres(first.data_dir).attach()
        if cluster is None:
            raise RuntimeError("the server's database is not there")
        key = (first.data_dir / "master.key").read_text().strip()
        second = start(
            first.data_dir.with_name("second"),
            {"HEXWARD_DATABASE_URL": cluster.url("hexward_owner"), "HEXWARD_MASTER_KEY": key},
        )
        stack.callback(second.stop)
        second.wait_until_ready()
        connection = await asyncpg.connect(cluster.url("hexward_owner"))
        calm = [_trial(first, second, n) for n in range(TRIALS)]
        bench.report.row("suspension felt by the other server", spread(calm))
        cut = []
        for n in range(TRIALS // 3):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND (query LIKE '%pg_visible_in_snapshot%' OR query LIKE 'LISTEN%')"
            )
            cut.append(_trial(first, second, TRIALS + n))
        bench.report.row("likewise, the feed's connection just killed", spread(cut))
        await connection.close()


def _trial(first: Server, second: Server, number: int) -> float:
    """Milliseconds from the acknowledgement to the first refusal."""
    with first.client() as one, second.client() as other:
        if "admin" not in first.tokens:
            first.tokens["admin"] = first.login(one)
        admin = first.tokens["admin"]
        email = f"trial{number}@example.org"
        user = one.post("/api/v1/users", headers=admin, json={"email": email, "password": PASSWORD}).json()
        token = second.login(other, email)
        _expect(other.get("/api/v1/me", headers=token), 200)
        _expect(one.post(f"/api/v1/users/{user['id']}/suspend", headers=admin), 200)
        began = time.monotonic()
        while other.get("/api/v1/me", headers=token).status_code != 401:
            pass
        return (time.monotonic() - began) * 1000


def _expect(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise RuntimeError(f"{answer.status_code}: {answer.text}")
