"""What callers feel while a million sessions that are over are removed: `/me` and sign-in, without and with it."""

import asyncio
import re
import sys
import time
from datetime import datetime

import asyncpg
import httpx

from application.maintenance import RESTS
from benchmarks.bench import Bench
from benchmarks.report import percentile, spread
from entrypoints.wiring.footing import EmbeddedPostgres
from journeys.server_process import ADMIN, PASSWORD, Server, a_server

SESSIONS = 1_000_000
SECONDS = 30.0
READER = "reader@example.org"  # who signs in again and again ends their oldest sessions
SIGN_IN_PAUSE = 0.2  # seconds

_FILL = """
ALTER TABLE hexward.families DROP CONSTRAINT fk_families_session_id, DROP CONSTRAINT fk_families_user_id,
  DROP CONSTRAINT fk_families_client_id;
ALTER TABLE hexward.sessions DROP CONSTRAINT fk_sessions_user_id, DROP CONSTRAINT fk_sessions_client_id;
INSERT INTO hexward.sessions
  (id, user_id, client_id, created_at, auth_time, amr, last_used_at, expires_at, ended_at, end_reason)
SELECT gen_random_uuid(), (SELECT id FROM hexward.users LIMIT 1), 'hexward-api', t, t, '{{pwd}}', t,
       t + interval '30 days', t + interval '1 hour', 'signed_out'
FROM (SELECT now() - interval '200 days' + n * interval '1 second' AS t FROM generate_series(1, {count}) AS n) AS s;
INSERT INTO hexward.families (id, session_id, user_id, client_id, counter, key_id, epoch, created_at, rotated_at, idle,
  expires_at, ended_at, end_reason)
SELECT gen_random_uuid(), id, user_id, client_id, 0, 'k', 1, created_at, created_at, '30 days', expires_at, ended_at,
       end_reason FROM hexward.sessions WHERE ended_at IS NOT NULL;
ALTER TABLE hexward.sessions
  ADD CONSTRAINT fk_sessions_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE NOT VALID,
  ADD CONSTRAINT fk_sessions_client_id FOREIGN KEY (client_id) REFERENCES hexward.clients (id) NOT VALID;
ALTER TABLE hexward.families
  ADD CONSTRAINT fk_families_session_id FOREIGN KEY (session_id) REFERENCES hexward.sessions (id) ON DELETE CASCADE
    NOT VALID,
  ADD CONSTRAINT fk_families_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE NOT VALID,
  ADD CONSTRAINT fk_families_client_id FOREIGN KEY (client_id) REFERENCES hexward.clients (id) NOT VALID;
ANALYZE hexward.sessions, hexward.families
"""  # foreign keys are not checked row by row, which would take minutes


type Felt = dict[str, list[tuple[float, float]]]
"""By what was asked for: when it was (seconds of the epoch), and how long it took (milliseconds)."""


async def run(bench: Bench) -> None:
    """Print latencies, and their ratios. Only those within one run compare: the machine may have been busy before."""
    with a_server(on_disk=True) as server:
        with server.client() as client:
            body = {"email": READER, "password": PASSWORD}
            client.post("/api/v1/users", headers=server.login(client), json=body).raise_for_status()
        cluster = EmbeddedPostgres(server.data_dir).attach()
        if cluster is None:
            raise RuntimeError("the server's database is not there")
        without = await _felt(server, SECONDS)
        owner = await asyncpg.connect(cluster.url("hexward_owner"))
        began = time.monotonic()
        await owner.execute(_FILL.format(count=SESSIONS))
        await owner.execute("UPDATE hexward.upkeep SET next_at = NULL")
        await owner.close()
        bench.report.row("made ready", {"sessions": SESSIONS, "seconds": time.monotonic() - began})
        await asyncio.to_thread(server.wait_for_output, "upkeep removed", 120)
        felt = await _felt(server, 4 * SECONDS)
        rounds = _rounds(server.output())
        bench.report.row("rounds", {"count": len(rounds), "removed": sum(count for *_, count in rounds)})
    for kind in felt:
        during = [took for at, took in felt[kind] if any(start <= at <= end for start, end, _ in rounds)]
        between = [took for at, took in felt[kind] if not any(start <= at <= end for start, end, _ in rounds)]
        before = [took for _, took in without[kind]]
        for name, values in (("nothing to remove", before), ("between rounds", between), ("during rounds", during)):
            bench.report.row(f"{kind}, {name}", spread(values))
        for share in (0.5, 0.99):
            busy = percentile(during, share)
            against = {"between": between, "before": before}
            ratios = {name: busy / percentile(values, share) for name, values in against.items()}
            bench.report.row(f"{kind}, during rounds, p{share * 100:.0f} against", ratios)


def _rounds(output: str) -> list[tuple[float, float, int]]:
    """When each round began and ended, and how many sessions it removed, by the lines of the log."""
    lines = re.findall(
        r"(\S+Z)\W.*upkeep removed (\d+) sessions.* in ([\d.]+) s;", re.sub(r"\x1b\[[\d;]*m", "", output)
    )
    ends = [(datetime.fromisoformat(at).timestamp(), float(seconds), int(count)) for at, count, seconds in lines]
    return [(end - (1 + RESTS) * seconds, end, count) for end, seconds, count in ends]


async def _felt(server: Server, seconds: float) -> Felt:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        answer = await client.post("/api/v1/auth/login", json={"email": READER, "password": PASSWORD})
        reading = asyncio.create_task(_me(server.url, answer.json()["access_token"], seconds))
        logins = []
        while not reading.done():
            began = time.time()
            answer = await client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
            answer.raise_for_status()
            logins.append((began, (time.time() - began) * 1000))
            await asyncio.sleep(SIGN_IN_PAUSE)
    return {"me": await reading, "login": logins}


async def _me(url: str, token: str, seconds: float) -> list[tuple[float, float]]:
    """Measured by a client in a process of its own, so that it waits for nobody here."""
    code = (
        "import http.client,sys,time\n"
        "h=http.client.HTTPConnection(sys.argv[1]);end=time.time()+float(sys.argv[2])\n"
        "a={'Authorization':'Bearer '+sys.argv[3]}\n"
        "while time.time()<end:\n"
        "  t=time.time();h.request('GET','/api/v1/me',headers=a);r=h.getresponse();r.read()\n"
        "  assert r.status==200,r.status\n"
        "  print(t,(time.time()-t)*1000);time.sleep(0.005)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, url.removeprefix("http://"), str(seconds), token, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return [(float(at), float(took)) for at, took in (line.split() for line in output.decode().splitlines())]
