"""The command where no server runs: before the first start, after the last one, and where something is wrong."""

import asyncio
import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.postgres_cluster import start_cluster
from entrypoints.cli.main import root
from entrypoints.wiring.footing import current
from journeys.server_process import ADMIN, HEXWARD, a_place, a_server, environment, free_port, run

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.long]


@pytest.fixture
def place():
    with a_place() as data_dir:
        yield data_dir


@pytest.fixture(scope="module")
def stopped():
    """The data folder of a server that ran once."""
    with a_server() as server:
        server.stop()
        yield server.data_dir


def command(*arguments, **settings):
    """Runs in this process, which starts and stops the embedded database for it."""
    return CliRunner(env=settings).invoke(root, arguments, prog_name="hexward")


def on(data_dir):
    return {"HEXWARD_DATA_DIR": str(data_dir), "HEXWARD_PORT": str(free_port())}


def levels(done):
    return {check["check"]: check["level"] for check in json.loads(done.stdout)["checks"]}


def test_before_the_first_start_nothing_is_created_just_to_be_found_empty(place):
    for arguments in (("users", "list"), ("db", "check"), ("keys", "rotate")):
        done = command(*arguments, **on(place))
        assert done.exit_code == 1
        assert "run hexward serve first" in done.stderr
    done = command("doctor", "--json", **on(place))
    assert done.exit_code == 0
    assert levels(done)["database"] == "warning"
    assert not place.exists()


def test_a_migrated_database_still_needs_its_first_start(place):
    assert command("db", "upgrade", **on(place)).stdout.startswith("The database went from nothing to revision ")
    assert "already at revision" in command("db", "upgrade", **on(place)).stdout
    assert "Its tables are those of this version." in command("db", "check", **on(place)).stdout
    done = command("users", "list", "--json", **on(place))
    assert json.loads(done.stderr)["code"] == "not_prepared"
    done = command("doctor", "--json", **on(place))
    assert done.exit_code == 0
    assert levels(done)["keys"] == "warning"


def test_after_the_last_stop_commands_start_the_database_for_themselves_one_after_the_other(stopped):
    processes = [
        subprocess.Popen(
            [HEXWARD, "users", "list", "--json"], env=environment(**on(stopped)), stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        answer = json.loads(process.communicate(timeout=60)[0])
        assert [user["email"] for user in answer["items"]] == [ADMIN]
    running = [entry for entry in Path("/proc").glob("[0-9]*/cwd") if str(stopped) in os.fspath(entry.resolve())]
    assert running == []


def test_the_doctor_says_that_no_server_runs_which_is_no_problem(stopped):
    done = command("doctor", "--json", **on(stopped))
    assert done.exit_code == 0
    assert levels(done)["server"] == "warning"
    assert levels(done)["keys"] == "ok"


def test_a_lost_master_key_is_a_problem_and_is_not_replaced(stopped):
    key = stopped / "master.key"
    hidden = key.rename(stopped / "hidden")
    try:
        done = command("doctor", "--json", **on(stopped))
        assert done.exit_code == 1
        assert levels(done)["master key"] == "problem"
        assert not key.exists()
    finally:
        hidden.rename(key)


def test_a_wrong_master_key_is_a_problem(stopped):
    other = base64.b64encode(os.urandom(32)).decode()
    done = command("doctor", **on(stopped), HEXWARD_MASTER_KEY=other)
    assert done.exit_code == 1
    assert "not the one this installation was prepared with" in done.stdout.replace("\n", " ")


def test_a_typo_in_a_setting_stops_every_command(place):
    env = environment(HEXWARD_DATA_DIR=str(place), HEXWARD_DATABSE_URL="postgresql://x/y")
    for arguments in (["users", "list"], ["config", "check"], ["serve"]):
        done = run(arguments, env)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "did you mean HEXWARD_DATABASE_URL?" in done.stderr
    assert not place.exists()
    done = command("doctor", "--json", HEXWARD_DATABSE_URL="x")
    assert done.exit_code == 1
    assert levels(done) == {"settings": "problem"}


def test_settings_are_shown_with_their_source_and_without_secrets():
    secret = "postgresql://hexward:geheim@db/id"
    shown = command("config", "show", "--json", HEXWARD_PORT="8123", HEXWARD_DATABASE_URL=secret)
    assert "geheim" not in shown.output
    settings = {item["name"]: item for item in json.loads(shown.stdout)["items"]}
    assert settings["HEXWARD_PORT"] == {"name": "HEXWARD_PORT", "value": "8123", "source": "environment"}
    assert "HEXWARD_PORT  " in command("config", "show", HEXWARD_PORT="8123").stdout
    checked = command("config", "check", HEXWARD_TRUSTED_PROXIES="0.0.0.0/0")
    assert checked.stdout == "The settings are in order.\n"
    assert "trusts everyone" in checked.stderr
    assert json.loads(command("config", "check", "--json").stdout) == {"ok": True, "warnings": []}


def test_a_server_that_cannot_start_says_why_in_one_sentence(place):
    env = environment(**on(place))
    done = run(["serve", "--host", "192.0.2.1", "--port", str(free_port()), "--data-dir", str(place)], env)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Cannot listen on 192.0.2.1")


def test_a_database_of_somebody_elses_is_examined_too(place):
    """PostgreSQL 15, with an owner's login and one of the service that inherits nothing."""
    cluster = start_cluster(15)
    name = asyncio.run(cluster.create_database(migrated=False))
    env = {
        **on(place),
        "HEXWARD_DATABASE_URL": cluster.service_url(name),
        "HEXWARD_DATABASE_OWNER_URL": cluster.owner_url(name),
        "HEXWARD_MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
    }
    try:
        empty = command("users", "list", **env)
        assert empty.exit_code == 1
        assert "run hexward db upgrade or hexward serve first" in empty.stderr
        behind = command("db", "check", **env)
        assert behind.exit_code == 1
        assert "revision none" in behind.stdout
        assert command("doctor", "--json", **env).exit_code == 1
        assert "from nothing to revision" in command("db", "upgrade", **env).stdout
        assert asyncio.run(current(cluster.service_url(name))) == asyncio.run(current(cluster.owner_url(name)))
        done = command("doctor", "--json", **env)
        assert levels(done)["audit trail"] == levels(done)["schema"] == levels(done)["database"] == "ok"
        as_owner = command("doctor", "--json", **{**env, "HEXWARD_DATABASE_URL": cluster.owner_url(name)})
        assert levels(as_owner)["audit trail"] == "warning"
    finally:
        asyncio.run(cluster.drop_database(name))


def test_a_database_that_is_away_is_a_problem_that_is_named(place):
    env = {**on(place), "HEXWARD_DATABASE_URL": f"postgresql://x@127.0.0.1:{free_port()}/x?connect_timeout=2"}
    for arguments in (("users", "list"), ("doctor",), ("db", "upgrade"), ("db", "check")):
        done = command(*arguments, **env)
        assert done.exit_code == 1
        assert "Traceback" not in done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
