"""Where commands work: the installation, opened for as long as one command takes, and who acts."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.errors import NotFound, StartRefused
from domain.policies import Actor
from domain.users import UserId, is_id
from entrypoints.cli.frame import acting_user
from entrypoints.settings import Settings

START_FIRST = "run hexward serve first"


@dataclass(frozen=True, slots=True)
class Desk:
    """An opened installation with everything wired, and the actor of this command."""

    container: Any
    actor: Actor

    async def get[T](self, kind: type[T]) -> T:
        """A use case."""
        found: T = await self.container.get(kind)
        return found

    async def user_id(self, named: str) -> UserId:
        """The user that an id, e-mail address or username names; raises NotFound, Forbidden."""
        from application.users import ShowUser

        if is_id(named):
            return UserId(UUID(named))
        show = await self.get(ShowUser)
        try:
            return (await show.by_login(self.actor, named)).user.id
        except NotFound:
            raise NotFound(f"there is no user {named}") from None


def at_desk[T](work: Callable[[Desk], Awaitable[T]]) -> T:
    """What `work` returns. The installation is closed again by then, also one that had to be started for it.

    Raises StartRefused for settings that are wrong and an installation whose first start is still to come.
    """
    from entrypoints.ground import operator, read_settings

    settings = read_settings()
    if not has_database(settings):
        raise StartRefused(f"there is no Hexward in {settings.data_dir} yet; {START_FIRST}", code="not_prepared")
    as_user = acting_user()

    async def worked(container: Any) -> T:
        return await work(Desk(container, await operator(container, as_user)))

    with opened_in_turn(settings) as ground:
        return asyncio.run(_wired(ground, worked))


@contextlib.contextmanager
def opened_in_turn(settings: Settings, *, keyless: bool = False) -> Iterator[Any]:
    """The installation, for one command at a time where the database is embedded.

    The command that had to start the database stops it at its end, also for others that had joined it meanwhile.
    """
    from entrypoints.ground import opened
    from entrypoints.wiring.footing import prepare_data_dir

    with contextlib.ExitStack() as stack:
        if settings.database_url is None:
            prepare_data_dir(settings.data_dir)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            turn = os.open(settings.data_dir / "command.lock", flags, 0o600)
            stack.callback(os.close, turn)
            fcntl.flock(turn, fcntl.LOCK_EX)  # the system gives it back however this process ends
        yield stack.enter_context(opened(settings, keyless=keyless))


def has_database(settings: Settings) -> bool:
    """Whether there is one to open: a command must not create an empty one just to find nothing in it."""
    from entrypoints.ground import CLUSTER_FOLDER

    return settings.database_url is not None or (settings.data_dir / CLUSTER_FOLDER).is_dir()


async def _wired[T](ground: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    from entrypoints.wiring.container import wire

    container = wire(ground.settings, ground.place)
    try:
        await _require_prepared(container)
        return await work(container)
    finally:
        await container.close()


async def _require_prepared(container: Any) -> None:
    from domain.ports import Installations, Schema, Transaction

    transaction = await container.get(Transaction)
    async with transaction():
        pass  # first of all, whether the database answers
    if (lag := await (await container.get(Schema)).lag()) is not None:
        raise StartRefused(f"{lag}; run hexward db upgrade or hexward serve first", code="schema_behind")
    async with transaction():
        installation = await (await container.get(Installations)).read()
    if installation.prepared_at is None:
        raise StartRefused(f"this installation has not had its first start; {START_FIRST}", code="not_prepared")
