"""Password hashes and failed sign-ins in PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BindParameter, LargeBinary, bindparam, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.database import Database, Hot
from adapters.postgres.queries import parameters
from adapters.postgres.tables import password_credentials, sign_in_failures
from domain.credentials import FORGOTTEN_AFTER, Failures, PasswordCredential
from domain.users import UserId

_REMOVED_PER_FAILURE = 2
"""More than one comes in, so the forgotten ones become fewer however many names are tried."""


_USER_ID: BindParameter[UserId] = bindparam("user_id")
_FIND = Hot(select(password_credentials).where(password_credentials.c.user_id == _USER_ID))
_WRITTEN = upsert(password_credentials).values(parameters(password_credentials))
_SET = Hot(
    _WRITTEN.on_conflict_do_update(
        index_elements=["user_id"],
        set_={"hash": _WRITTEN.excluded.hash, "changed_at": _WRITTEN.excluded.changed_at},
    )
)
_REMOVE = Hot(delete(password_credentials).where(password_credentials.c.user_id == _USER_ID))

_table = sign_in_failures
_MINE = _table.c.key == bindparam("key", type_=LargeBinary)
_NOW, _FORGOTTEN = bindparam("now", type_=_table.c.last_at.type), bindparam("forgotten", type_=_table.c.last_at.type)
_AS_SEEN = (_table.c.count == bindparam("count"), _table.c.last_at == bindparam("last_at"))

_spare = (
    select(_table.c.key)
    .where(_table.c.last_at <= _FORGOTTEN, ~_MINE)
    .order_by(_table.c.last_at)
    .limit(_REMOVED_PER_FAILURE)
    .with_for_update(skip_locked=True)
)
_swept = delete(_table).where(_table.c.key.in_(select(_spare.cte("spare").c.key))).cte("swept")
_counted = upsert(_table).values(key=bindparam("key", type_=LargeBinary), count=1, last_at=_NOW)
# One statement: the row lock of the upsert decides among parallel ones.
_ADD = Hot(
    _counted.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "count": case((_table.c.last_at <= _FORGOTTEN, 1), else_=_table.c.count + 1),
            "last_at": func.greatest(_table.c.last_at, _counted.excluded.last_at),
        },
    ).add_cte(_swept)
)
_GET = Hot(select(_table).where(_MINE))
_CLAIM = Hot(
    update(_table).where(_MINE, *_AS_SEEN).values(last_at=func.greatest(_table.c.last_at, _NOW)).returning(_table.c.key)
)
_GIVE_BACK = Hot(update(_table).where(_MINE, *_AS_SEEN).values(last_at=bindparam("seen_at")))
_CLEAR = Hot(delete(_table).where(_MINE))


@dataclass(frozen=True, slots=True)
class PostgresCredentials:
    database: Database

    async def password(self, id: UserId) -> PasswordCredential | None:
        row = await self.database.first(_FIND, user_id=id)
        return None if row is None else PasswordCredential(UserId(row["user_id"]), row["hash"], row["changed_at"])

    async def set_password(self, credential: PasswordCredential) -> None:
        await self.database.fetch(
            _SET, user_id=credential.user_id, hash=credential.hash, changed_at=credential.changed_at
        )

    async def remove(self, id: UserId) -> None:
        await self.database.fetch(_REMOVE, user_id=id)


@dataclass(frozen=True, slots=True)
class PostgresSignInFailures:
    database: Database

    async def get(self, key: bytes) -> Failures | None:
        row = await self.database.first(_GET, key=key)
        return None if row is None else Failures(row["count"], row["last_at"])

    async def add(self, key: bytes, now: datetime) -> None:
        await self.database.fetch(_ADD, key=key, now=now, forgotten=now - FORGOTTEN_AFTER)

    async def claim(self, key: bytes, seen: Failures, now: datetime) -> bool:
        row = await self.database.first(_CLAIM, key=key, count=seen.count, last_at=seen.last_at, now=now)
        return row is not None

    async def give_back(self, key: bytes, seen: Failures, claimed_at: datetime) -> None:
        claimed = max(seen.last_at, claimed_at)
        await self.database.fetch(_GIVE_BACK, key=key, count=seen.count, last_at=claimed, seen_at=seen.last_at)

    async def clear(self, key: bytes) -> None:
        await self.database.fetch(_CLEAR, key=key)
