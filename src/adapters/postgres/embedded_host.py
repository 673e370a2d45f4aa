"""What the embedded PostgreSQL needs of the machine: a user to run as and folders to run in.

PostgreSQL refuses to run as root. Started by root, it runs as the system user `hexward` and everything it needs
lives below /var/lib/hexward, because that user may not be able to enter the folders Hexward was installed or
started in, and no folder that we did not create ever gets another owner or mode. Root keeps the data folder
itself, so that the database's user can neither read the keys in it nor redirect what root writes there.
"""

import grp
import hashlib
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from adapters.processes import Credentials
from domain.errors import StartRefused

STATE_FOLDER = Path("/var/lib/hexward")
SYSTEM_USER = "hexward"
PORT = 5432  # names the socket's file; nothing listens on TCP
INSTEAD = "set HEXWARD_DATABASE_URL to a PostgreSQL of your own"

_LONGEST_ADDRESS = 103 if sys.platform == "darwin" else 107  # bytes, sun_path without its closing zero
_UNAMBIGUOUS = re.compile(r"/[\w./~+=@%-]*")  # list separators of PostgreSQL, asyncpg and SQLAlchemy are not in it


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that PostgreSQL runs as, and the names of those who may log in as our database roles."""

    name: str
    uid: int
    gid: int
    logins: tuple[str, ...]
    switched: bool  # root starts it and changes to this user

    @property
    def credentials(self) -> Credentials | None:
        """What a child has to change to; None when it already is this user."""
        return Credentials(self.uid, self.gid) if self.switched else None


def default_data_dir(cwd: Path) -> Path:
    """Where the data lives unless set: `.hexward` in `cwd`, or for root a folder of that name's own in /var/lib."""
    if os.geteuid() != 0:
        return cwd / ".hexward"
    place = cwd.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", place.name)[:32] or "root"
    return STATE_FOLDER / f"{name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}"


def private_place(prefix: str) -> Path:
    """A new folder of our own that the database's user may pass through and nobody else may list.

    For tests and rehearsals; whoever asks for it removes it. Raises StartRefused, OSError.
    """
    if os.geteuid() != 0:
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
    place = state_folder() / f"{prefix}-{secrets.token_hex(4)}"
    make_folder(place, 0o711)
    return place


def database_account() -> Account:
    """Who PostgreSQL runs as; creates the system user when root starts it for the first time. Raises StartRefused."""
    uid = os.geteuid()
    if uid == 0:
        return _system_account()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise StartRefused(
            f"the embedded PostgreSQL cannot run as the user id {uid}, which has no name; "
            f"give it an entry in /etc/passwd, or {INSTEAD}"
        ) from None
    return Account(entry.pw_name, uid, os.getegid(), (entry.pw_name,), switched=False)


def prepare_data_dir(data_dir: Path, account: Account) -> None:
    """Create the data folder if it is missing, for us alone. Raises StartRefused, OSError."""
    if data_dir.is_relative_to(STATE_FOLDER) and account.switched:
        state_folder()
    missing = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    for folder in reversed(missing):
        _require_passage((folder.parent, *folder.parent.parents), account)
        if folder == data_dir:
            make_folder(folder, 0o711 if account.switched else 0o700)
        else:
            make_folder(folder, 0o755)
    _require_passage((data_dir, *data_dir.parents), account)


def state_folder() -> Path:
    """/var/lib/hexward, made by root, which nobody else may write to. Raises StartRefused, OSError."""
    make_folder(STATE_FOLDER, 0o755)
    found = STATE_FOLDER.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise StartRefused(
            f"{STATE_FOLDER} must be a folder that root owns and nobody else may write to; "
            f"correct its owner and mode, or {INSTEAD}"
        )
    return STATE_FOLDER


def make_folder(path: Path, mode: int) -> None:
    """Create a folder with exactly this mode; one that is already there keeps its own. Raises OSError."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    path.chmod(mode)


def private_folder(path: Path, account: Account) -> Path:
    """`path`, created if missing, as a folder that `account` alone may enter. Raises StartRefused, OSError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        give(path, account)
    if not _is_private(path, account):
        raise StartRefused(f"{path} is not a folder that only the user {account.name} may enter; move it away")
    return path


def give(path: Path, account: Account) -> None:
    """Make `account` the owner of something that we have just created."""
    if account.switched:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def socket_folder(data_dir: Path, account: Account) -> Path:
    """A private folder for the socket: in the data folder, or a short one noted there when that would be too long.

    Raises StartRefused, OSError.
    """
    if _fits_a_socket(data_dir / "socket"):
        return private_folder(data_dir / "socket", account)
    note = data_dir / "socket-folder"
    if note.exists():
        noted = Path(note.read_text())
        if _fits_a_socket(noted) and _is_private(noted, account):
            return noted
    folder = Path(tempfile.mkdtemp(prefix="hexward-", dir=_short_base(account)))
    give(folder, account)
    write_file(note, str(folder), mode=0o600)
    return folder


def remove_short_socket_folder(data_dir: Path) -> None:
    """Remove the folder that `socket_folder` made outside the data folder, if it did. Raises OSError."""
    note = data_dir / "socket-folder"
    if note.exists():
        folder = Path(note.read_text())
        note.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_file(path: Path, text: str, *, mode: int) -> None:
    """Replace a file at one stroke, never writing through a link. Raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_tree(path: Path, patience: float = 3.0) -> None:
    """Remove a folder, also while a process that is about to end still writes to it. Raises OSError."""
    deadline = time.monotonic() + patience
    while path.exists():
        try:
            shutil.rmtree(path)
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _system_account() -> Account:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _create_system_user()
    if entry.pw_uid == 0:
        raise StartRefused(f"the system user {SYSTEM_USER} has the rights of root; give it another user id")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, (pwd.getpwuid(0).pw_name, entry.pw_name), switched=True)


def _create_system_user() -> pwd.struct_passwd:
    remedy = f"create it, or start Hexward as an ordinary user, or {INSTEAD}"
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise StartRefused(f"PostgreSQL may not run as root and there is no system user {SYSTEM_USER}; {remedy}")
    shell = shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin:/bin") or "/bin/false"
    own_group = ["--gid", SYSTEM_USER] if _group_exists() else ["--user-group"]
    command = [useradd, "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", shell, *own_group]
    made = subprocess.run([*command, SYSTEM_USER], capture_output=True, text=True, check=False)
    try:
        return pwd.getpwnam(SYSTEM_USER)  # also when another start was faster
    except KeyError:
        reason = made.stderr.strip().splitlines()[-1:] or ["useradd failed"]
        raise StartRefused(
            f"PostgreSQL may not run as root and the system user {SYSTEM_USER} could not be created ({reason[0]}); "
            f"{remedy}"
        ) from None


def _group_exists() -> bool:
    return any(group.gr_name == SYSTEM_USER for group in grp.getgrall())


def _may_enter(folder: Path, account: Account) -> bool:
    """Asked of the system, which also knows of access lists and mounts that a mode does not show."""
    tried = subprocess.run(
        ["/bin/sh", "-c", 'cd -- "$1"', "sh", os.fspath(folder)],
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def _require_passage(folders: tuple[Path, ...], account: Account) -> None:
    """The innermost of `folders` comes first."""
    if not account.switched or _may_enter(folders[0], account):
        return
    closed = next(folder for folder in reversed(folders) if not _may_enter(folder, account))
    raise StartRefused(
        f"PostgreSQL, started by root, runs as the system user {account.name}, which may not enter {closed}; "
        f"set HEXWARD_DATA_DIR to a folder that it may enter, or leave it unset to use {STATE_FOLDER}"
    )


def _is_private(path: Path, account: Account) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and not found.st_mode & 0o077


def _fits_a_socket(folder: Path) -> bool:
    address = os.fsencode(folder / f".s.PGSQL.{PORT}")
    return len(address) <= _LONGEST_ADDRESS and _UNAMBIGUOUS.fullmatch(os.fspath(folder)) is not None


def _short_base(account: Account) -> Path:
    """Where a short folder can be made that nobody else can replace."""
    if account.switched:
        base = state_folder() / "sockets"
        make_folder(base, 0o755)
        return base
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    if _is_private(runtime, account) and _fits_a_socket(runtime / "hexward-12345678"):
        return runtime
    shared = Path("/tmp").resolve()  # noqa: S108 - the folder made there is unpredictable, private and checked
    found = shared.stat()
    if found.st_uid not in (0, account.uid) or (found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX):
        raise StartRefused(f"{shared} is not safe for a socket; set HEXWARD_DATA_DIR to a folder with a shorter path")
    return shared
