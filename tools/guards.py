"""Prove that the tests guard what they say: remove one guard of the code, and see the named test fail.

Each `tests/guards/NAME.patch` takes one check out of the code. Its first lines name the tests that must notice, as
`# test: tests/http/test_users.py::test_name` (without a parameter all parameters are meant; one has to fail). All
this happens in copies of the tree. A guard holds when its tests pass without the patch and fail, not crash, with it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
TEST_LINE = re.compile(r"^# test:\s*(\S+::.+?)\s*$")
SECONDS = 300  # for one run of pytest; a removed guard may well make a test hang

# A patch that leaves code which cannot run removes no guard; these would also fail a test that guards nothing.
WRECKED = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "UnboundLocalError")

Result = Literal["passed", "failed", "error", "skipped"]
RESULTS: dict[str, Result] = {"skipped": "skipped", "failure": "failed", "error": "error"}  # by element of JUnit


class GuardError(Exception):
    """A guard cannot be judged, or does not hold; the text says why."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A patch that removes one check, and the node ids of the tests that must notice."""

    name: str
    patch: Path
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One test case of a pytest report; `message` is the first line of why it did not pass."""

    classname: str
    name: str
    result: Result
    message: str

    def belongs_to(self, node: str) -> bool:
        """Whether the case is this node id, or one of its parameters."""
        path, *names = node.split("::")
        classname = ".".join([path.removesuffix(".py").replace("/", "."), *names[:-1]])
        return self.classname == classname and (self.name == names[-1] or self.name.startswith(f"{names[-1]}["))


def read_guard(patch: Path) -> Guard:
    """Read the head of a patch; raises GuardError when it names no test."""
    tests = []
    for line in patch.read_text(encoding="utf-8").splitlines():
        if line.startswith(("diff ", "--- ")):
            break
        if named := TEST_LINE.match(line):
            tests.append(named[1])
    if not tests:
        raise GuardError(f"{patch.name} names no test: its first line has to be '# test: path::name'")
    return Guard(patch.stem, patch, tuple(tests))


def tracked(root: Path) -> list[Path]:
    """The files of the project, new ones included, ignored ones not; raises GuardError outside a Git checkout."""
    command = ("git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise GuardError(f"git could not list the files of {root}: {listed.stderr.strip()}")
    paths = (Path(name) for name in listed.stdout.split("\0") if name)
    return [path for path in paths if (root / path).is_file()]


def copy_tree(root: Path, target: Path) -> None:
    """Copy the files of the project to `target`."""
    for path in tracked(root):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, target / path)


def environment(copy: Path) -> dict[str, str]:
    """The environment of a run: the copy's packages come before those of the editable install."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTEST_", "COVERAGE_"))}
    return kept | {"PYTHONPATH": str(copy / "src")}


def run(command: Iterable[str], copy: Path) -> tuple[int, str]:
    """Run a command in the copy; status and output. Raises GuardError, leaving no process, when it takes too long."""
    with subprocess.Popen(
        tuple(command),
        cwd=copy,
        env=environment(copy),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise GuardError(f"not finished after {SECONDS} s") from None
        finally:
            if process.poll() is None:  # too late, or Ctrl-C: what the tests started goes as well
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, output


def require_own_code(copy: Path) -> None:
    """Raise GuardError unless Python in the copy imports the copy's packages: else no patch could ever matter."""
    packages = [item.name for item in sorted((copy / "src").iterdir()) if item.is_dir()]
    program = f"import {', '.join(packages)}\nfor p in ({', '.join(packages)},): print(*p.__path__)"
    status, output = run((sys.executable, "-c", program), copy)
    lines = output.splitlines()
    if status != 0 or any(not line.startswith(str(copy / "src")) for line in lines) or len(lines) != len(packages):
        raise GuardError(f"the copy does not import its own packages:\n{output}")


def read_report(report: Path) -> list[Case]:
    """The cases of a JUnit report that pytest wrote."""
    cases = []
    for element in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by pytest a moment ago, not foreign
        result: Result = "passed"
        message = ""
        for kind, outcome in RESULTS.items():
            if (found := element.find(kind)) is not None:
                result, message = outcome, found.get("message", "").partition("\n")[0]
        cases.append(Case(element.get("classname", ""), element.get("name", ""), result, message))
    return cases


def run_tests(nodes: Iterable[str], copy: Path) -> list[Case]:
    """Run tests in the copy; raises GuardError when pytest could not run them (exit status other than 0 and 1)."""
    report = copy / "guards-report.xml"
    options = ("-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}")
    status, output = run((sys.executable, "-m", "pytest", *options, *nodes), copy)
    if status not in (0, 1):
        raise GuardError(f"pytest could not run the tests (exit status {status}):\n{tail(output)}")
    return read_report(report)


def stale(guards: Iterable[Guard], root: Path) -> dict[str, str]:
    """The guards whose patches no longer fit the code, each with what Git says of it. Nothing is changed."""
    told = {}
    for guard in guards:
        status, output = run(("git", "apply", "--check", "--whitespace=nowarn", str(guard.patch.resolve())), root)
        if status != 0:
            told[guard.name] = output
    return told


def tail(output: str, lines: int = 25) -> str:
    """The end of a command's output, where the reason stands."""
    return "\n".join(f"    {line}" for line in output.splitlines()[-lines:])


def require_passing(guards: Iterable[Guard], copy: Path) -> None:
    """Raise GuardError unless every named test exists and passes on the code as it is."""
    nodes = list(dict.fromkeys(node for guard in guards for node in guard.tests))
    cases = run_tests(nodes, copy)
    for node in nodes:
        own = [case for case in cases if case.belongs_to(node)]
        for case in own:
            if case.result in ("failed", "error"):
                raise GuardError(f"{node} does not pass on the code as it is: {case.message}")
        if not any(case.result == "passed" for case in own):
            raise GuardError(f"{node} did not run, so it guards nothing: {own or 'no such case in the report'}")


def judge(guard: Guard, root: Path, place: Path) -> str:
    """Remove the guard in a copy and run its tests; how the first one noticed. Raises GuardError if one did not."""
    copy = place / guard.name
    copy_tree(root, copy)
    status, output = run(("git", "apply", "--whitespace=nowarn", str(guard.patch.resolve())), copy)
    if status != 0:
        raise GuardError(f"the patch does not apply any more; make it again:\n{tail(output)}")
    cases = run_tests(guard.tests, copy)
    noticed = []
    for node in guard.tests:
        own = [case for case in cases if case.belongs_to(node)]
        if error := next((case for case in own if case.result == "error"), None):
            raise GuardError(f"{node} could not run with the patch, which says nothing: {error.message}")
        failures = [case for case in own if case.result == "failed"]
        if not failures:
            raise GuardError(f"{node} still passes without the guard")
        if wrecked := next((case for case in failures if case.message.startswith(WRECKED)), None):
            raise GuardError(f"the patch wrecks the code instead of removing a guard: {wrecked.message}")
        noticed.append(failures[0].message)
    shutil.rmtree(copy)
    return noticed[0]


def attempt(guard: Guard, root: Path, place: Path) -> bool:
    """Judge one guard and print the verdict."""
    began = time.monotonic()
    try:
        verdict, holds = f"holds: {judge(guard, root, place)[:120]}", True
    except GuardError as error:
        verdict, holds = f"DOES NOT HOLD: {error}", False
    print(f"{guard.name} {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
    return holds


def prove(guards: list[Guard], root: Path) -> bool:
    """Whether every guard holds; raises GuardError when the tests cannot serve as proof at all."""
    with tempfile.TemporaryDirectory(prefix="hexward-guards-") as folder:
        place = Path(folder).resolve()
        whole = place / "unpatched"
        copy_tree(root, whole)
        require_own_code(whole)
        require_passing(guards, whole)
        print(f"{sum(len(guard.tests) for guard in guards)} named tests pass on the code as it is.", flush=True)
        with ThreadPoolExecutor(max_workers=2) as pool:
            return all(list(pool.map(lambda guard: attempt(guard, root, place), guards)))


def main() -> int:
    """Exit status: 0 when every guard holds, 1 when one does not or there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these guards, such as R08 (default: all)")
    parser.add_argument("--fit", action="store_true", help="only see that every patch still fits the code (seconds)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project to look at")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    patches = sorted((root / "tests" / "guards").glob("*.patch"))
    if unknown := set(arguments.names) - {patch.stem for patch in patches}:
        print(f"There is no guard {', '.join(sorted(unknown))} in tests/guards.", file=sys.stderr)
        return 1
    try:
        guards = [read_guard(patch) for patch in patches if not arguments.names or patch.stem in arguments.names]
        if not guards:
            raise GuardError("tests/guards holds no patch")
        if arguments.fit:
            for name, output in stale(guards, root).items():
                raise GuardError(f"tests/guards/{name}.patch does not fit any more; make it again:\n{tail(output)}")
            return 0
        holds = prove(guards, root)
    except GuardError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"All {len(guards)} guards hold." if holds else "Some guards do not hold.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
