"""How long from the command to the first answer, from nothing and on an existing data folder, and how long to stop."""

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from journeys.server_process import Server, a_place, gone, start

TIMES = 3


def _first_answer(server: Server) -> float:
    began = time.monotonic()
    while True:
        asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)  # costs little of what it measures
        try:
            asking.request("GET", "/health/ready")
            if asking.getresponse().status == 200:
                return time.monotonic() - began
        except (OSError, http.client.HTTPException):
            time.sleep(0.005)
        finally:
            asking.close()


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _round(data_dir: Path) -> tuple[float, float, float, float]:
    server = start(data_dir)
    nothing = _first_answer(server)
    server.stop()
    server = start(data_dir)
    existing = _first_answer(server)
    stop = _timed(server.stop)
    server = start(data_dir)
    _first_answer(server)
    family = server.family()
    server.process.send_signal(signal.SIGKILL)
    killed = _timed(lambda: gone(family, 10))
    server.process.wait()
    return nothing, existing, stop, killed


async def run(bench: Bench) -> None:
    """Print minimum and maximum of several rounds."""
    bare = [_timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(TIMES)]
    _row(bench, "reference: an empty Python process", bare)
    rounds = []
    for _ in range(TIMES):
        with a_place(on_disk=True) as data_dir:
            rounds.append(_round(data_dir))
    names = (
        "first answer, from nothing",
        "first answer, existing data folder",
        "SIGTERM to the end",
        "kill -9 to no process left",
    )
    for name, times in zip(names, zip(*rounds, strict=True), strict=True):
        _row(bench, name, times)


def _row(bench: Bench, name: str, times: Sequence[float]) -> None:
    bench.report.row(name, {"least s": min(times), "most s": max(times)})
