"""A process is known by more than its number, and children end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters import processes
from adapters.processes import Identity, Watchdog, end_with_parent, identity, is_running, spawn, started_at, watch


@pytest.fixture
def sleeper():
    child = spawn(["/bin/sleep", "60"], orphaned=signal.SIGKILL, environment={})
    yield child
    child.kill()
    child.wait()


def test_a_process_is_itself_as_long_as_it_runs(sleeper):
    known = identity(sleeper.pid)
    assert known is not None
    assert is_running(known)
    assert not is_running(Identity(known.pid, "of an earlier process with this number"))
    assert not processes.wait_until_ended(known, 0.03)


def test_a_zombie_has_ended(sleeper):
    known = identity(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)  # and nobody has collected it yet
    assert processes.wait_until_ended(known, 3)
    assert identity(sleeper.pid) is None
    assert started_at(sleeper.pid) is None


def test_a_start_time_is_known_to_about_a_second(sleeper):
    assert started_at(sleeper.pid) == pytest.approx(time.time(), abs=3)


def test_a_child_has_a_session_of_its_own_and_leaves_no_file_open_to_others(tmp_path):
    child = spawn(
        ["/bin/sh", "-c", 'touch "$1"', "sh", str(tmp_path / "made")], orphaned=None, environment={"PATH": os.defpath}
    )
    assert child.wait(5) == 0
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


CAREFREE_THREADS = """
import os, signal, sys, time
from adapters.processes import spawn
os.register_at_fork(after_in_child=lambda: time.sleep(60))  # as if another thread had held a lock
sys.exit(spawn(["/bin/sh", "-c", "exit 7"], orphaned=signal.SIGTERM, environment={}).wait())
"""


def test_no_lock_that_another_thread_holds_delays_a_child():
    environment = os.environ | {"PYTHONPATH": str(Path(processes.__file__).parents[1])}
    assert (
        subprocess.run([sys.executable, "-c", CAREFREE_THREADS], env=environment, timeout=20, check=False).returncode
        == 7
    )


def test_a_child_ignores_no_signal_that_python_does():
    child = spawn(
        ["/bin/grep", "SigIgn", "/proc/self/status"],
        orphaned=signal.SIGTERM,
        environment={},
        stdout=subprocess.PIPE,
    )
    ignored = int(child.communicate(timeout=20)[0].split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


@pytest.mark.parametrize("orphaned", [signal.SIGTERM, None])
def test_a_program_that_is_not_there_is_named(tmp_path, orphaned):
    with pytest.raises(FileNotFoundError, match="missing-program"):
        spawn([tmp_path / "missing-program"], orphaned=orphaned, environment={})


def test_a_watchdog_signals_nothing_once_it_is_dismissed(sleeper):
    watchdog = Watchdog(identity(sleeper.pid), signal.SIGTERM)
    watchdog.dismiss()
    assert sleeper.poll() is None


@pytest.mark.parametrize("word", [b"", b"."])
def test_a_lifeline_that_closes_without_a_word_ends_the_target(sleeper, tmp_path, word):
    (tmp_path / "lifeline").write_bytes(word)
    with (tmp_path / "lifeline").open("rb") as lifeline:
        watch(identity(sleeper.pid), signal.SIGTERM, lifeline)
    if word:
        assert sleeper.poll() is None
    else:
        assert sleeper.wait(3) == -signal.SIGTERM


def test_a_lifeline_never_ends_a_later_process_with_the_same_number(sleeper, tmp_path):
    (tmp_path / "lifeline").write_bytes(b"")
    with (tmp_path / "lifeline").open("rb") as lifeline:
        watch(Identity(sleeper.pid, "of an earlier process"), signal.SIGTERM, lifeline)
    assert sleeper.poll() is None


WORKER = """
import os, sys, time
from adapters.processes import end_with_parent
end_with_parent(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


def test_a_worker_ends_with_its_parent_also_on_kill_9():
    environment = os.environ | {"PYTHONPATH": str(Path(processes.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, WORKER], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        worker = identity(int(parent.stdout.readline()))
        parent.kill()
    assert processes.wait_until_ended(worker, 3)


def test_a_worker_whose_parent_has_already_ended_ends_too():
    if (child := os.fork()) == 0:
        end_with_parent(parent=1 if os.getppid() != 1 else 2)
        time.sleep(5)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
