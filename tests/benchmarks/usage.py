"""What the processes of a server cost, from /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

from journeys.server_process import Server

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """Processor time of each process since its start."""
    found = {}
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        found[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Processor time of all of them between two readings; one that was not there before began at nothing."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of the largest of them, in megabytes."""
    sizes = [0]
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]
    return max(sizes) / 1024


class Meter:
    """Processor time of a server's own processes and of its database, from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._own, self._database = self._read()

    def seconds(self) -> tuple[float, float]:
        """Of Hexward, and of PostgreSQL."""
        own, database = self._read()
        return spent(self._own, own), spent(self._database, database)

    def _read(self) -> tuple[dict[int, float], dict[int, float]]:
        own = {self._server.process.pid, *self._server.workers()}
        return cpu_seconds(own), cpu_seconds(self._server.family() - own)
