"""The page that tells how to write an adapter, followed to the letter, in an empty folder."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from adapters.postgres.embedded import OWNER_ROLE, EmbeddedPostgres
from journeys.follow import HOW_TO, ROOT, a_shell, begun, done, steps, write
from journeys.server_process import Server, a_place, free_port, gone

pytestmark = pytest.mark.long

PAGE = HOW_TO / "write-an-adapter.md"
RESULT = ROOT / "examples" / "scrypt-hasher"


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_the_example_is_what_the_page_ends_with():
    assert contents(RESULT) == {step.file: step.text for step in steps(PAGE) if step.file}


@pytest.fixture
def reader() -> Iterator[tuple[Path, int, dict[str, str]]]:
    """Data folder, port and shell of a reader."""
    port = free_port()
    with a_place() as data_dir:
        yield data_dir, port, a_shell(HEXWARD_PORT=str(port), HEXWARD_DATA_DIR=str(data_dir), CHECKOUT=str(ROOT))


@pytest.mark.server
@pytest.mark.slow
def test_whoever_follows_the_page_ends_with_an_adapter_that_keeps_its_contract_and_serves(tmp_path, reader):
    data_dir, port, shell = reader
    said: list[str] = []
    server: Server | None = None
    try:
        for step in steps(PAGE):
            if step.file:
                write(step, tmp_path)
            elif step.kind == "sh serve":
                server = serving(step.text, tmp_path, data_dir, port, shell)
            elif step.kind == "sh":
                said.append(done(step.text, tmp_path, shell))
        assert any(re.search(r"=+ \d+ passed, \d+ deselected in ", text) for text in said)
        assert '"access_token"' in said[-1]
        assert asyncio.run(stored_hashes(data_dir))[0].startswith("$scrypt$ln=14,r=8,p=5$")
    finally:
        if server is not None:
            family = server.family()
            server.stop()
            assert not gone(family, 10)


def serving(command: str, folder: Path, data_dir: Path, port: int, shell: dict[str, str]) -> Server:
    log = folder / "server.log"
    server = Server(data_dir, port, begun(command, folder, shell, log), log)
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
