"""What is inside the data folder: the lock, the cluster, who may log in, the log.

- `lock`: held by the Hexward that runs on this folder; says who that is and where the socket is
- `postgres/`: the cluster; only the database's user may enter
- `pg_hba.conf`, `pg_ident.conf`: who may log in, written anew at every start
- `log/`, `postgres-start.log`: what PostgreSQL had to say
- `socket/`, or `socket-folder`, which names a shorter one elsewhere
"""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres.embedded_host import INSTEAD, PORT, Account, give, private_folder, remove_tree, write_file
from adapters.postgres.embedded_programs import MAJOR_VERSION
from adapters.processes import Identity, spawn
from domain.errors import StartRefused

OWNER_ROLE = "hexward_owner"
SERVICE_ROLE = "hexward_service"
DATABASE = "hexward"

# Written into a new cluster's postgresql.conf, where the operator may change them.
_SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",
    "huge_pages": "off",
    "io_method": "sync",  # no extra processes for a database of this size
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",  # a DETAIL line would show people's data
    "log_min_error_statement": "panic",
    # One file for each day of the week, which its next turn replaces.
    "logging_collector": "on",
    "log_filename": "postgres-%w.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}

# The service hears of its own errors and reports them itself; in this log they would only let callers fill the disk.
_FIRST_STATEMENTS = f"""\
CREATE ROLE {SERVICE_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS;
ALTER ROLE {SERVICE_ROLE} SET log_min_messages = 'log';
CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE};
REVOKE ALL ON DATABASE {DATABASE}, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO {SERVICE_ROLE};
"""

_LARGEST_LOG = 8 * 2**20  # bytes that a start leaves in one file
_SERIOUS = re.compile(r"(?:FATAL|PANIC|ERROR|error):\s+(.*)")
_ELSEWHERE = "choose another folder with HEXWARD_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who runs on a data folder: a Hexward and, once it accepts connections, its postmaster and socket folder."""

    supervisor: int
    postmaster: Identity | None = None
    socket_dir: Path | None = None


class FolderLock:
    """The right to run on a data folder; the system takes it back when this process ends, however that happens."""

    def __init__(self, data_dir: Path) -> None:
        """Take it. Raises StartRefused when another process has it, OSError."""
        path = data_dir / "lock"
        # Python's files are close-on-exec, so PostgreSQL does not inherit the lock.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _take(self._file, data_dir)
        except BaseException:
            os.close(self._file)
            raise
        self.previous = _read_holder(path)
        self.note(Holder(os.getpid()))

    def note(self, holder: Holder) -> None:
        """Tell others who holds the lock. Raises OSError."""
        postmaster = holder.postmaster
        text = json.dumps(
            {
                "supervisor": holder.supervisor,
                "postmaster": None if postmaster is None else [postmaster.pid, postmaster.mark],
                "socket_dir": None if holder.socket_dir is None else str(holder.socket_dir),
            }
        )
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def release(self) -> None:
        """Give it back."""
        os.close(self._file)


def holder_of(data_dir: Path) -> Holder | None:
    """Who runs on the folder now; None when nobody does. Raises OSError."""
    path = data_dir / "lock"
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path) or Holder(0)
    finally:
        os.close(file)
    return None


def create_cluster(data_dir: Path, account: Account, programs: Path) -> None:
    """Make `postgres/` whole or not at all: it gets its name once roles and database exist and all is on disk.

    Raises StartRefused, OSError.
    """
    for abandoned in data_dir.glob("postgres.new-*"):
        remove_tree(abandoned)
    fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=data_dir))
    give(fresh, account)
    options = [
        f"--username={OWNER_ROLE}",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--auth-local=peer",
        "--auth-host=reject",
        "--no-instructions",
        "--no-sync",
        *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
    ]
    try:
        initdb = [str(programs / "initdb"), f"--pgdata={fresh}"]
        _run([*initdb, *options], account, data_dir)
        single = [str(programs / "postgres"), "--single", "-F", "-D", str(fresh), "-c", "logging_collector=off"]
        _run([*single, "postgres"], account, data_dir, _FIRST_STATEMENTS)
        _run([*initdb, "--sync-only"], account, data_dir)
        fresh.rename(data_dir / "postgres")
        _sync_folder(data_dir)
    except BaseException:
        remove_tree(fresh)
        raise


def require_usable(cluster: Path, account: Account) -> None:
    """Refuse a cluster that is another user's, another version's or not one at all. Raises StartRefused, OSError."""
    if (owner := cluster.stat().st_uid) != account.uid:
        raise StartRefused(
            f"{cluster} belongs to the user id {owner} and PostgreSQL would run as {account.name}; "
            f"start Hexward as the user who created it, or {_ELSEWHERE}"
        )
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise StartRefused(
            f"{cluster} is not a complete PostgreSQL folder; "
            "restore it from a backup, or move it away to begin with an empty one"
        ) from None
    if found != str(MAJOR_VERSION):
        raise StartRefused(
            f"{cluster} was written by PostgreSQL {found[:20]} and this Hexward brings {MAJOR_VERSION}; "
            f"back it up with the Hexward that wrote it and restore that here, or {_ELSEWHERE}"
        )


def write_access_rules(data_dir: Path, account: Account) -> None:
    """Only the logins of `account` may connect, only through the socket, proven by the kernel. Raises OSError."""
    mode = 0o644 if account.switched else 0o600
    note = "# Written by Hexward at every start; changes here are lost.\n"
    rules = [
        f"local all {OWNER_ROLE} peer map=hexward",
        f"local replication {OWNER_ROLE} peer map=hexward",
        f"local {DATABASE} {SERVICE_ROLE} peer map=hexward",
    ]
    quoted = [login.replace('"', '""') for login in account.logins]
    logins = [f'hexward "{login}" {role}' for login in quoted for role in (OWNER_ROLE, SERVICE_ROLE)]
    write_file(data_dir / "pg_hba.conf", note + "\n".join(rules) + "\n", mode=mode)
    write_file(data_dir / "pg_ident.conf", note + "\n".join(logins) + "\n", mode=mode)


def server_command(data_dir: Path, socket_dir: Path, programs: Path) -> list[str]:
    """How to run the cluster. What protects it stands here, where postgresql.conf cannot change it."""
    settings = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "hba_file": str(data_dir / "pg_hba.conf"),
        "ident_file": str(data_dir / "pg_ident.conf"),
        "log_directory": str(data_dir / "log"),
        "fsync": "on",
        "full_page_writes": "on",
    }
    command = [str(programs / "postgres"), "-D", str(data_dir / "postgres")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


def prepare_log(data_dir: Path, account: Account) -> None:
    """A folder for the log, without files that have grown too large. Raises StartRefused, OSError."""
    for file in private_folder(data_dir / "log", account).glob("*.log"):
        if file.lstat().st_size > _LARGEST_LOG:
            file.unlink()


def environment() -> dict[str, str]:
    """What PostgreSQL's programs see of ours: nothing that changes their language, address or behaviour."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return kept | {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


class StartLog:
    """What PostgreSQL writes from now on, to tell why it did not start."""

    def __init__(self, data_dir: Path) -> None:
        """Begin anew. Raises OSError."""
        self.path = data_dir / "postgres-start.log"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
        self.file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
        self._sizes = {path: path.lstat().st_size for path in (data_dir / "log").glob("*.log")}
        self._folder = data_dir / "log"

    def reason(self) -> str:
        """The line that matters most: the first serious one of this start."""
        later = [_text_from(path, self._sizes.get(path, 0)) for path in sorted(self._folder.glob("*.log"))]
        return _important_line("\n".join([_text_from(self.path, 0), *later]))


def refusal(reason: str, folder: Path, *, otherwise: str) -> StartRefused:
    """The sentence for a cluster that cannot run because of `reason`; `otherwise` is the last remedy to name."""
    if "No space left" in reason or "Disk quota exceeded" in reason:
        remedy = "free some space"
    elif "ermission denied" in reason or "Read-only file system" in reason:
        remedy = f"let this user write to {folder}, or {_ELSEWHERE}"
    elif re.search(r"already exists|still in use", reason):
        remedy = f"end the PostgreSQL that still runs on {folder}, then start again"
    elif re.search(r"shared memory|semaphore|[Tt]oo many open files|allocate memory", reason):
        remedy = f"raise that limit of the system, or {INSTEAD}"
    else:
        remedy = otherwise
    return StartRefused(f"the embedded PostgreSQL cannot run ({reason}); {remedy}")


def refusal_of_system(error: OSError, data_dir: Path) -> StartRefused:
    """The sentence for a system call that failed."""
    if error.errno in (errno.ENOENT, errno.ENOEXEC):
        what = error.filename or "a program"
        return StartRefused(f"{what} is missing or does not run on this system; reinstall Hexward, or {INSTEAD}")
    place = f": {error.filename}" if error.filename else ""
    return refusal(f"{error.strerror or error}{place}", data_dir, otherwise=f"correct that, or {_ELSEWHERE}")


def _take(file: int, data_dir: Path) -> None:
    deadline = time.monotonic() + 0.3  # `holder_of` holds it for a moment
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
    holder = _read_holder(data_dir / "lock")
    who = f"process {holder.supervisor}" if holder else "another process"
    raise StartRefused(f"Hexward already runs on {data_dir} ({who}); stop it first, or {_ELSEWHERE}")


def _read_holder(path: Path) -> Holder | None:
    try:
        noted = json.loads(path.read_text())
        postmaster = noted["postmaster"] and Identity(int(noted["postmaster"][0]), str(noted["postmaster"][1]))
        return Holder(int(noted["supervisor"]), postmaster, noted["socket_dir"] and Path(noted["socket_dir"]))
    except (ValueError, LookupError, TypeError):  # empty, or just being written
        return None


def _run(command: list[str], account: Account, data_dir: Path, statements: str = "") -> None:
    """Run a program of PostgreSQL to its end; it is stopped when this process ends before. Raises StartRefused."""
    child = spawn(
        command,
        orphaned=signal.SIGTERM,
        environment=environment(),
        credentials=account.credentials,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output = child.communicate(statements.encode())[0].decode(errors="replace")
    except BaseException:
        child.terminate()
        child.wait()
        raise
    # Single-user mode reports a failed statement and goes on.
    if child.returncode != 0 or (statements and _SERIOUS.search(output)):
        raise refusal(_important_line(output), data_dir, otherwise="correct that and start again")


def _important_line(text: str) -> str:
    if serious := _SERIOUS.search(text):
        return serious[1].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it ended without a word"


def _text_from(path: Path, offset: int) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        file.seek(offset)
        return file.read(256 * 1024).decode(errors="replace")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
