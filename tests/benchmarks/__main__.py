"""`make bench`: what each path costs here, beside what this machine can do at all. Figures are printed, never asserted.

`make bench ARGS="me refresh"` runs some; `make bench ARGS=--help` lists them.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import feed, growth, jwks, login, me, mixed, oauth, oracle, references, refresh, start, upkeep, users
from benchmarks.bench import Bench
from benchmarks.load import MISSING, available
from benchmarks.report import Report, put_into

type Scenario = Callable[[Bench], Coroutine[Any, Any, None]]

WITH_WRK: dict[str, Scenario] = {
    "me": me.run,
    "refresh": refresh.run,
    "login": login.run,
    "oauth": oauth.run,
    "users": users.run,
    "jwks": jwks.run,
    "mixed": mixed.run,
    "growth": growth.run,
}
SCENARIOS: dict[str, Scenario] = {
    "references": references.run,  # what of it needs wrk is left out without
    **WITH_WRK,
    "start": start.run,
    "oracle": oracle.run,
    "feed": feed.run,
    "upkeep": upkeep.run,
}


def main(arguments: list[str]) -> int:
    """Run the scenarios that are named, or all; 1 if some could not be run."""
    options = _options(arguments)
    report = Report(f'make bench ARGS="{" ".join(arguments)}"' if arguments else "make bench")
    bench = Bench(report, options.seconds, large=options.large)
    print(bench.report.told_machine())
    lacking = [] if available() else [name for name in options.names if name in ("references", *WITH_WRK)]
    try:
        for name in options.names:
            if name not in lacking or name == "references":
                bench.report.heading(name)
                asyncio.run(SCENARIOS[name](bench))
    finally:
        bench.bare.close()
        _keep(bench.report, options)  # also what was found before something failed
    if lacking:
        print(f"\n{MISSING}: {', '.join(lacking)}.", file=sys.stderr)
    return 1 if lacking else 0


def _keep(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    if options.markdown:
        put_into(options.markdown, report.as_markdown())


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the hot paths.")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=5, help="how long each load lasts (default: 5)")
    parser.add_argument("--large", action="store_true", help="growth: also with a million people, prepared in minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables there, between the marks of a page"
    )
    options = parser.parse_args(arguments)
    options.names = options.names or list(SCENARIOS)
    if unknown := [name for name in options.names if name not in SCENARIOS]:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
