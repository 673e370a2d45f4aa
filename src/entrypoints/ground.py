"""What every process of Hexward stands on: settings, a database that runs, and the master key."""

import base64
import contextlib
import os
import pwd
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from dishka import AsyncContainer

from domain.errors import NotFound, StartRefused
from domain.policies import Actor, Origin
from domain.ports import Clock, Roles, Transaction, Users
from domain.users import UserId, is_id
from entrypoints.settings import Settings, load
from entrypoints.wiring.footing import EmbeddedPostgres, Place, default_data_dir, prepare_data_dir

MASTER_KEY_FILE = "master.key"
CLUSTER_FOLDER = "postgres"
"""In the data folder, once the embedded database has been created."""


@dataclass(frozen=True, slots=True)
class Ground:
    """An opened installation. `owner_url` may migrate; `place` is what the service itself may use."""

    settings: Settings
    place: Place
    owner_url: str
    embedded: EmbeddedPostgres | None

    def __repr__(self) -> str:
        return "Ground(***)"


def read_settings() -> Settings:
    """The settings of this process; raises StartRefused."""
    return load(os.environ, Path.cwd(), default_data_dir)


@contextlib.contextmanager
def opened(settings: Settings, *, serving: bool = False, keyless: bool = False) -> Iterator[Ground]:
    """The installation, for as long as the block lasts; raises StartRefused.

    Without a database URL the embedded PostgreSQL is started, and stopped at the end. A command (`serving` False) uses
    the one a running server has started. `keyless`: for work on the schema, which no key is needed for.
    """
    if settings.database_url is not None:
        service_url = settings.database_url.reveal()
        owner_url = (settings.database_owner_url or settings.database_url).reveal()
        if settings.master_key is None and serving:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = b"" if keyless else master_key(settings, create=serving)
        yield Ground(settings, Place(service_url, key), owner_url, None)
        return
    prepare_data_dir(settings.data_dir)
    key = master_key(
        settings, create=True
    )  # before the cluster, so that a cluster without a key means that the key was lost
    postgres = EmbeddedPostgres(settings.data_dir)
    cluster = None if serving else postgres.attach()
    try:
        cluster = cluster or postgres.start()
        place = Place(cluster.url("hexward_service"), key)
        yield Ground(settings, place, cluster.url("hexward_owner"), postgres if serving else None)
    finally:
        postgres.stop()


def master_key(settings: Settings, *, create: bool) -> bytes:
    """The key-encryption key: as set or, on a laptop, from the data folder, where the first start puts one.

    Raises StartRefused where there is none and `create` is False, or where one was lost.
    """
    if settings.master_key is not None:
        return settings.master_key.reveal()
    path = settings.data_dir / MASTER_KEY_FILE
    if not path.exists():
        if (settings.data_dir / CLUSTER_FOLDER).is_dir():
            raise StartRefused(f"The master key {path} is gone; restore it from a backup, or set HEXWARD_MASTER_KEY.")
        if not create:
            raise StartRefused(
                f"There is no master key in {settings.data_dir}; set HEXWARD_MASTER_KEY to that of the installation, "
                "or HEXWARD_DATA_DIR to the folder that holds it."
            )
        _make_master_key(path)
    if path.stat().st_mode & 0o077:
        raise StartRefused(f"{path} can be read by others; give it to its owner alone: chmod 600 {path}")
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise StartRefused(f"{path} does not hold a master key; restore it from a backup, or set HEXWARD_MASTER_KEY.")
    return key


def _make_master_key(path: Path) -> None:
    """Whole or not at all, also when two processes do it at once: the first one's stays."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(fresh)
    fresh.unlink()


async def operator(container: AsyncContainer, as_user: str | None = None) -> Actor:
    """The person at the command, with full rights, or with those of the user of that e-mail, username or id."""
    clock, roles = await container.get(Clock), await container.get(Roles)
    users, transaction = await container.get(Users), await container.get(Transaction)
    async with transaction():
        rules = await roles.rules()
        id = None if as_user is None else await _user_id(users, as_user)
        facts = None if id is None else await users.facts(id)
    if as_user is not None and facts is None:
        raise NotFound(f"--as {as_user}: there is no such user")
    return Actor.operator(_system_user(), rules, clock.now(), Origin(door="command"), facts)


async def _user_id(users: Users, named: str) -> UserId | None:
    if is_id(named):
        return UserId(UUID(named))
    user = await users.by_login(named)
    return None if user is None else user.id


def _system_user() -> str:
    """Who runs the command, by the system's word and not by the environment's; root names who became root."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"
    before = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    return f"{name} (sudo {before})" if before.isprintable() and before else name
