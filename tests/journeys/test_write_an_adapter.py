"""The page that tells how to write an adapter, followed to the letter, in an empty folder."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from adapters.postgres.embedded import OWNER_ROLE, EmbeddedPostgres
from journeys.server_process import Server, a_place, environment, free_port, gone

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "write-an-adapter.md"
RESULT = ROOT / "examples" / "scrypt-hasher"
BLOCK = re.compile(
    r"(?:^File: `(?P<file>[^`\n]+)`\n\n)?^(?P<fence>`{3,})(?P<kind>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Step:
    """A file to write, or commands: `sh`, or `sh serve` for those that go on until somebody stops them."""

    kind: str
    text: str
    file: str | None


def steps() -> Sequence[Step]:
    found = [Step(match["kind"], match["text"], match["file"]) for match in BLOCK.finditer(PAGE.read_text())]
    return [step for step in found if step.file or step.kind.split(" ")[0] == "sh"]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_the_example_is_what_the_page_ends_with():
    assert contents(RESULT) == {step.file: step.text for step in steps() if step.file}


@pytest.fixture
def reader() -> Iterator[tuple[Path, int, dict[str, str]]]:
    """Data folder, port and shell of a reader: Hexward's environment comes first, and nothing from a network."""
    port = free_port()
    with a_place() as data_dir:
        shell = environment(
            HEXWARD_PORT=str(port),
            HEXWARD_DATA_DIR=str(data_dir),
            PIP_NO_INDEX="1",
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PIP_ROOT_USER_ACTION="ignore",
            PYTHONDONTWRITEBYTECODE="1",
            CHECKOUT=str(ROOT),
        )
        shell["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{shell['PATH']}"
        yield data_dir, port, shell


@pytest.mark.server
@pytest.mark.slow
def test_whoever_follows_the_page_ends_with_an_adapter_that_keeps_its_contract_and_serves(tmp_path, reader):
    data_dir, port, shell = reader
    said: list[str] = []
    server: Server | None = None
    try:
        for step in steps():
            if step.file:
                (tmp_path / step.file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / step.file).write_text(step.text)
            elif step.kind == "sh serve":
                server = serving(step.text, tmp_path, data_dir, port, shell)
            else:
                said.append(done(step.text, tmp_path, shell))
        assert any(re.search(r"=+ \d+ passed, \d+ deselected in ", text) for text in said)
        assert '"access_token"' in said[-1]
        assert asyncio.run(stored_hashes(data_dir))[0].startswith("$scrypt$ln=14,r=8,p=5$")
    finally:
        if server is not None:
            family = server.family()
            server.stop()
            assert not gone(family, 10)


def done(commands: str, folder: Path, shell: dict[str, str]) -> str:
    """What commands that succeed print."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0, f"{commands}\n{ran.stdout}"
    return ran.stdout


def serving(command: str, folder: Path, data_dir: Path, port: int, shell: dict[str, str]) -> Server:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-euc", command],
            cwd=folder, env=shell, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    server = Server(data_dir, port, process, log)
    server.wait_until_ready()
    return server


async def stored_hashes(data_dir: Path) -> list[str]:
    cluster = EmbeddedPostgres(data_dir).attach()
    assert cluster is not None
    connection = await asyncpg.connect(cluster.url(OWNER_ROLE))
    try:
        return [row["hash"] for row in await connection.fetch("SELECT hash FROM hexward.password_credentials")]
    finally:
        await connection.close()
