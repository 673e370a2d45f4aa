"""PostgreSQL servers for tests: 18 as it is embedded, 15 as Debian has it. Fast, because nothing in them is to last.

Every test may have a database of its own, copied from one that was migrated once. The owner's login is no superuser
and the service's login is a member of the service's role, as on a server that somebody else administers.
"""

import asyncio
import atexit
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil
import pytest

from adapters.postgres import migrate
from adapters.postgres.embedded import database_account, packaged_programs, runnable_programs
from adapters.postgres.embedded_host import Account, private_folder, remove_tree
from adapters.postgres.urls import connect
from adapters.processes import spawn
from places import a_quick_place

VERSIONS = (18, 15)
OWNER, SERVICE = "test_owner", "test_service"
MIGRATED = "migrated"

_DEBIAN = (Path("/usr/lib/postgresql/15/bin"), Path("/usr/local/bin"))
_numbers = itertools.count(1)


class PostgresCluster:
    """A running server in a private folder, reached by its socket."""

    def __init__(self, version: int) -> None:
        account = database_account()
        self.programs = _programs(version, account)
        self._place = a_quick_place("tests")
        try:
            self._account = account
            self._initialise(account)
            self._server = self._start()
            with ThreadPoolExecutor(1) as elsewhere:  # also when the test that asks first runs in a loop
                elsewhere.submit(asyncio.run, self._prepare()).result()
        except BaseException:
            self.stop()
            raise

    def owner_url(self, database: str = MIGRATED) -> str:
        """For whoever migrates."""
        return self._url(OWNER, database)

    def service_url(self, database: str = MIGRATED) -> str:
        """For the running service."""
        return self._url(SERVICE, database)

    def superuser_url(self, database: str = "postgres") -> str:
        """For what only an administrator of the server may do."""
        return self._url("postgres", database)

    async def create_database(self, name: str | None = None, *, migrated: bool = True) -> str:
        """A new database of the owner, as the migrations leave it, or empty; its name."""
        name = name or f"test_{next(_numbers)}"
        template = MIGRATED if migrated else "template0"
        await self._as_superuser(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY OWNER {OWNER}")
        return name

    async def drop_database(self, name: str) -> None:
        """Remove it, whoever is still connected."""
        await self._as_superuser(f"DROP DATABASE {name} WITH (FORCE)")

    def pause(self) -> None:
        """Shut the server down as its administrator would, with whoever is connected; its data stays."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait(20)

    def resume(self) -> None:
        """Start the server that was paused."""
        self._server = self._start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of the server stands still, with all its connections open."""
        server = psutil.Process(self._server.pid)
        server.suspend()  # first: it can start no backend that would be overlooked
        stopped = [server, *server.children()]
        try:
            for backend in stopped[1:]:
                backend.suspend()
            yield
        finally:
            for process in reversed(stopped):
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def stop(self) -> None:
        """End the server at once and remove what it wrote."""
        server = getattr(self, "_server", None)
        if server is not None:
            server.send_signal(signal.SIGQUIT)
            server.wait(10)
        remove_tree(self._place)

    def _url(self, user: str, database: str) -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self._place / 'socket'), safe='')}&port=5432"

    def _initialise(self, account: Account) -> None:
        data = private_folder(self._place / "data", account)
        private_folder(self._place / "socket", account)
        subprocess.run(
            [self.programs / "initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--encoding=UTF8",
             "--locale=C", "--no-sync", "--no-instructions"],
            check=True, stdout=subprocess.DEVNULL, user=account.uid if account.switched else None,
            group=account.gid if account.switched else None, extra_groups=[] if account.switched else None, cwd="/",
        )  # fmt: skip

    def _start(self) -> "subprocess.Popen[bytes]":
        data, socket = self._place / "data", self._place / "socket"
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(socket), "fsync": "off", "synchronous_commit": "off",
            "full_page_writes": "off", "max_connections": "200", "shared_buffers": "64MB", "autovacuum": "off",
            "wal_level": "minimal", "max_wal_senders": "0", "timezone": "Pacific/Auckland", "log_min_messages": "fatal",
        }  # fmt: skip
        server = spawn(
            [self.programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())],
            orphaned=signal.SIGQUIT,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            credentials=self._account.credentials,
        )
        deadline = time.monotonic() + 30
        while not (data / "postmaster.pid").exists() or "ready" not in (data / "postmaster.pid").read_text():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the test server in {data} did not start")
            time.sleep(0.01)
        return server

    async def _prepare(self) -> None:
        await self._as_superuser(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
        await self._as_superuser(f"CREATE ROLE {SERVICE} LOGIN NOINHERIT")
        await self.create_database(MIGRATED, migrated=False)
        await migrate.upgrade(self.owner_url())
        await self._as_superuser(f"GRANT hexward_service TO {SERVICE}")

    async def _as_superuser(self, statement: str) -> None:
        connection: asyncpg.Connection = await connect(self.superuser_url(), settings={})
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


_running: dict[int, PostgresCluster] = {}


def start_cluster(version: int) -> PostgresCluster:
    """The server of that version, started when it is first asked for; it ends with this process."""
    if version not in _running:
        _running[version] = PostgresCluster(version)
        atexit.register(_running[version].stop)
    return _running[version]


def _programs(version: int, account: Account) -> Path:
    """Where that version's programs are; without 15, tests are skipped on a laptop and fail in CI."""
    if version == 18:
        return runnable_programs(account) if account.switched else packaged_programs()
    for folder in _DEBIAN:
        if (folder / "postgres").exists() and f" {version}." in _version_of(folder / "postgres"):
            return folder.resolve()
    complaint = f"PostgreSQL {version} is not installed (Debian: apt-get install postgresql-{version})"
    if os.environ.get("CI"):
        pytest.fail(complaint)
    pytest.skip(complaint)


def _version_of(program: Path) -> str:
    return subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
