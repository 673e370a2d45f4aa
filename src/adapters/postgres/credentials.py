"""Password hashes and failed sign-ins in PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.database import Database
from adapters.postgres.tables import password_credentials, sign_in_failures
from domain.credentials import FORGOTTEN_AFTER, Failures, PasswordCredential
from domain.users import UserId

_REMOVED_PER_FAILURE = 2
"""More than one comes in, so the forgotten ones become fewer however many names are tried."""


@dataclass(frozen=True, slots=True)
class PostgresCredentials:
    database: Database

    async def password(self, id: UserId) -> PasswordCredential | None:
        row = await self.database.row(select(password_credentials).where(password_credentials.c.user_id == id))
        return None if row is None else PasswordCredential(UserId(row["user_id"]), row["hash"], row["changed_at"])

    async def set_password(self, credential: PasswordCredential) -> None:
        written = {"hash": credential.hash, "changed_at": credential.changed_at}
        statement = upsert(password_credentials).values(user_id=credential.user_id, **written)
        await self.database.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=written))

    async def remove(self, id: UserId) -> None:
        await self.database.execute(delete(password_credentials).where(password_credentials.c.user_id == id))


@dataclass(frozen=True, slots=True)
class PostgresSignInFailures:
    database: Database

    async def get(self, key: bytes) -> Failures | None:
        row = await self.database.row(select(sign_in_failures).where(sign_in_failures.c.key == key))
        return None if row is None else Failures(row["count"], row["last_at"])

    async def add(self, key: bytes, now: datetime) -> None:
        """One statement: the row lock of the upsert decides among parallel ones."""
        table, forgotten = sign_in_failures, now - FORGOTTEN_AFTER
        spare = (
            select(table.c.key)
            .where(table.c.last_at <= forgotten, table.c.key != key)
            .order_by(table.c.last_at)
            .limit(_REMOVED_PER_FAILURE)
            .with_for_update(skip_locked=True)
        )
        swept = delete(table).where(table.c.key.in_(select(spare.cte("spare").c.key))).cte("swept")
        counted = upsert(table).values(key=key, count=1, last_at=now)
        statement = counted.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "count": case((table.c.last_at <= forgotten, 1), else_=table.c.count + 1),
                "last_at": func.greatest(table.c.last_at, counted.excluded.last_at),
            },
        ).add_cte(swept)
        await self.database.execute(statement)

    async def claim(self, key: bytes, seen: Failures, now: datetime) -> bool:
        table = sign_in_failures
        claimed = (
            update(table)
            .where(table.c.key == key, table.c.count == seen.count, table.c.last_at == seen.last_at)
            .values(last_at=func.greatest(table.c.last_at, now))
            .returning(table.c.key)
        )
        return await self.database.row(claimed) is not None

    async def give_back(self, key: bytes, seen: Failures, claimed_at: datetime) -> None:
        table, claimed = sign_in_failures, max(seen.last_at, claimed_at)
        mine = update(table).where(table.c.key == key, table.c.count == seen.count, table.c.last_at == claimed)
        await self.database.execute(mine.values(last_at=seen.last_at))

    async def clear(self, key: bytes) -> None:
        await self.database.execute(delete(sign_in_failures).where(sign_in_failures.c.key == key))
