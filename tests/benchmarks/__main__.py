"""`make bench`: what each path costs here, beside what this machine can do at all. Figures are printed, never asserted.

`make bench ARGS="start login"` runs some.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks import feed, login, oracle, start, upkeep
from benchmarks.table import heading

SCENARIOS: dict[str, Callable[[], Awaitable[None]]] = {
    "start": start.run,
    "login": login.run,
    "oracle": oracle.run,
    "feed": feed.run,
    "upkeep": upkeep.run,
}


def main(names: list[str]) -> int:
    """Run the scenarios of these names, or all."""
    if unknown := [name for name in names if name not in SCENARIOS]:
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {time.strftime('%Y-%m-%d')}")
    for name in names or SCENARIOS:
        heading(name)
        asyncio.run(SCENARIOS[name]())  # type: ignore[arg-type]  # every scenario is a coroutine function
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
