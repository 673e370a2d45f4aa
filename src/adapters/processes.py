"""Other processes: who they are, beyond a number that is soon used again, and how children end with their parent.

This file is also a program (see `spawn` and `Watchdog`), so it imports nothing but the standard library.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
_ENDED_STATES = "ZX"  # a zombie has ended: in a container nobody may ever collect it


@dataclass(frozen=True, slots=True)
class Identity:
    """One process and no later one: `mark` differs when the system gives the same `pid` to another process."""

    pid: int
    mark: str


def identity(pid: int) -> Identity | None:
    """Who runs as `pid` now; None when nobody does, or when this system does not tell."""
    if sys.platform.startswith("linux"):
        ticks = _linux_start(pid)
        return None if ticks is None else Identity(pid, f"{_boot_id()}:{ticks}")
    started = _listed_start(pid)
    return None if started is None else Identity(pid, started)


def is_running(process: Identity) -> bool:
    """Whether exactly this process has not ended."""
    return identity(process.pid) == process


def started_at(pid: int) -> float | None:
    """When the process started, in seconds since 1970 (to about a second); None as for `identity`."""
    if not sys.platform.startswith("linux"):
        listed = _listed_start(pid)
        return None if listed is None else time.mktime(time.strptime(listed, "%a %b %d %H:%M:%S %Y"))
    ticks = _linux_start(pid)
    if ticks is None:
        return None
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    return None


def wait_until_ended(process: Identity, timeout: float) -> bool:
    """Wait up to `timeout` seconds; whether the process has ended. For processes that are not our children."""
    deadline = time.monotonic() + timeout
    while is_running(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def end_with_parent(parent: int, signum: signal.Signals = signal.SIGTERM) -> None:
    """Have *this* process receive `signum` when `parent`, the process that started it, ends, however that happens.

    Call it first thing in the child. On Linux it is the ending of the parent's *thread* that counts, so children
    are to be started by a thread that lives as long as its process.
    """
    set_signal = _death_signal_setter()
    if set_signal is None:
        threading.Thread(target=_poll_parent, args=(parent, signum), name="end-with-parent", daemon=True).start()
        return
    set_signal(signum)
    if os.getppid() != parent:  # it ended before the kernel had been told
        os.kill(os.getpid(), signum)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user and group a child runs as, without any further group."""

    uid: int
    gid: int


def spawn(
    command: Sequence[str | os.PathLike[str]],
    *,
    orphaned: signal.Signals | None,
    environment: Mapping[str, str],
    credentials: Credentials | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | BinaryIO = subprocess.DEVNULL,
    stderr: int | BinaryIO = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program, named by its path, in a session of its own (a terminal's Ctrl-C does not reach it).

    It runs in `/` with umask 077.

    Where the kernel can, it sends the child the signal `orphaned` once the calling thread ends (None: never). Where
    `tied_by_kernel()` is false, a long-lived child needs None and a `Watchdog` instead. Raises OSError.
    """
    if orphaned is None or not sys.platform.startswith("linux"):
        return _popen(command, environment, stdin, stdout, stderr, credentials=credentials)
    # Other threads may be importing. Python code between fork and exec could wait for a lock of theirs for ever, so
    # this file runs as a program in between, which also changes the user: doing so clears the death signal.
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as failed:
        try:
            tie = [sys.executable, "-I", "-S", __file__, "tie", str(os.getpid()), str(int(orphaned)), str(writer)]
            who = ["", ""] if credentials is None else [str(credentials.uid), str(credentials.gid)]
            child = _popen([*tie, *who, *command], environment, stdin, stdout, stderr, pass_fds=(writer,))
        finally:
            os.close(writer)
        if reason := failed.read():  # ends when the command's own program has taken over, or nothing has
            with child:  # closes its pipes
                raise OSError(int(reason), os.strerror(int(reason)), os.fspath(command[0]))
    return child


def _popen(
    command: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str],
    stdin: int,
    stdout: int | BinaryIO,
    stderr: int | BinaryIO,
    *,
    credentials: Credentials | None = None,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=dict(environment),
        cwd="/",
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        umask=0o077,
        start_new_session=True,
        user=None if credentials is None else credentials.uid,
        group=None if credentials is None else credentials.gid,
        extra_groups=None if credentials is None else [],
        pass_fds=pass_fds,
    )


def tied_by_kernel() -> bool:
    """Whether the death signal of a child spawned here and now stands for the end of this whole process."""
    return _death_signal_setter() is not None and threading.current_thread() is threading.main_thread()


class Watchdog:
    """A small process that signals `target` when this process ends without having dismissed it."""

    def __init__(self, target: Identity, signum: signal.Signals) -> None:
        """Start watching. Raises OSError."""
        reader, self._pipe = os.pipe()  # neither end is inherited, so only this process keeps it open
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(target.pid), target.mark, str(int(signum))],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(reader)

    def dismiss(self) -> None:
        """Stop watching and wait for the small process to go."""
        with contextlib.suppress(BrokenPipeError):  # it has already gone
            os.write(self._pipe, b".")
        os.close(self._pipe)
        self._process.wait()


def watch(target: Identity, signum: int, lifeline: BinaryIO) -> None:
    """Wait for a byte on `lifeline`, or for its other end to close unexpectedly: then signal `target`, if it runs."""
    if not lifeline.read(1) and is_running(target):
        os.kill(target.pid, signum)


def _linux_start(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, also blanks and brackets
    return None if fields[0] in _ENDED_STATES else int(fields[19])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:  # some sandboxes have none; ticks since the boot alone must do
        return ""


def _listed_start(pid: int) -> str | None:
    listed = subprocess.run(
        ["/bin/ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
        env={"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    return " ".join(listed[1:]) if listed and listed[0][0] not in _ENDED_STATES else None


def _death_signal_setter() -> Callable[[int], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415 - as slow as all the rest of this module, and rarely needed

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

    def set_signal(signum: int) -> None:
        if prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")

    return set_signal


def _tie(parent: str, signum: str, report: str, uid: str, gid: str, *command: str) -> None:
    """Become `command`, as that user, which receives the signal when `parent` ends; tell `report` an errno if not."""
    import ctypes  # noqa: F401, PLC0415 - read while it can be: the user may not enter Python's folder

    try:
        os.set_inheritable(int(report), False)
        if uid:
            os.setgroups([])
            os.setgid(int(gid))
            os.setuid(int(uid))
        end_with_parent(int(parent), signal.Signals(int(signum)))
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, which a program would inherit
            signal.signal(ignored, signal.SIG_DFL)
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted: what `spawn` was asked for, as it is
    except OSError as error:
        os.write(int(report), str(error.errno).encode())
        sys.exit(1)


def _poll_parent(parent: int, signum: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signum)


if __name__ == "__main__":
    match sys.argv[1:]:
        case "tie", *arguments:
            _tie(*arguments)
        case pid, mark, signum:
            watch(Identity(int(pid), mark), int(signum), sys.stdin.buffer)
