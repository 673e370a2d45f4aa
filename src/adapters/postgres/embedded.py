"""A private PostgreSQL for the quick start: the same engine as in production, in a data folder, by one call.

It is reached through a Unix socket in a private folder and by nobody but the system user who started it (peer
authentication), and it is durable like any other. It ends with the process that started it, also on `kill -9`.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from adapters import processes
from adapters.postgres.embedded_folder import (
    DATABASE,
    OWNER_ROLE,
    SERVICE_ROLE,
    FolderLock,
    Holder,
    StartLog,
    create_cluster,
    environment,
    holder_of,
    prepare_log,
    refusal,
    refusal_of_system,
    require_usable,
    server_command,
    write_access_rules,
)
from adapters.postgres.embedded_host import (
    PORT,
    Account,
    database_account,
    default_data_dir,
    prepare_data_dir,
    private_place,
    remove_short_socket_folder,
    socket_folder,
)
from adapters.postgres.embedded_programs import packaged_programs, runnable_programs
from domain.errors import StartRefused

__all__ = [
    "DATABASE",
    "OWNER_ROLE",
    "SERVICE_ROLE",
    "Cluster",
    "EmbeddedPostgres",
    "database_account",
    "default_data_dir",
    "packaged_programs",
    "prepare_data_dir",
    "private_place",
    "runnable_programs",
]

_CLOCK_SLACK = 2.0  # seconds; both start times are only known to about one
_SHUTDOWN = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))  # fast, then at once: the next start recovers from that


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a running cluster; `pid` is its postmaster."""

    socket_dir: Path
    pid: int
    port: int = PORT

    def url(self, user: str, database: str = DATABASE) -> str:
        """For asyncpg and libpq as it is, for SQLAlchemy with the scheme `postgresql+asyncpg`.

        The port is spelt out because it names the socket, and PGPORT would otherwise decide.
        """
        place = urlencode({"host": str(self.socket_dir), "port": self.port}, quote_via=quote, safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?{place}"


class EmbeddedPostgres:
    """The cluster of one data folder."""

    def __init__(self, data_dir: Path, *, programs: Path | None = None, patience: float = 60.0) -> None:
        """Nothing happens yet. `programs`: a folder with postgres and initdb, instead of the packaged ones.

        `patience`: seconds that a start, which may have to recover from a crash, may take.
        """
        self._data_dir = data_dir.resolve()
        self._folder = self._data_dir / "postgres"
        self._programs = programs
        self._patience = patience
        self._lock: FolderLock | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: processes.Watchdog | None = None

    def start(self) -> Cluster:
        """Run the cluster, creating it first if need be, and wait until it accepts connections.

        The cluster ends with this process. Called from another thread than the main one it costs a further small
        process that sees to that. Raises StartRefused, with nothing left running.
        """
        if self._lock is not None:
            raise RuntimeError("this cluster has already been started")
        try:
            return self._start(database_account())
        except OSError as error:
            self.stop()
            raise refusal_of_system(error, self._data_dir) from error
        except BaseException:
            self.stop()
            raise

    def attach(self) -> Cluster | None:
        """The cluster that another process runs on this data folder, or None when none does.

        One that is just starting is waited for, up to 10 seconds. Raises StartRefused when the folder is not ours.
        """
        deadline = time.monotonic() + 10
        while True:
            try:
                holder = holder_of(self._data_dir)
            except OSError as error:
                raise refusal_of_system(error, self._data_dir) from error
            if holder is None:
                return None
            if holder.postmaster and holder.socket_dir and processes.is_running(holder.postmaster):
                return Cluster(holder.socket_dir, holder.postmaster.pid)
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)

    def running(self) -> bool:
        """Whether the postmaster that `start` started has not ended."""
        return self._server is not None and self._server.poll() is None

    def stop(self) -> None:
        """Shut down fast (no transaction is waited for, nothing acknowledged is lost) and wait, up to 25 seconds.

        Does nothing when nothing runs. Raises OSError.
        """
        if self._server is not None:
            _shut_down(self._server)
            self._server = None
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None
        if self._lock is not None:
            remove_short_socket_folder(self._data_dir)
            self._lock.release()
            self._lock = None

    def _start(self, account: Account) -> Cluster:
        programs = self._programs or runnable_programs(account)
        prepare_data_dir(self._data_dir, account)
        self._lock = FolderLock(self._data_dir)
        if not self._folder.exists():
            create_cluster(self._data_dir, account, programs)
        require_usable(self._folder, account)
        stale = self._end_leftover(self._lock.previous)
        socket_dir = socket_folder(self._data_dir, account)
        write_access_rules(self._data_dir, account)
        prepare_log(self._data_dir, account)
        log = StartLog(self._data_dir)
        tied = processes.tied_by_kernel()
        with log.file:
            self._server = processes.spawn(
                server_command(self._data_dir, socket_dir, programs),
                orphaned=signal.SIGINT if tied else None,  # SIGINT: PostgreSQL's fast shutdown
                environment=environment() | stale,
                credentials=account.credentials,
                stdout=log.file,
                stderr=log.file,
            )
        postmaster = processes.identity(self._server.pid)
        if postmaster and not tied:
            self._watchdog = processes.Watchdog(postmaster, signal.SIGINT)
        self._wait_until_ready(self._server, log)
        self._lock.note(Holder(os.getpid(), postmaster, socket_dir))
        return Cluster(socket_dir, self._server.pid)

    def _wait_until_ready(self, server: subprocess.Popen[bytes], log: StartLog) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            lines = self._pid_file()
            if lines[:1] == [str(server.pid)] and lines[7:8] == ["ready"]:
                return
            if server.poll() is not None:
                raise refusal(
                    log.reason(),
                    self._data_dir,
                    otherwise=f"see the log in {self._data_dir}, then restore a backup, "
                    "or move that folder away to begin with an empty one",
                )
            if time.monotonic() >= deadline:
                raise StartRefused(
                    f"the embedded PostgreSQL was not ready after {self._patience:.0f} s; "
                    f"see the log in {self._data_dir} and try again"
                )
            time.sleep(0.005)

    def _pid_file(self) -> list[str]:
        """postmaster.pid: pid, folder, start time, port, socket folder, address, shared memory, state."""
        try:
            return [line.strip() for line in (self._folder / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _end_leftover(self, previous: Holder | None) -> dict[str, str]:
        """Stop a postmaster whose Hexward is gone. A process that is not proven to be it is left alone.

        Returns what the new postmaster's environment has to hold: a pid to take no notice of, should another
        process have the old one's. PostgreSQL then still checks by itself whether its memory is in use.
        """
        lines = self._pid_file()
        if len(lines) < 3 or not lines[0].isdecimal() or not lines[2].isdecimal():
            return {}
        leftover = processes.identity(int(lines[0]))
        if leftover is None or not self._is_ours(leftover, previous, int(lines[2])):
            return {"PG_GRANDPARENT_PID": lines[0]}
        for signum, patience in _SHUTDOWN:
            try:
                os.kill(leftover.pid, signum)
            except ProcessLookupError:
                return {}
            if processes.wait_until_ended(leftover, patience):
                return {}
        raise StartRefused(
            f"a PostgreSQL left on {self._folder} does not end; end the process {leftover.pid}, then start again"
        )

    def _is_ours(self, process: processes.Identity, previous: Holder | None, noted_start: int) -> bool:
        """Proof is what we noted of it, or else that it started when it noted and works in our folder."""
        if previous and previous.postmaster == process:
            return True
        started = processes.started_at(process.pid)
        if started is None or abs(started - noted_start) > _CLOCK_SLACK:
            return False
        works_in = Path(f"/proc/{process.pid}/cwd")
        try:
            return not works_in.parent.parent.joinpath("self").exists() or works_in.samefile(self._folder)
        except OSError:  # another user's process
            return False


def _shut_down(server: subprocess.Popen[bytes]) -> None:
    for signum, seconds in _SHUTDOWN:
        server.send_signal(signum)
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    server.kill()
    server.wait()
