"""What `hexward doctor` looks at: first what needs no database, then the database, then a running server."""

import asyncio
import http.client
import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from domain.errors import DomainError, StartRefused
from domain.upkeep import Upkept
from entrypoints.cli.address import base_url, reachable_host
from entrypoints.cli.desk import has_database, opened_in_turn
from entrypoints.settings import Settings
from entrypoints.wiring.footing import ServerFacts, server_facts

OLDEST_SERVER = 150000  # PostgreSQL 15
SKEW_DOUBTFUL, SKEW_WRONG = timedelta(seconds=2), timedelta(seconds=30)
SPACE_DOUBTFUL, SPACE_WRONG = 2**30, 100 * 2**20  # bytes
UPKEEP_LATE = timedelta(days=1)
SERVER_PATIENCE = 3.0  # seconds


class Level(StrEnum):
    """How grave a finding is: only a problem keeps Hexward from working, or from being safe."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, what was found, and what to do about it."""

    check: str
    level: Level
    message: str
    remedy: str | None = None


def examine() -> Iterator[Finding]:
    """Every finding; what cannot be looked at because of an earlier one is left out. Changes nothing."""
    from entrypoints.ground import read_settings

    try:
        settings = read_settings()
    except StartRefused as error:
        yield Finding("settings", Level.PROBLEM, error.message, "correct the environment, then: hexward config check")
        return
    yield Finding("settings", Level.OK, "every setting can be used")
    for warning in settings.warnings:
        yield Finding("settings", Level.WARNING, warning)
    yield public_url(settings)
    yield session_cookie(settings)
    yield from data_folder(settings)
    key = master_key(settings)
    yield key
    if key.level is not Level.PROBLEM:
        yield from database(settings)
    yield server(settings)


def public_url(settings: Settings) -> Finding:
    """Tokens and passwords travel to it."""
    url = settings.public_url
    host = urlsplit(url).hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = f".{host}".endswith(".localhost")
    if local or url.startswith("https://"):
        return Finding("public address", Level.OK, url)
    return Finding(
        "public address",
        Level.WARNING,
        f"{url} is not encrypted: passwords and tokens can be read on their way",
        "put a proxy that speaks https in front, and set HEXWARD_PUBLIC_URL to its address",
    )


def session_cookie(settings: Settings) -> Finding:
    """Whether browsers keep it from everybody else on that host: `__Host-` asks for https (RFC 6265bis, 4.1.3.2)."""
    if settings.public_url.startswith("https://"):
        return Finding("session cookie", Level.OK, "__Host-hexward_session, for this host over https alone")
    return Finding(
        "session cookie",
        Level.WARNING,
        "hexward_session, a plain one, as the public address is http: other servers on that host can read and set it",
        "fine on a laptop; else set HEXWARD_PUBLIC_URL to an address with https",
    )


def data_folder(settings: Settings) -> Iterator[Finding]:
    """Who can get at it, and how much room there is."""
    folder = settings.data_dir
    if not folder.exists():
        if settings.database_url is None:
            yield Finding("data folder", Level.WARNING, f"{folder} does not exist yet", "start Hexward: hexward serve")
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o066:  # passing through is allowed: as root, PostgreSQL runs as another user
        yield Finding(
            "data folder",
            Level.PROBLEM,
            f"other users can list {folder}, or write to it (mode {mode:04o})",
            f"chmod go-rw {folder}",
        )
    else:
        yield Finding("data folder", Level.OK, f"{folder} is closed to other users")
    yield free_space(folder)


def free_space(folder: Path) -> Finding:
    """PostgreSQL stops when there is none."""
    free = shutil.disk_usage(folder).free
    level = Level.PROBLEM if free < SPACE_WRONG else Level.WARNING if free < SPACE_DOUBTFUL else Level.OK
    remedy = None if level is Level.OK else "free some space: PostgreSQL stops when there is none"
    return Finding("disk space", level, f"{free / 2**30:.1f} GiB free at {folder}", remedy)


def master_key(settings: Settings) -> Finding:
    """Where it is and who can read it. A lost one is never replaced here: the next start would."""
    from entrypoints.ground import MASTER_KEY_FILE

    if settings.master_key is not None:
        return Finding("master key", Level.OK, f"set by {settings.sources['HEXWARD_MASTER_KEY']}")
    path = settings.data_dir / MASTER_KEY_FILE
    if not path.exists():
        if not has_database(settings):
            return Finding("master key", Level.OK, "will be made at the first start")
        return Finding(
            "master key",
            Level.PROBLEM,
            f"{path} is missing, and all keys in the database are encrypted with it",
            f"restore {path} from a backup, or set HEXWARD_MASTER_KEY to the key that was in it",
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        problem = f"other users can read {path} (mode {mode:04o})"
        return Finding("master key", Level.PROBLEM, problem, f"chmod 600 {path}")
    return Finding("master key", Level.OK, f"{path} is its owner's alone")


def database(settings: Settings) -> Iterator[Finding]:
    """All that has to be asked of the database; an embedded one is started for it if no server runs."""
    if not has_database(settings):
        yield Finding("database", Level.WARNING, "there is none yet", "start Hexward: hexward serve")
        return
    try:
        with opened_in_turn(settings) as ground:
            found = asyncio.run(_in_database(ground))
    except DomainError as error:
        found = [_refused("database", error)]
    yield from found


async def _in_database(ground: Any) -> list[Finding]:
    from entrypoints.wiring.footing import check

    told = await server_facts(ground.place.database_url, datetime.now(UTC))
    found = [server_version(told), clock(told)]
    problems = await check(ground.owner_url)
    if problems:
        return [*found, *(Finding("schema", Level.PROBLEM, p, "run hexward db upgrade") for p in problems)]
    found += [Finding("schema", Level.OK, "the tables are those of this version"), audit_trail(told)]
    return [*found, *await _installation(ground)]


def server_version(told: ServerFacts) -> Finding:
    """PostgreSQL 15 or newer."""
    if told.version >= OLDEST_SERVER:
        return Finding("database", Level.OK, f"PostgreSQL {told.version_text} answers")
    problem = f"PostgreSQL {told.version_text} is too old"
    return Finding("database", Level.PROBLEM, problem, "upgrade the server to PostgreSQL 15 or newer")


def clock(told: ServerFacts) -> Finding:
    """What one machine stores, the other compares with its own time."""
    apart = abs(told.ahead)
    level = Level.PROBLEM if apart > SKEW_WRONG else Level.WARNING if apart > SKEW_DOUBTFUL else Level.OK
    remedy = None if level is Level.OK else "let both machines set their clocks by NTP"
    return Finding("clock", level, f"{apart.total_seconds():.2f} s apart from the database's", remedy)


def audit_trail(told: ServerFacts) -> Finding:
    """Append-only, by rights of the database and not by good intentions."""
    if told.service_may:
        rights = ", ".join(told.service_may)
        return Finding(
            "audit trail",
            Level.PROBLEM,
            f"the role of the service may change audit events ({rights})",
            f"as the owner of the database: REVOKE {rights} ON hexward.audit_events FROM hexward_service",
        )
    if told.login_may:
        return Finding(
            "audit trail",
            Level.WARNING,
            f"the service may not change audit events, but the login {told.login} that it uses could",
            "give the service a login of its own, and the present one to HEXWARD_DATABASE_OWNER_URL",
        )
    return Finding("audit trail", Level.OK, "the service cannot change audit events")


async def _installation(ground: Any) -> list[Finding]:
    from application.keys import KeyRing, ListKeys
    from domain.ports import Installations, Transaction, Upkeep
    from entrypoints.ground import operator
    from entrypoints.wiring.container import wire

    container = wire(ground.settings, ground.place)
    try:
        async with (await container.get(Transaction))():
            installation = await (await container.get(Installations)).read()
            upkept = await (await container.get(Upkeep)).read()
        if installation.prepared_at is None:
            return [Finding("keys", Level.WARNING, "the first start has not been", "start Hexward: hexward serve")]
        await (await container.get(KeyRing)).reload()
        actor = await operator(container)
        keys = await (await container.get(ListKeys))(actor)
    except DomainError as error:
        return [_refused("keys", error)]
    finally:
        await container.close()
    opens = Finding("keys", Level.OK, "all of them open with the master key")
    return [opens, *ages(keys, actor.at), upkeep(upkept, installation.prepared_at, actor.at)]


def upkeep(upkept: Upkept, prepared_at: datetime, now: datetime) -> Finding:
    """Whether what nobody needs any more goes."""
    late = now - (upkept.finished_at or prepared_at) > UPKEEP_LATE
    message = "no round has ended yet" if upkept.finished_at is None else f"last done at {upkept.finished_at:%F %R} UTC"
    if upkept.backlog:
        message += ", and something was left"
    level = Level.WARNING if late or upkept.backlog else Level.OK
    remedy = "hexward db upkeep (servers do it by themselves while they run)" if level is Level.WARNING else None
    return Finding("upkeep", level, message, remedy)


def ages(keys: Any, now: datetime) -> Iterator[Finding]:
    """Whether there is an active key of each use, and how long it has served."""
    from domain.keys import ROTATE_AFTER, KeyUse, active

    for use in KeyUse:
        name = f"{use} key"
        key = active(keys, use, now)
        if key is None:
            yield Finding(name, Level.PROBLEM, "none is active", f"hexward keys rotate --use {use}")
            continue
        age = now - key.activates_at
        due = age >= ROTATE_AFTER[use] and key.superseded_at is None
        remedy = f"hexward keys rotate --use {use} (the next start would do it, too)" if due else None
        message = f"{key.algorithm}, active for {age.days} of {ROTATE_AFTER[use].days} days"
        yield Finding(name, Level.WARNING if due else Level.OK, message, remedy)


def server(settings: Settings) -> Finding:
    """Whether one answers at the address in the settings, and says that it is ready."""
    connection = http.client.HTTPConnection(reachable_host(settings), settings.port, timeout=SERVER_PATIENCE)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        status, body = response.status, response.read(65_536)
    except (OSError, http.client.HTTPException):
        return Finding("server", Level.WARNING, f"none answers at {base_url(settings)}", "hexward serve, if one should")
    finally:
        connection.close()
    try:
        told = json.loads(body)
        failing, ready = list(told["failing"]), told["status"] == "ok"
    except (ValueError, LookupError, TypeError):
        stranger = f"what answers at {base_url(settings)} is not Hexward"
        return Finding("server", Level.WARNING, stranger, "choose another port with HEXWARD_PORT")
    if ready and status == 200:
        return Finding("server", Level.OK, f"ready at {base_url(settings)}")
    problem = (
        f"the server at {base_url(settings)} is not ready: {', '.join(map(str, failing)) or 'it does not say why'}"
    )
    return Finding("server", Level.PROBLEM, problem, "see the findings above, and the server's log")


def _refused(check: str, error: DomainError) -> Finding:
    """The sentence of a refusal says what to do about it."""
    return Finding(check, Level.PROBLEM, error.message)
