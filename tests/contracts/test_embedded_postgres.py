"""The embedded PostgreSQL keeps data through anything, ends with its Hexward, and lets nobody else in."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from adapters import processes
from adapters.postgres import embedded_folder
from adapters.postgres.embedded import (
    OWNER_ROLE,
    SERVICE_ROLE,
    Cluster,
    EmbeddedPostgres,
    database_account,
    default_data_dir,
    packaged_programs,
    runnable_programs,
)
from adapters.postgres.embedded_programs import copy_programs
from domain.errors import StartRefused
from places import a_quick_place

pytestmark = [pytest.mark.postgres, pytest.mark.long]

SOURCES = Path(embedded_folder.__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several users")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of this test's own, which the database's user may pass through."""
    folder = a_quick_place("tests")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def finished() -> Iterator[Path]:
    """A data folder whose cluster has been created and stopped; to be copied, not used."""
    folder = a_quick_place("tests")
    postgres = EmbeddedPostgres(folder / "data")
    postgres.start()
    postgres.stop()
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(place: Path, finished: Path) -> Path:
    """A copy of such a folder."""
    subprocess.run(["cp", "-a", finished, place / "data"], check=True)
    return place / "data"


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(data_dir)
    yield postgres
    postgres.stop()


@contextlib.contextmanager
def another_hexward(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `script` after having imported what it needs, since it may become another user."""
    prologue = """
        import ctypes, importlib.metadata, os, pwd, signal, subprocess, sys, threading, time
        from pathlib import Path
        from adapters import processes
        from adapters.postgres.embedded import *
        from domain.errors import StartRefused

        def become(name_or_id):
            entry = pwd.getpwnam(name_or_id) if isinstance(name_or_id, str) else None
            os.setgroups([])
            os.setgid(entry.pw_gid if entry else name_or_id)
            os.setuid(entry.pw_uid if entry else name_or_id)
    """
    lines = [line.removeprefix(" " * 8) for line in (prologue + script).splitlines()]
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output_of(script: str, *arguments: object) -> str:
    with another_hexward(script, *arguments) as process:
        return process.communicate(timeout=30)[0].strip()


def processes_in(folder: Path) -> list[int]:
    """PostgreSQL's processes work in their cluster's folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(folder):
                found.append(int(link.parent.name))
    return found


def wait_until(condition, seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def login(socket_dir: Path, role: str, database: str = "hexward") -> str:
    """What PostgreSQL says to somebody who connects as `role`: "welcome", or why not."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(socket_dir / ".s.PGSQL.5432"))
        except OSError as error:
            return str(error)
        options = b"".join(word.encode() + b"\0" for word in ("user", role, "database", database)) + b"\0"
        connection.sendall(struct.pack("!ii", len(options) + 8, 196608) + options)
        answer = connection.recv(4096)
    return "welcome" if answer[:1] == b"R" else answer.decode(errors="replace")


async def rows(cluster: Cluster, sql: str, role: str = OWNER_ROLE) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(cluster.url(role))
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


START_AND_STAY = """
        cluster = EmbeddedPostgres(Path(sys.argv[1])).start()
        print(cluster.pid)
        time.sleep(60)
"""


async def test_the_first_start_makes_a_durable_cluster_with_an_owner_and_a_service_role(place):
    postgres = EmbeddedPostgres(place / "data")
    cluster = postgres.start()
    try:
        settings = "current_setting('fsync'), current_setting('data_checksums'), current_setting('listen_addresses')"
        assert await rows(cluster, f"SELECT {settings}") == [("on", "on", "")]
        assert await rows(
            cluster, "SELECT datname, datdba::regrole::text FROM pg_database WHERE datname = 'hexward'"
        ) == [("hexward", OWNER_ROLE)]
        flags = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
        assert await rows(cluster, f"SELECT {flags} FROM pg_roles WHERE rolname = '{SERVICE_ROLE}'") == [
            (False, False, False, False, False, True)
        ]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await rows(cluster, "CREATE TEMPORARY TABLE mine (id int)", SERVICE_ROLE)
        assert (await rows(cluster, "SELECT upper('zoë 李')"))[0] == ("ZOË 李",)
    finally:
        postgres.stop()


@pytest.mark.parametrize("role", [OWNER_ROLE, SERVICE_ROLE])
async def test_both_roles_log_in_through_asyncpg_and_sqlalchemy(postgres, role, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")  # what the environment says about other servers does not matter
    cluster = postgres.start()
    assert await rows(cluster, "SELECT current_user", role) == [(role,)]
    engine = create_async_engine(make_url(cluster.url(role)).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_user::text"))).scalar_one() == role
    await engine.dispose()


async def test_data_outlives_a_stop_and_a_start(postgres):
    await rows(postgres.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    assert postgres.running()
    postgres.stop()
    postgres.stop()  # nothing is left to do
    assert not postgres.running()
    assert await rows(postgres.start(), "SELECT answer FROM kept") == [(42,)]


def test_stopping_leaves_no_process(postgres, data_dir):
    postgres.start()
    assert processes_in(data_dir)
    postgres.stop()
    assert not processes_in(data_dir)


async def test_another_process_can_attach_to_a_running_cluster(postgres, data_dir):
    other = EmbeddedPostgres(data_dir)
    assert EmbeddedPostgres(data_dir / "nothing").attach() is None
    assert other.attach() is None
    cluster = postgres.start()
    assert other.attach() == cluster
    attach = "\n        print(EmbeddedPostgres(Path(sys.argv[1])).attach().pid)"
    assert output_of(attach, data_dir) == str(cluster.pid)
    postgres.stop()
    assert other.attach() is None


async def test_a_second_start_is_refused_and_does_no_harm(postgres, data_dir):
    cluster = postgres.start()
    with pytest.raises(StartRefused, match=rf"already runs on .* \(process {os.getpid()}\); stop it first"):
        EmbeddedPostgres(data_dir).start()
    assert await rows(cluster, "SELECT 1") == [(1,)]
    with pytest.raises(RuntimeError):
        postgres.start()
    assert await rows(cluster, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("thread", ["main", "other"])
async def test_after_kill_9_no_process_is_left_and_what_was_committed_is_there(postgres, data_dir, thread):
    script = START_AND_STAY
    if thread == "other":  # the kernel would take the end of the thread for the end of the process
        script = """
        started = []
        starter = threading.Thread(target=lambda: started.append(EmbeddedPostgres(Path(sys.argv[1])).start()))
        starter.start()
        starter.join()
        time.sleep(0.3)
        print(started[0].pid)
        time.sleep(60)
"""
    with another_hexward(script, data_dir) as hexward:
        server = int(hexward.stdout.readline())
        attached = EmbeddedPostgres(data_dir).attach()
        assert attached.pid == server
        await rows(attached, "CREATE TABLE kept AS SELECT 42 AS answer")
        hexward.kill()
        assert wait_until(lambda: processes.identity(server) is None and not processes_in(data_dir))
    assert await rows(postgres.start(), "SELECT answer FROM kept") == [(42,)]


def test_a_start_right_after_kill_9_succeeds(postgres, data_dir):
    with another_hexward(START_AND_STAY, data_dir) as hexward:
        hexward.stdout.readline()
        hexward.kill()
        hexward.wait()
        postgres.start()


def test_the_terminals_interrupt_does_not_reach_the_server(postgres):
    cluster = postgres.start()
    assert os.getsid(cluster.pid) != os.getsid(0)


@pytest.mark.parametrize("moment", [0.05, 0.25, 0.5])
def test_a_first_start_that_was_killed_is_done_again(place, moment):
    runnable_programs(database_account())  # so that it is the creation that gets killed
    with another_hexward(START_AND_STAY, place / "data") as hexward:
        assert wait_until(lambda: list((place / "data").glob("postgres.new-*")), 10)
        time.sleep(moment)
        hexward.kill()
        hexward.wait()
        postgres = EmbeddedPostgres(place / "data")
        cluster = postgres.start()
    try:
        assert login(cluster.socket_dir, SERVICE_ROLE) == "welcome"
        assert not list((place / "data").glob("postgres.new-*"))
    finally:
        postgres.stop()


def test_a_server_whose_hexward_is_gone_is_stopped_first(data_dir, place):
    account = database_account()
    programs = runnable_programs(account)
    orphan = processes.spawn(
        embedded_folder.server_command(data_dir, data_dir / "socket", programs),
        orphaned=signal.SIGINT,
        environment=embedded_folder.environment(),
        credentials=account.credentials,
    )
    pid_file = data_dir / "postgres" / "postmaster.pid"
    assert wait_until(lambda: pid_file.exists() and "ready" in pid_file.read_text())
    postgres = EmbeddedPostgres(data_dir)
    try:
        assert postgres.start().pid != orphan.pid
        assert orphan.wait(1) == 0  # shut down, not killed
    finally:
        postgres.stop()
        orphan.kill()


@pytest.mark.parametrize("age", [0, 3600])
def test_a_stale_pid_file_neither_blocks_nor_harms_the_process_that_has_the_number_now(postgres, data_dir, age):
    credentials = database_account().credentials
    bystander = processes.spawn(["/bin/sleep", "60"], orphaned=signal.SIGKILL, environment={}, credentials=credentials)
    try:
        pid_file = data_dir / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{bystander.pid}\n{data_dir}/postgres\n{int(time.time()) - age}\n5432\n\n\n\nready\n")
        assert postgres.start().pid != bystander.pid
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_torn_pid_file_does_not_block(postgres, data_dir):
    (data_dir / "postgres" / "postmaster.pid").write_text("12")
    assert login(postgres.start().socket_dir, SERVICE_ROLE) == "welcome"


@pytest.mark.parametrize("name", ["n" * 120, "a,b", "a b", "a:b"])
async def test_a_folder_whose_name_no_socket_can_have_gets_a_short_private_one(place, data_dir, name):
    data_dir.rename(place / name)
    postgres = EmbeddedPostgres(place / name)
    cluster = postgres.start()
    try:
        assert not cluster.socket_dir.is_relative_to(place)
        assert stat.S_IMODE(cluster.socket_dir.stat().st_mode) == 0o700
        assert await rows(cluster, "SELECT current_user", SERVICE_ROLE) == [(SERVICE_ROLE,)]
        assert EmbeddedPostgres(place / name).attach() == cluster
    finally:
        postgres.stop()
    assert not cluster.socket_dir.exists()


def test_a_short_socket_folder_that_others_could_enter_is_not_used_again(place, finished):
    subprocess.run(["cp", "-a", finished, place / "a,b"], check=True)
    open_to_all = place / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (place / "a,b" / "socket-folder").write_text(str(open_to_all))
    postgres = EmbeddedPostgres(place / "a,b")
    try:
        assert postgres.start().socket_dir != open_to_all
    finally:
        postgres.stop()


def test_a_socket_folder_that_others_could_enter_is_refused(postgres, data_dir):
    (data_dir / "socket").chmod(0o755)
    with pytest.raises(StartRefused, match="is not a folder that only the user"):
        postgres.start()


@needs_root
def test_another_system_user_is_let_in_by_neither_the_folder_nor_the_server(postgres):
    cluster = postgres.start()
    assert "Permission denied" in said_to_nobody(cluster.socket_dir)
    cluster.socket_dir.chmod(0o755)
    (cluster.socket_dir / ".s.PGSQL.5432").chmod(0o777)
    assert "Peer authentication failed" in said_to_nobody(cluster.socket_dir)
    cluster.socket_dir.chmod(0o700)
    assert login(cluster.socket_dir, SERVICE_ROLE) == "welcome"
    assert "no pg_hba.conf entry" in login(cluster.socket_dir, SERVICE_ROLE, "postgres")


def said_to_nobody(socket_dir: Path) -> str:
    """What somebody who runs as `nobody` is told."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        entry = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.write(writer, login(socket_dir, OWNER_ROLE).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answer = said.read()
    os.waitpid(child, 0)
    return answer


@needs_root
def test_root_runs_it_as_a_system_user_who_can_change_neither_the_programs_nor_our_folder(postgres, data_dir):
    cluster = postgres.start()
    account = database_account()
    assert Path(f"/proc/{cluster.pid}").stat().st_uid == account.uid == pwd.getpwnam("hexward").pw_uid != 0
    assert data_dir.stat().st_uid == 0
    programs = runnable_programs(account)
    for path in (programs / "postgres", programs, *programs.parents):
        assert path.stat().st_uid == 0
        assert not path.stat().st_mode & 0o022


@needs_root
@pytest.mark.parametrize("below", ["data", "deeper/data"])
def test_root_hears_which_folder_is_closed_to_the_database_and_no_folder_changes(place, below):
    closed = place / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    with pytest.raises(StartRefused, match=f"may not enter {closed}; set HEXWARD_DATA_DIR"):
        EmbeddedPostgres(closed / below).start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not list(closed.iterdir())


@needs_root
def test_root_may_choose_an_existing_folder_whose_owner_and_mode_stay_as_they_are(place):
    chosen = place / "chosen"
    chosen.mkdir()
    chosen.chmod(0o755)
    os.chown(chosen, pwd.getpwnam("nobody").pw_uid, 0)
    postgres = EmbeddedPostgres(chosen)
    postgres.start()
    postgres.stop()
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o755
    assert chosen.stat().st_uid == pwd.getpwnam("nobody").pw_uid


def everybodys_python() -> str:
    """An interpreter that every user may run."""
    if (found := shutil.which("python3", path="/usr/bin:/usr/local/bin")) is None:
        missing = "this machine has no Python that every user may run"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)  # a laptop without it still runs this as its own user, in every other test
    return found


@needs_root
def test_an_ordinary_user_runs_it_as_himself_and_survives_kill_9_too(place):
    script = """
        programs = runnable_programs(database_account())
        become("nobody")
        sys.executable, processes.__file__ = sys.argv[2:]  # ours may be in folders that only root can enter
        postgres = EmbeddedPostgres(Path(sys.argv[1]), programs=programs)
        postgres.start()
        postgres.stop()
        print(postgres.start().pid)
        time.sleep(60)
"""
    home = place / "home"
    home.mkdir(mode=0o700)
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    program = Path(shutil.copy(processes.__file__, place / "processes.py"))
    program.chmod(0o644)
    with another_hexward(script, home / "data", everybodys_python(), program) as hexward:
        server = int(hexward.stdout.readline())
        assert Path(f"/proc/{server}").stat().st_uid == nobody.pw_uid
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        assert said_to_nobody(home / "data" / "socket") == "welcome"
        assert "Peer authentication failed" in login(home / "data" / "socket", OWNER_ROLE)  # root is not in the map
        hexward.kill()
        assert wait_until(lambda: not processes_in(home))


@needs_root
def test_a_cluster_of_another_user_is_refused(postgres, data_dir):
    os.chown(data_dir / "postgres", pwd.getpwnam("nobody").pw_uid, 0)
    with pytest.raises(StartRefused, match="belongs to the user id .* start Hexward as the user who created it"):
        postgres.start()


@needs_root
def test_a_user_without_a_name_is_told_so(place):
    script = """
        become(54321)
        try:
            EmbeddedPostgres(Path(sys.argv[1])).start()
        except StartRefused as refused:
            print(refused)
"""
    assert "cannot run as the user id 54321, which has no name" in output_of(script, place / "data")


@needs_root
def test_a_foreign_users_folder_is_refused_to_those_who_may_not_read_it(data_dir):
    script = """
        become("nobody")
        postgres = EmbeddedPostgres(Path(sys.argv[1]), programs=Path("/"))
        for act in (postgres.start, postgres.attach):
            try:
                act()
            except StartRefused as refused:
                print(refused)
"""
    assert output_of(script, data_dir).count("Permission denied") == 2


def test_a_folder_of_another_version_is_refused(postgres, data_dir):
    (data_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartRefused, match=r"written by PostgreSQL 17 and this Hexward brings 18; back it up"):
        postgres.start()
    assert (data_dir / "postgres" / "PG_VERSION").read_text() == "17\n"


def test_a_folder_that_is_not_a_cluster_is_refused(postgres, data_dir):
    (data_dir / "postgres" / "PG_VERSION").unlink()
    with pytest.raises(StartRefused, match="not a complete PostgreSQL folder; restore"):
        postgres.start()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("global/pg_control", "database files are incompatible with server"),
        ("pg_wal", "required WAL directory"),
    ],
)
def test_a_damaged_cluster_is_refused_with_the_line_that_matters(postgres, data_dir, broken, reason):
    path = data_dir / "postgres" / broken
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(StartRefused, match=reason) as refused:
        postgres.start()
    assert "restore a backup" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert wait_until(lambda: not processes_in(data_dir))  # its logger may end a moment later


def test_a_cluster_that_cannot_find_its_checkpoint_is_refused_with_that_line(postgres, data_dir):
    for segment in (data_dir / "postgres" / "pg_wal").glob("0*"):
        segment.unlink()
    with pytest.raises(StartRefused, match="could not locate a valid checkpoint record"):
        postgres.start()
    assert wait_until(lambda: not processes_in(data_dir))  # its logger may end a moment later


def test_a_setting_that_postgresql_does_not_know_is_named(postgres, data_dir):
    with (data_dir / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("\nshared_bufers = 1GB\n")
    with pytest.raises(StartRefused, match="shared_bufers|contains errors"):
        postgres.start()


def test_a_data_folder_that_is_a_file_is_refused(place):
    (place / "data").write_text("")
    with pytest.raises(StartRefused, match="Not a directory|may not enter"):
        EmbeddedPostgres(place / "data").start()


def test_missing_programs_are_named(place):
    with pytest.raises(StartRefused, match="initdb is missing or does not run on this system"):
        EmbeddedPostgres(place / "data", programs=place).start()
    assert [path.name for path in (place / "data").iterdir()] == ["lock"]


def test_a_full_disk_is_told_with_its_remedy(place):
    said = embedded_folder.refusal('could not extend file "x": No space left on device', place, otherwise="")
    assert str(said).endswith("free some space")
    small = place / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=False).returncode == 0
    if not mounted:  # most containers may not
        return
    try:
        small.chmod(0o711)
        with pytest.raises(StartRefused, match="No space left on device.*free some space"):
            EmbeddedPostgres(small / "data").start()
        assert [path.name for path in (small / "data").iterdir()] == ["lock"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_log_that_has_grown_too_large_does_not_outlive_the_next_start(postgres, data_dir):
    log = next((data_dir / "log").glob("*.log"))
    os.truncate(log, 9 * 2**20)
    postgres.start()
    assert not log.exists() or log.stat().st_size < 2**20


async def test_errors_of_the_service_do_not_fill_the_log(postgres, data_dir):
    cluster = postgres.start()
    for role, marker in ((SERVICE_ROLE, "marker_of_service"), (OWNER_ROLE, "marker_of_owner")):
        with pytest.raises(asyncpg.UndefinedTableError):
            await rows(cluster, f"SELECT * FROM {marker}", role)

    def logged() -> str:
        return "".join(path.read_text() for path in (data_dir / "log").glob("*.log"))

    assert wait_until(lambda: "marker_of_owner" in logged(), 10)  # a process of its own writes the log
    assert "marker_of_service" not in logged()


@needs_root
def test_a_copy_of_the_programs_that_was_cut_short_is_made_anew(place):
    copy = place / "copy"
    programs = copy_programs(packaged_programs().parent, copy)
    inode = copy.stat().st_ino
    assert copy_programs(packaged_programs().parent, copy) == programs
    assert copy.stat().st_ino == inode  # used as it is
    os.truncate(programs / "postgres", 1000)
    copy_programs(packaged_programs().parent, copy)
    version = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("postgres (PostgreSQL) 18.")
    copy.chmod(0o777)
    with pytest.raises(StartRefused, match="may be written to by others"):
        copy_programs(packaged_programs().parent, copy)
    assert [path.name for path in place.iterdir() if path.name != ".install.lock"] == ["copy"]


def test_the_default_folder_is_the_projects_own(tmp_path):
    chosen = default_data_dir(tmp_path)
    if os.geteuid() != 0:
        assert chosen == tmp_path / ".hexward"
        return
    assert chosen.parent == Path("/var/lib/hexward")
    assert chosen == default_data_dir(tmp_path)
    (tmp_path / "ünïcode name").mkdir()
    other = default_data_dir(tmp_path / "ünïcode name")
    assert other.name.isascii()
    assert " " not in other.name
    assert other != chosen


def test_a_start_in_a_thread_outlives_the_thread(postgres):
    clusters: list[Cluster] = []
    starter = threading.Thread(target=lambda: clusters.append(postgres.start()))
    starter.start()
    starter.join()
    time.sleep(0.2)
    assert postgres.running()
    assert login(clusters[0].socket_dir, SERVICE_ROLE) == "welcome"
