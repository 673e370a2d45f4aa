"""Load from wrk, which costs the cores it shares with the server less than any client in Python would."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

MISSING = "wrk is not installed: apt-get install wrk (Debian's package) makes these benchmarks run"
TIMEOUT_SECONDS = 15
_SCRIPT = Path(__file__).with_name("load.lua")
_SEPARATOR = "\x1e"
NUMBER, TOKEN = "{number}", "{token}"


@dataclass(frozen=True)
class Script:
    """What connections send: the requests go round, on whatever connection is free.

    `tokens`: what the mark {token} stands for at first, more than there are connections. `think`: seconds between an
    answer and the next request of a connection, on average. `tell`: count the answers that are errors by their code.
    """

    requests: Sequence[str]
    tokens: Sequence[str] = ()
    think: float = 0
    tell: bool = False


@dataclass(frozen=True)
class Load:
    """What wrk saw; times in milliseconds, `errors` by kind: a status with its code, or what befell a connection.

    `unanswered` requests were under way at the end: one a connection, but where connections think hardly any.
    """

    requests: int
    unanswered: int
    seconds: float
    mean: float
    p50: float
    p99: float
    errors: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Answers a second, right or wrong."""
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        """How many were no success."""
        return sum(self.errors.values())


def available() -> bool:
    """Whether there is a wrk to run."""
    return shutil.which("wrk") is not None


def request(
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: object = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """A request as it goes over the wire; the mark {number} may stand in it, being as long as what it stands for."""
    lines = {"Host": "localhost", **(headers or {})}
    text = ""
    if token is not None:
        lines["Authorization"] = f"Bearer {token}"
    if body is not None:
        text = json.dumps(body, separators=(",", ":"))
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(text))}
    if form is not None:
        text = urlencode(form)
        lines |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(text))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n{text}"


async def wrk(url: str, connections: int, seconds: float, script: Script) -> Load:
    """Run wrk on one thread, for whole seconds. Raises RuntimeError when it fails."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            "wrk",
            *("-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s"),
            *("--timeout", f"{TIMEOUT_SECONDS}s", "-s", str(_SCRIPT), url),
            env={**os.environ, **_environment(script, Path(folder))},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    told = [line for line in output.splitlines() if line.startswith("BENCH ")]
    if process.returncode != 0 or not told:
        raise RuntimeError(f"wrk failed:\n{output}")
    return _load(json.loads(told[-1].removeprefix("BENCH ")), connections)


def _environment(script: Script, folder: Path) -> dict[str, str]:
    environment = {"BENCH_THINK_MS": str(round(script.think * 1000))}
    for name, records in (("BENCH_REQUESTS", script.requests), ("BENCH_TOKENS", script.tokens)):
        if records:
            file = folder / name
            file.write_text(_SEPARATOR.join(records), newline="")
            environment[name] = str(file)
    return environment | ({"BENCH_TELL": "1"} if script.tell else {})


def _load(told: dict[str, Any], connections: int) -> Load:
    unanswered = told["sent"] - told["requests"]
    # Newer versions of wrk do not call it an error when the server closes a connection instead of answering.
    closed = unanswered - connections - told["errors"]["read"] - told["errors"]["write"]
    errors = {**told["errors"], "closed": closed}
    if told["statuses"]:  # the codes say more
        del errors["status"]
    return Load(
        requests=told["requests"],
        unanswered=unanswered,
        seconds=told["seconds"],
        mean=told["mean"],
        p50=told["p50"],
        p99=told["p99"],
        errors={kind: count for kind, count in errors.items() if count > 0} | told["statuses"],
    )
