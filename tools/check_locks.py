"""Check the lock files: all pinned and hashed, no address in them, and in step with pyproject.toml."""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[A-Za-z0-9._,-]+\])?==(?P<version>[^\s;]+)(\s*;[^\\]*)?$")
HASH = re.compile(r"^--hash=sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Lock:
    """The versions pinned by one lock file (several of a name, where markers differ), and what is wrong in it."""

    name: str
    pins: dict[str, frozenset[Version]]
    problems: tuple[str, ...]


def logical_lines(text: str) -> Iterator[str]:
    """The requirements of a lock file, one a line, without comments and continuation marks."""
    joined = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        joined += " " + line.strip().removesuffix("\\").strip()
        if not line.rstrip().endswith("\\"):
            yield joined.strip()
            joined = ""
    if joined:
        yield joined.strip()


def read_lock(path: Path) -> Lock:
    """Read a lock file; raises FileNotFoundError."""
    pins: dict[str, frozenset[Version]] = {}
    problems = []
    for line in logical_lines(path.read_text(encoding="utf-8")):
        requirement, *hashes = re.split(r"\s+(?=--hash=)", line)
        pin = PIN.match(requirement.strip())
        if pin is None:  # a URL, an option such as an index, or a version that is not exact
            problems.append(f"{path.name}: not a pinned requirement: {requirement[:80]}")
            continue
        if not hashes or not all(HASH.match(item) for item in hashes):
            problems.append(f"{path.name}: {pin['name']} is not pinned by SHA-256 hashes")
        name = canonicalize_name(pin["name"])
        pins[name] = pins.get(name, frozenset()) | {Version(pin["version"])}
    return Lock(path.name, pins, tuple(problems))


def unmet(lock: Lock, wanted: list[str]) -> Iterator[str]:
    """What pyproject.toml asks for and the lock file does not give."""
    for requirement in map(Requirement, wanted):
        versions = lock.pins.get(canonicalize_name(requirement.name))
        if versions is None:
            yield f"{lock.name}: {requirement.name} is missing"
        elif not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            found = ", ".join(sorted(map(str, versions)))
            yield f"{lock.name}: {requirement.name} {found} does not satisfy {requirement.specifier}"


def differing(one: Lock, other: Lock) -> Iterator[str]:
    """The names that two lock files pin to different versions: then tests would not test what runs."""
    for name in sorted(one.pins.keys() & other.pins.keys()):
        if one.pins[name] != other.pins[name]:
            yield f"{name} has different versions in {one.name} and {other.name}"


def problems_in(root: Path) -> list[str]:
    """All that is wrong with the lock files of a project; raises FileNotFoundError for a missing file."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    runtime, dev, build, uv = (
        read_lock(root / "requirements" / f"{name}.txt") for name in ("runtime", "dev", "build", "uv")
    )
    return [
        *(problem for lock in (runtime, dev, build, uv) for problem in lock.problems),
        *unmet(runtime, project["project"]["dependencies"]),
        *unmet(dev, project["project"]["dependencies"]),
        *unmet(dev, project["dependency-groups"]["dev"]),
        *unmet(build, project["build-system"]["requires"]),
        *unmet(uv, ["uv"]),
        *differing(runtime, dev),
        *differing(build, dev),
    ]


def main() -> int:
    """Exit status: 0 when the lock files are in order, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project to look at")
    parser.add_argument("--build-requirements", action="store_true", help="print what building needs, for `make lock`")
    arguments = parser.parse_args()
    if arguments.build_requirements:
        project = tomllib.loads((arguments.root / "pyproject.toml").read_text(encoding="utf-8"))
        print("\n".join(project["build-system"]["requires"]))
        return 0
    problems = problems_in(arguments.root)
    for problem in problems:
        print(problem, file=sys.stderr)
    print("The lock files are in order." if not problems else "Mend them with `make lock`.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
