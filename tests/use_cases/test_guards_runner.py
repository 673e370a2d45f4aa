"""`make guards` must not be fooled: a guard counts only when its test runs, passes with it and fails without it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]  # each runs pytest several times

RUNNER = Path(__file__).parents[2] / "tools" / "guards.py"

DOOR = """\
def may_enter(role: str) -> bool:
    if role != "admin":
        return False
    return True
"""

TESTS = """\
from domain.door import may_enter

def test_strangers_stay_outside():
    assert not may_enter("stranger")

def test_administrators_enter():
    assert may_enter("admin")

def test_that_always_fails():
    assert may_enter("nobody")
"""

WITHOUT_THE_CHECK = """\
diff --git a/src/domain/door.py b/src/domain/door.py
--- a/src/domain/door.py
+++ b/src/domain/door.py
@@ -1,4 +1,2 @@
 def may_enter(role: str) -> bool:
-    if role != "admin":
-        return False
     return True
"""

WRECKED = WITHOUT_THE_CHECK.replace("+1,2", "+1,3").replace("     return True", "+    forgotten\n     return True")
STALE = WITHOUT_THE_CHECK.replace('"admin"', '"owner"')


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with one check in its domain, in a Git checkout."""
    files = {
        "src/domain/__init__.py": "",
        "src/domain/door.py": DOOR,
        "tests/test_door.py": TESTS,
        "pyproject.toml": '[tool.pytest]\npythonpath = ["src"]\naddopts = ["--import-mode=importlib"]\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "tests" / "guards").mkdir()
    subprocess.run(("git", "init", "--quiet", str(tmp_path)), check=True)
    return tmp_path


def guard(project: Path, name: str, test: str, patch: str = WITHOUT_THE_CHECK) -> None:
    text = f"# test: tests/test_door.py::{test}\n{patch}"
    (project / "tests" / "guards" / f"{name}.patch").write_text(text, encoding="utf-8")


def make_guards(project: Path) -> tuple[int, str]:
    command = (sys.executable, str(RUNNER), "--root", str(project))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_guard_whose_test_fails_without_it_holds(project: Path) -> None:
    guard(project, "R08", "test_strangers_stay_outside")
    status, output = make_guards(project)
    assert status == 0, output
    assert "R08 holds" in output
    assert (project / "src/domain/door.py").read_text(encoding="utf-8") == DOOR, "the tree itself is never touched"


def test_tests_that_notice_nothing_and_patches_that_prove_nothing_are_found_out(project: Path) -> None:
    guard(project, "blind", "test_administrators_enter")
    guard(project, "stale", "test_strangers_stay_outside", STALE)
    guard(project, "wrecked", "test_strangers_stay_outside", WRECKED)
    status, output = make_guards(project)
    assert status == 1
    assert "blind DOES NOT HOLD: tests/test_door.py::test_administrators_enter still passes" in output
    assert "stale DOES NOT HOLD: the patch does not apply any more" in output
    assert "wrecked DOES NOT HOLD: the patch wrecks the code" in output


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("test_that_always_fails", "does not pass on the code as it is"),
        ("test_that_is_gone", "pytest could not run the tests"),
    ],
)
def test_a_test_that_fails_anyway_or_is_gone_guards_nothing(project: Path, test: str, complaint: str) -> None:
    guard(project, "R08", test)
    status, output = make_guards(project)
    assert status == 1
    assert complaint in output
    assert "holds" not in output


def test_no_guards_at_all_is_a_failure(project: Path) -> None:
    assert make_guards(project) == (1, "tests/guards holds no patch\n")
