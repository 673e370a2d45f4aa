"""Run every check of `make check` in order, say how long each took, and stop at the first that fails."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent  # not resolved: the link inside .venv is what makes it the environment's

COVERAGE = "-m 'not long' --cov --cov-report=term:skip-covered"


@dataclass(frozen=True, slots=True)
class Step:
    """One check: a name to read in the output and the command that exits 0 when all is well."""

    name: str
    command: tuple[str, ...]


STEPS = (
    Step("format", (str(BIN / "ruff"), "format", "--check", ".")),
    Step("lint", (str(BIN / "ruff"), "check", ".")),
    Step("types", (str(BIN / "mypy"),)),
    Step("import contracts", (str(BIN / "lint-imports"),)),
    Step("lock files", (sys.executable, "tools/check_locks.py")),
    Step("links of the documentation", (sys.executable, "tools/check_links.py")),
    Step("guards fit the code", (sys.executable, "tools/guards.py", "--fit")),
    Step("tests, with coverage", ("make", "--no-print-directory", "test", f"ARGS={COVERAGE}")),
    Step("long tests", ("make", "--no-print-directory", "test", "ARGS=-m long")),
)


def run(step: Step) -> int:
    """Run one step with its output shown as it comes; its exit status."""
    print(f"== {step.name}", flush=True)
    began = time.monotonic()
    status = subprocess.run(step.command, cwd=ROOT, check=False).returncode
    print(f"== {step.name}: {'ok' if status == 0 else 'FAILED'} in {time.monotonic() - began:.1f} s\n", flush=True)
    return status


def main() -> int:
    """Exit status: 0 when every step passed, 1 when one did not."""
    began = time.monotonic()
    for step in STEPS:
        if run(step) != 0:
            print(f"make check stopped at: {step.name}", file=sys.stderr)
            return 1
    print(f"All {len(STEPS)} checks passed in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
