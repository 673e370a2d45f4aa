"""A real server in processes of its own, and what is left of them."""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adapters.postgres.embedded import private_place
from places import a_quick_place

ADMIN = "root@example.org"
PASSWORD = "a long enough pass phrase"
HEXWARD = Path(sys.executable).with_name("hexward")
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START", "TMPDIR")


_starts = itertools.count(1)


def environment(**settings: str) -> dict[str, str]:
    """An environment without settings of whoever runs the tests."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **settings}


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One `hexward serve`."""

    data_dir: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    tokens: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        return self.log.read_text()

    def last_line(self) -> str:
        return [line for line in self.output().splitlines() if line.strip()][-1]

    def wait_for_output(self, word: str, seconds: float = 10) -> str:
        """What was printed, once the word is in it."""
        deadline = time.monotonic() + seconds
        while word not in self.output() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert word in self.output()
        return self.output()

    def shown_administrator(self) -> tuple[str, str]:
        """E-mail address and password as the summary shows them."""
        shown = self.output()
        email = re.search(r"\S+@\S+", shown)
        password = re.search(r"\b[a-z2-9]{6}(?:-[a-z2-9]{6}){3}\b", shown)
        assert email, shown
        assert password, shown
        return email.group().strip("()\"',"), password.group()

    def workers(self) -> set[int]:
        """The processes that answer."""
        return {pid for pid in _pids() if _parent(pid) == self.process.pid and "postgres" not in _command(pid)}

    def wait_until_ready(self, seconds: float = 30) -> float:
        """Until readiness answers 200; how long that took."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200:
                    return time.monotonic() - began
            except httpx.TransportError:
                if self.process.poll() is not None:
                    break
            time.sleep(0.01)
        raise AssertionError(f"not ready:\n{self.output()}")

    def family(self) -> set[int]:
        """Every process of this server: its descendants, and whatever names its data folder."""
        found = {self.process.pid}
        parents = {pid: _parent(pid) for pid in _pids()}
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        return found | {pid for pid in parents if str(self.data_dir) in _command(pid)}

    def stop(self, signum: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Tell it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(seconds)

    def login(self, client: httpx.Client, email: str = ADMIN, password: str = PASSWORD) -> dict[str, str]:
        """Sign in; the header to call with."""
        answer = client.post("/api/v1/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        self.tokens[email] = answer.json()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **options)


def start(data_dir: Path, settings: Mapping[str, str] | None = None, *options: str) -> Server:
    """Start a server on that folder, with an administrator whose password is known."""
    port = free_port()
    log = data_dir.with_name(f"{data_dir.name}-{next(_starts)}.log")
    given = {
        "HEXWARD_PORT": str(port),
        "HEXWARD_DATA_DIR": str(data_dir),
        "HEXWARD_ADMIN_EMAIL": ADMIN,
        "HEXWARD_ADMIN_PASSWORD": PASSWORD,
        **(settings or {}),
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [HEXWARD, "serve", *options],
            env=environment(**{name: value for name, value in given.items() if value}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Server(data_dir, port, process, log)


@contextmanager
def a_place(*, on_disk: bool = False) -> Iterator[Path]:
    """A folder for a data folder, gone afterwards; on disk where it matters how long writing takes."""
    place = private_place("journey") if on_disk else a_quick_place("journey")
    try:
        yield place / "data"
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def a_server(settings: Mapping[str, str] | None = None, *options: str, on_disk: bool = False) -> Iterator[Server]:
    """A server that answers, stopped at the end."""
    with a_place(on_disk=on_disk) as data_dir:
        server = start(data_dir, settings, *options)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()


def gone(pids: set[int], seconds: float) -> set[int]:
    """Those of the processes that are still there after that time at most."""
    deadline = time.monotonic() + seconds
    while (left := {pid for pid in pids if _alive(pid)}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return -1


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _alive(pid: int) -> bool:
    try:
        state = re.sub(r"^.*\)", "", Path(f"/proc/{pid}/stat").read_text()).split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def run(arguments: list[str], env: Mapping[str, str], stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run one `hexward` command to its end."""
    return subprocess.run(
        [HEXWARD, *arguments], env=dict(env), input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
