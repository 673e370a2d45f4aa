"""Changes of authority in PostgreSQL: announced inside the transaction that makes them, and read missing none.

Ids of rows and times of commit come in different orders: a transaction may take a number first and commit last. So a
reader keeps the snapshot of its last read and asks for what that could not see, instead of for what comes after it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Integer, Text, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.database import SETTINGS, Database, Hot
from adapters.postgres.faults import DRIVER_FAULTS, unavailable
from adapters.postgres.tables import SERVICE_ROLE, changes, installation, users
from adapters.postgres.urls import connect, dsn, hang_up, refused_later
from adapters.system import SystemClock
from domain.ports import Change, ChangeKind, News
from domain.users import UserId

_clock = SystemClock()  # whose monotonic time also counts what was slept through
CHANNEL = "hexward_changes"
KEPT = timedelta(hours=1)
"""How long a change can be read."""
LONGEST_ABSENCE = timedelta(minutes=10)
"""After that long without a read, a reader starts afresh; far less than `KEPT`."""
READ_TIMEOUT = 2.0
"""Seconds."""
_RECONNECT_PAUSE = 0.1  # seconds, between looking for a lost server again and again
_REMOVED_PER_CHANGE = 10

_READ = """
SELECT pg_current_snapshot()::text AS snapshot, i.epoch, c.kind, c.subject
FROM hexward.installation i LEFT JOIN hexward.changes c
  ON c.xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot)
ORDER BY c.id
"""
_BEGIN_READING = "SELECT pg_current_snapshot()::text AS snapshot, epoch FROM hexward.installation"

_NEW_AUTHORITY = Hot(update(users).where(users.c.id == bindparam("id")).values(authv=users.c.authv + 1))
_NEW_RULES = Hot(update(installation).values(rules_version=installation.c.rules_version + 1))
_told = (
    insert(changes)
    .from_select(
        ["kind", "subject"],
        select(bindparam("kind", type_=Text), func.unnest(bindparam("subjects", type_=ARRAY(Text)))),
    )
    .cte("told")
)
_old = (
    select(changes.c.id)
    .where(changes.c.at < func.now() - KEPT)
    .order_by(changes.c.at)
    .limit(bindparam("room", type_=Integer))
    .with_for_update(skip_locked=True)
    .cte("old")
)
_forgotten = delete(changes).where(changes.c.id.in_(select(_old.c.id))).cte("forgotten")
_ANNOUNCE = Hot(select(func.pg_notify(CHANNEL, "")).add_cte(_told, _forgotten))


@dataclass(frozen=True, slots=True)
class PostgresChanges:
    database: Database

    async def authority(self, user_id: UserId) -> None:
        await self.database.fetch(_NEW_AUTHORITY, id=user_id)
        await announce(self.database, ChangeKind.AUTHORITY, [str(user_id)])

    async def rules(self) -> None:
        await self.database.fetch(_NEW_RULES)
        await announce(self.database, ChangeKind.RULES, [""])


async def announce(database: Database, kind: ChangeKind, subjects: Sequence[str]) -> None:
    """Write changes and wake the readers, once the transaction commits. Commits that notify queue behind one lock,
    so this is for changes of authority only, never for what happens with every token."""
    if not subjects:
        return
    await database.fetch(_ANNOUNCE, kind=kind, subjects=list(subjects), room=_REMOVED_PER_CHANGE + len(subjects))


class PostgresFeed:
    """One reader, on a connection of its own to the primary."""

    def __init__(self, url: str, *, service_role: str | None = SERVICE_ROLE) -> None:
        """Nothing connects before the first read. Raises StartRefused for a malformed address."""
        self._url = dsn(url)
        self._service_role = service_role
        self._connection: Any = None
        self._snapshot: str | None = None
        self._epoch: int | None = None
        self._read_at = 0.0
        self._hint = asyncio.Event()

    async def read(self) -> News:
        self._hint.clear()  # before the query: a hint that comes from now on may tell of what it does not see
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                return await self._read()
        except DRIVER_FAULTS as error:
            self._drop()
            raise unavailable(error) from error
        except BaseException:
            self._drop()
            raise

    async def wait(self, seconds: float) -> None:
        if self._connection is None or self._connection.is_closed():
            await asyncio.sleep(min(seconds, _RECONNECT_PAUSE))
            return
        try:
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        connection, self._connection, self._snapshot = self._connection, None, None
        if connection is not None:
            await hang_up(connection)

    async def _read(self) -> News:
        if self._connection is None or self._connection.is_closed():
            self._drop()
            await self._connect()
        absent = _clock.monotonic() - self._read_at > LONGEST_ABSENCE.total_seconds()
        if self._snapshot is None or absent:
            return self._begin(await self._connection.fetchrow(_BEGIN_READING))
        rows = await self._connection.fetch(_READ, self._snapshot)
        if rows[0]["epoch"] != self._epoch:
            return self._begin(rows[0])
        if any(r["kind"] is not None and r["kind"] not in ChangeKind for r in rows):
            return self._begin(rows[0])  # from a newer Hexward; to forget everything is always right
        self._note(rows[0])
        return News(tuple(Change(ChangeKind(r["kind"]), r["subject"]) for r in rows if r["kind"] is not None))

    async def _connect(self) -> None:
        with refused_later():
            connection = await connect(self._url, settings=SETTINGS, role=self._service_role)
        self._connection = connection
        connection.add_termination_listener(self._hear)
        await connection.add_listener(CHANNEL, self._hear)

    def _begin(self, row: Any) -> News:
        self._note(row)
        return News(reset=True)

    def _note(self, row: Any) -> None:
        self._snapshot, self._epoch, self._read_at = row["snapshot"], row["epoch"], _clock.monotonic()

    def _hear(self, *_: object) -> None:
        """There is news, or the connection is lost; either way waiting is over."""
        self._hint.set()

    def _drop(self) -> None:
        connection, self._connection, self._snapshot = self._connection, None, None
        if connection is not None:
            connection.terminate()


def feed(url: str) -> PostgresFeed:
    """A reader of changes; each worker has one."""
    return PostgresFeed(url)
