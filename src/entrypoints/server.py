"""The supervisor: it owns the workers and the embedded database, and they end with it, however it ends."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from application.installation import FirstAdministrator, PrepareInstallation
from domain.errors import DomainError, StartRefused
from entrypoints.ground import Ground, opened
from entrypoints.logs import configure_logs
from entrypoints.settings import Settings
from entrypoints.wiring.footing import end_with_parent, upgrade

GRACE_SECONDS = 10
ORPHAN_SECONDS = 1.5
SLOW_TO_IMPORT = ("entrypoints.wiring.container", "entrypoints.http.app")


def serve(settings: Settings, announce: Callable[[Ground, FirstAdministrator | None, float], None]) -> None:
    """Bring the installation up and serve until told to stop; raises StartRefused before anything was changed.

    `announce` is called once, when the first worker answers, with how long the start took in seconds.
    """
    began = time.monotonic()
    # Workers inherit what is imported and opened here, secrets included, which therefore need no way through a pipe.
    multiprocessing.set_start_method("fork", force=True)
    configure_logs(settings.log_level, settings.environment)
    check_address(settings)
    importing = threading.Thread(target=lambda: [import_module(name) for name in SLOW_TO_IMPORT], name="imports")
    importing.start()  # takes longer than PostgreSQL does to start, which therefore costs nothing
    with opened(settings, serving=True) as ground:
        importing.join()  # before the first fork: a worker would inherit its locks
        gc.freeze()  # what is imported stays, in pages that the workers share
        gc.enable()
        first = asyncio.run(bring_up(ground))
        server = Server(
            "hexward",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers,
            websockets=False,
            log_level=LogLevels.warning,
            respawn_failed_workers=True,
            respawn_interval=0.2,
            workers_kill_timeout=GRACE_SECONDS,
        )
        waiter = threading.Thread(
            target=_announce_when_up, args=(settings, server, partial(announce, ground, first), began), daemon=True
        )
        server.on_startup(waiter.start)
        with _database_watched(ground, server):
            server.serve(target_loader=partial(_worker_app, ground, os.getpid()), wrap_loader=False)


@contextlib.contextmanager
def _database_watched(ground: Ground, server: Any) -> Iterator[None]:
    """Stop serving when the embedded PostgreSQL ends by itself, and raise StartRefused: whoever restarts us restarts
    both, which is simpler and surer than workers whose database changed under them."""
    postgres = ground.embedded
    if postgres is None:
        yield
        return
    over, lost = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            if not postgres.running() and not server.interrupt_signal:  # a stop may have reached it before us
                lost.set()
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, name="database-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()
    if lost.is_set():
        raise StartRefused(
            f"The embedded PostgreSQL ended by itself; see the log in {ground.settings.data_dir}, and start again."
        )


async def bring_up(ground: Ground) -> FirstAdministrator | None:
    """Migrate, and prepare what a first start has to; raises StartRefused."""
    from entrypoints.wiring.container import wire

    await upgrade(ground.owner_url)
    settings = ground.settings
    laptop = settings.environment == "laptop"
    chosen = settings.sources["HEXWARD_ADMIN_EMAIL"] != "default"
    password = settings.admin_password
    container = wire(settings, ground.place)
    try:
        prepare = await container.get(PrepareInstallation)
        return await prepare(
            settings.admin_email if laptop or chosen else None,
            None if password is None else password.reveal(),
            generate=laptop,
        )
    except StartRefused:
        raise
    except DomainError as error:
        if isinstance(error.__cause__, StartRefused):
            raise error.__cause__ from error
        raise StartRefused(f"The first start did not succeed: {error.message}.") from error
    finally:
        await container.close()


def check_address(settings: Settings) -> None:
    """Raises StartRefused if the port is taken or the address is not one of this machine's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise StartRefused(
                f"Cannot listen on {settings.host} port {settings.port} ({error.strerror}); stop what uses it, "
                "or choose another with HEXWARD_PORT."
            ) from error


def _worker_app(ground: Ground, supervisor: int) -> Any:
    """In each worker: tie it to its supervisor and build the application."""
    end_with_parent(supervisor)
    threading.Thread(target=_leave_when_orphaned, args=(supervisor,), daemon=True).start()
    from entrypoints.http.app import create_app
    from entrypoints.wiring.container import wire

    return create_app(wire(ground.settings, ground.place), ground.settings)


def _leave_when_orphaned(supervisor: int) -> None:
    """The last resort for a worker that the signal alone did not end in time."""
    while os.getppid() == supervisor:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def _announce_when_up(settings: Settings, server: Any, announce: Callable[[float], None], began: float) -> None:
    while len(server.wrks) < settings.workers:  # hold no lock while workers are forked: they would inherit it locked
        time.sleep(0.005)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compared, not bound
    while True:
        try:
            with socket.create_connection((host, settings.port), timeout=1) as probe:
                probe.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if probe.recv(16).startswith(b"HTTP/1.1 200"):
                    break
        except OSError:
            time.sleep(0.02)
    announce(time.monotonic() - began)
    sys.stdout.flush()
