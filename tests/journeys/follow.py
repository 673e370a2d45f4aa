"""Pages that say how something is done, followed to the letter: their files are written and their commands run."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

import pytest

from journeys.server_process import environment

ROOT = Path(__file__).resolve().parents[2]
HOW_TO = ROOT / "docs" / "how-to"
_BLOCK = re.compile(
    r"(?:^File: `(?P<file>[^`\n]+)`\n\n)?^(?P<fence>`{3,})(?P<kind>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^\$ (?P<command>(?:.*\\\n)*.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", re.MULTILINE)
_ID = r"hws_[\w-]{43}|\b[0-9a-f]{24}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
_VARIES = re.compile(rf"({_ID}|{_TIME}|\.\.\.)")


@dataclass(frozen=True, slots=True)
class Step:
    """A file to write, or commands: `sh`, `console` with what they print, or `sh serve` for those that go on until
    somebody stops them."""

    kind: str
    text: str
    file: str | None


def steps(page: Path) -> Sequence[Step]:
    """What there is to do, in order."""
    found = [Step(match["kind"], match["text"], match["file"]) for match in _BLOCK.finditer(page.read_text())]
    return [step for step in found if step.file or step.kind in ("sh", "sh serve", "console")]


def needed(name: str, *places: str) -> str:
    """Where that program of the system is. Without it the test is left out, on a machine of a contributor."""
    found = next((path for path in map(shutil.which, [name, *places]) if path), None)
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed")
    assert found is not None, f"{name} is not installed"
    return found


def unmet(page: Path, seen: list[str]) -> list[str]:
    """What the page says is told when something is wrong, and was not seen."""
    told = re.findall(r"^\| [^|`]*`([^|`]+)` \|", page.read_text(), re.MULTILINE)
    assert told
    return [trouble for trouble in told if not any(trouble in text for text in seen)]


def a_shell(**settings: str) -> dict[str, str]:
    """The environment of a reader: Hexward's own comes first, and nothing from a network."""
    shell = environment(
        PIP_NO_INDEX="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
        PYTHONDONTWRITEBYTECODE="1",
        **settings,
    )
    shell["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), shell["PATH"], "/usr/sbin"])  # where nginx is
    return shell


def write(step: Step, folder: Path) -> None:
    """The file of that step."""
    assert step.file is not None
    path = folder / step.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step.text)


def done(commands: str, folder: Path, shell: Mapping[str, str]) -> str:
    """What commands that succeed print."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0, f"{commands}\n{ran.stdout}"
    return ran.stdout


def begun(command: str, folder: Path, shell: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A command that goes on, in a terminal of its own."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["bash", "-euc", command],
            cwd=folder, env=shell, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


class Terminal:
    """One shell, which remembers what was exported."""

    def __init__(self, folder: Path, shell: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash"], cwd=folder, env=shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip

    def type(self, command: str, seconds: float = 60) -> str:
        """What it prints, be that an error."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        end = secrets.token_hex(8)
        bound = Timer(seconds, os.killpg, (self._bash.pid, signal.SIGKILL))
        bound.start()
        try:
            self._bash.stdin.write(f"{{ {command}\n}} </dev/null\necho; echo {end}\n")
            self._bash.stdin.flush()
            lines = []
            while (line := self._bash.stdout.readline()) != f"{end}\n":
                assert line, f"this does not end:\n{command}\n{''.join(lines)}"
                lines.append(line)
        finally:
            bound.cancel()
        return "".join(lines).removesuffix("\n")

    def close(self) -> None:
        """End it, with whatever still runs there."""
        _end(self._bash)
        for stream in (self._bash.stdin, self._bash.stdout):
            if stream is not None:
                stream.close()


@dataclass
class Reader:
    """Somebody who follows a page in a folder. Where it shows what is different for everybody, such as an id, this one
    goes on with what was seen instead; `own` says what that is, and begins with ports that are free here."""

    folder: Path
    shell: Mapping[str, str]
    own: dict[str, str]
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._terminal = Terminal(self.folder, self.shell)

    def follow(self, page: Path) -> None:
        """Do one step after the other."""
        for step in steps(page):
            self.do(step)

    def do(self, step: Step) -> None:
        """One step; what a command prints has to be what the page shows."""
        if step.file:
            write(Step(step.kind, self.mine(step.text), step.file), self.folder)
        elif step.kind == "sh serve":
            self.serve(self.mine(step.text))
        elif step.kind == "sh":
            done(self.mine(step.text), self.folder, self.shell)
        else:
            for match in _COMMAND.finditer(step.text):
                self.compare(match["shown"], self._terminal.type(self.mine(match["command"])))

    def mine(self, text: str) -> str:
        """Text of the page, with what is this reader's own."""
        if not self.own:
            return text
        shown = "|".join(map(re.escape, sorted(self.own, key=len, reverse=True)))
        return re.sub(rf"(?<![\w-])(?:{shown})(?![\w-])", lambda match: self.own[match[0]], text)

    def compare(self, shown: str, seen: str) -> None:
        """Whether both are the same, but for what is different for everybody; `...` stands for anything."""
        pattern, new = "", []
        for part in _VARIES.split(shown.strip()):
            if part == "...":
                pattern += ".*?"
            elif re.fullmatch(_TIME, part):
                pattern += _TIME
            elif re.fullmatch(_ID, part) and part not in self.own:
                pattern += f"({_ID})"
                new.append(part)
            else:
                pattern += re.escape(self.mine(part))
        match = re.fullmatch(pattern, seen.strip(), re.DOTALL)
        assert match is not None, f"the page shows:\n{self.mine(shown)}\nbut this was seen:\n{seen}"
        self.own.update(zip(new, match.groups(), strict=True))

    def serve(self, command: str, seconds: float = 30) -> None:
        """Begin that, and wait until it serves one of the ports of `own`."""
        log = self.folder / f"server-{len(self.servers)}.log"
        ports = [int(here) for shown, here in self.own.items() if shown.isdigit()]
        free = [port for port in ports if not _served(port)]
        process = begun(command, self.folder, self.shell, log)
        self.servers.append(process)
        deadline = time.monotonic() + seconds
        while not any(map(_served, free)):
            assert process.poll() is None, f"{command}\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command}\n{log.read_text()}"
            time.sleep(0.05)

    def close(self) -> None:
        """End everything that was begun."""
        self._terminal.close()
        for process in self.servers:
            _end(process)


@contextmanager
def a_reader(folder: Path, own: Mapping[str, str], **settings: str) -> Iterator[Reader]:
    """A reader in that folder; nothing is left running."""
    reader = Reader(folder, a_shell(**settings), dict(own))
    try:
        yield reader
    finally:
        reader.close()


def _served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes], seconds: float = 10) -> None:
    """Tell a terminal and all its processes to stop; those that do not are killed."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + seconds
        while _lives(process) and time.monotonic() < deadline:
            time.sleep(0.02)
    process.wait(seconds)


def _lives(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> bool:
    process.poll()  # the first of the group would stay as a zombie
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
