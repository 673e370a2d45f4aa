"""What the machine can do at all: an ASGI application that does nothing and a plain Litestar handler, on Granian.

`python -m benchmarks.bare asgi PORT` serves one of them as Hexward serves itself.
"""

import multiprocessing
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server
from litestar import Litestar, get

from benchmarks.load import Load, Script, request, wrk
from journeys.server_process import environment, free_port

ANSWER = {"id": "0197f0e2-7b1c-7c1e-8f8e-3b1f5a0c9d7e", "email": "person@example.org", "status": "active"}
_TESTS = Path(__file__).parents[1]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """JSON for a GET; what was posted, read and written anew, for a POST."""
    answer: object = ANSWER
    if scope["method"] == "POST":
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answer = msgspec.json.decode(body)
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(answer)})


@get("/")
async def _plain() -> dict[str, str]:
    return ANSWER


def _application(kind: str) -> Any:
    return asgi if kind == "asgi" else Litestar([_plain], openapi_config=None, logging_config=None)


def serve(kind: str, port: int) -> None:
    """Serve it on one worker, until told to stop."""
    multiprocessing.set_start_method("fork", force=True)
    server = Server(
        kind,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_level=LogLevels.warning,
    )
    server.serve(target_loader=lambda: _application(kind), wrap_loader=False)


@contextmanager
def served(kind: str) -> Iterator[str]:
    """The address of such a server in a process of its own; raises RuntimeError when it does not come up."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", kind, str(port)]
    process = subprocess.Popen(
        command,
        env={**environment(), "PYTHONPATH": str(_TESTS)},
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("the server to compare with does not come up")


class Bare:
    """The bare application, started when it is first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._url: str | None = None

    async def load(self, method: str, connections: int, seconds: float) -> Load:
        """What it reaches now."""
        if self._url is None:
            self._url = self._stack.enter_context(served("asgi"))
        script = Script([request(method, "/", body=None if method == "GET" else ANSWER)])
        return await wrk(self._url, connections, seconds, script)

    def close(self) -> None:
        """End its process, if there is one."""
        self._stack.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
