"""A server starts, says what it needs, stops, and leaves nothing behind: whole stories with real processes."""

import asyncio
import json
import os
import signal
import socket
import stat

import asyncpg
import httpx
import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.migrate import head
from contracts.postgres_cluster import start_cluster
from journeys.server_process import (
    ADMIN,
    PASSWORD,
    a_place,
    a_server,
    environment,
    gone,
    run,
    start,
)

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.long]


@pytest.fixture
def place():
    with a_place() as data_dir:
        yield data_dir


def test_a_first_start_makes_an_administrator_and_prints_a_line_that_works(place):
    server = start(place, {"HEXWARD_ADMIN_EMAIL": "", "HEXWARD_ADMIN_PASSWORD": ""})
    try:
        server.wait_until_ready()
        shown = server.wait_for_output("curl")
        email, password = server.shown_administrator()
        with server.client() as client:
            answer = client.post("/api/v1/auth/login", json={"email": email, "password": password})
            assert answer.status_code == 200
            assert client.get("/docs").status_code == 200
        assert str(place) in shown
        assert server.url in shown
    finally:
        server.stop()
    again = start(place)
    try:
        again.wait_until_ready()
        assert password not in again.output()
    finally:
        again.stop()


def test_everything_secret_in_the_data_folder_is_private(place):
    server = start(place)
    try:
        server.wait_until_ready()
    finally:
        server.stop()
    assert stat.S_IMODE((place / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((place / "postgres").stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_leaves_no_process_behind(place, signum):
    server = start(place, None, "--workers", "2")
    server.wait_until_ready()
    family = server.family()
    assert len(family) >= 5  # supervisor, two workers, PostgreSQL and its helpers
    server.stop(signum)
    assert gone(family, 1.0) == set()


def test_three_seconds_after_kill_9_nothing_is_left_and_a_new_start_works(place):
    server = start(place, None, "--workers", "2")
    server.wait_until_ready()
    with server.client() as client:
        headers = server.login(client)
        body = {"email": "zoë@example.org", "password": PASSWORD}
        assert client.post("/api/v1/users", headers=headers, json=body).status_code == 201
    family = server.family()
    server.process.send_signal(signal.SIGKILL)
    assert gone(family, 3.0) == set()
    server.process.wait()
    again = start(place)
    try:
        again.wait_until_ready()
        with again.client() as client:
            again.login(client, "zoë@example.org")  # what was acknowledged is there
    finally:
        again.stop()


def test_a_killed_worker_is_replaced(place):
    server = start(place)
    try:
        server.wait_until_ready()
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        assert gone({worker}, 3.0) == set()
        server.wait_until_ready()
        assert server.workers() != {worker}
    finally:
        server.stop()


def test_a_server_whose_embedded_database_is_killed_stops_with_a_sentence_and_starts_again(place):
    server = start(place)
    server.wait_until_ready()
    family = server.family()
    os.kill(EmbeddedPostgres(place).attach().pid, signal.SIGKILL)
    assert server.process.wait(20) == 1
    assert "PostgreSQL ended" in server.last_line()
    assert gone(family, 3.0) == set()
    again = start(place)
    try:
        again.wait_until_ready()
    finally:
        again.stop()


def test_a_second_start_on_the_same_folder_is_refused_and_disturbs_nobody(place):
    server = start(place)
    try:
        server.wait_until_ready()
        second = start(place)
        assert second.process.wait(20) == 1
        assert str(server.process.pid) in second.last_line()
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
    finally:
        server.stop()


def refusal(place, settings):
    """What a start that must fail says: one sentence, exit 1."""
    server = start(place, settings)
    assert server.process.wait(30) == 1
    lines = [line for line in server.output().splitlines() if line.strip()]
    assert len(lines) == 1, server.output()
    assert "Traceback" not in server.output()
    return lines[0]


def test_a_taken_port_is_refused_before_anything_is_made(place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(place, {"HEXWARD_PORT": str(port)})
    assert str(port) in line
    assert "HEXWARD_PORT" in line
    assert not place.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"HEXWARD_DATABSE_URL": "x"}, ["HEXWARD_DATABSE_URL", "HEXWARD_DATABASE_URL"]),
        ({"HEXWARD_DATABASE_URL": "postgresql://hexward:s3cret-pw@127.0.0.1:1/hexward"}, ["127.0.0.1"]),
        ({"HEXWARD_EXTENSIONS": "no.such.module:provider"}, ["no.such.module"]),
        ({"HEXWARD_ADMIN_PASSWORD": "passwordpassword"}, ["HEXWARD_ADMIN_PASSWORD"]),
    ],
)
def test_a_wrong_setting_is_refused_with_one_sentence(place, settings, words):
    line = refusal(place, settings)
    assert all(word in line for word in words)
    assert "s3cret-pw" not in line


def test_R04_production_refuses_to_start_without_its_secrets(place):
    server = start(place, {"HEXWARD_ENVIRONMENT": "production"})
    assert server.process.wait(30) == 1
    shown = server.output()
    for name in ("HEXWARD_DATABASE_URL", "HEXWARD_MASTER_KEY", "HEXWARD_PUBLIC_URL"):
        assert name in shown
    assert not place.exists()


def test_a_database_of_a_newer_hexward_is_refused_and_left_alone(place):
    server = start(place)
    server.wait_until_ready()
    server.stop()
    asyncio.run(in_database(place, "UPDATE hexward.alembic_version SET version_num = '9999'"))
    assert "9999" in refusal(place, {})
    asyncio.run(in_database(place, f"UPDATE hexward.alembic_version SET version_num = '{head()}'"))
    server = start(place)
    try:
        server.wait_until_ready()
    finally:
        server.stop()


def test_another_master_key_is_refused_and_the_right_one_still_works(place):
    server = start(place)
    server.wait_until_ready()
    server.stop()
    key = (place / "master.key").read_text()
    (place / "master.key").write_text("V2hhdCBhIG5pY2Uga2V5IHRoaXMgaXMsIGlzbid0IGk=\n")
    assert "master key" in refusal(place, {})
    (place / "master.key").write_text(key)
    server = start(place)
    try:
        server.wait_until_ready()
    finally:
        server.stop()


def test_R10_a_server_whose_tables_are_gone_is_alive_but_not_ready():
    with a_server() as server:
        asyncio.run(in_database(server.data_dir, "DROP SCHEMA hexward CASCADE"))
        answer = httpx.get(f"{server.url}/health/ready", timeout=10)
        assert answer.status_code == 503
        assert "schema" in answer.json()["failing"]
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        assert httpx.get(f"{server.url}/oauth2/jwks").status_code == 200


async def test_it_runs_on_a_postgresql_of_ones_own_with_a_single_login(place):
    cluster = start_cluster(15)
    database = await cluster.create_database(migrated=False)
    server = start(place, {"HEXWARD_DATABASE_URL": cluster.owner_url(database)})
    try:
        server.wait_until_ready()
        with server.client() as client:
            headers = server.login(client)
            assert client.get("/api/v1/users", headers=headers).json()["items"][0]["email"] == ADMIN
    finally:
        server.stop()


def test_a_command_works_beside_a_running_server():
    with a_server() as server:
        listed = run(["users", "list", "--json"], environment(HEXWARD_DATA_DIR=str(server.data_dir)))
        assert [u["email"] for u in json.loads(listed.stdout)["items"]] == [ADMIN]
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


async def in_database(data_dir, statement):
    """Run a statement as the owner of the embedded database, running or not."""
    postgres = EmbeddedPostgres(data_dir)
    cluster = postgres.attach()
    mine = cluster is None
    cluster = cluster or postgres.start()
    try:
        connection = await asyncpg.connect(cluster.url("hexward_owner"))
        await connection.execute(statement)
        await connection.close()
    finally:
        if mine:
            postgres.stop()
