"""Answers to requests that may be sent twice, in PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from adapters.postgres.database import Database, Hot
from adapters.postgres.tables import idempotent_answers
from domain.errors import Conflict
from domain.idempotency import Answered

_REMOVED_PER_ANSWER = 2
"""More than one comes in, so the expired ones become fewer."""

# A statement of its own, before the answer is read: the next one's snapshot then sees what the last holder committed.
_LOCK = Hot(select(func.pg_try_advisory_xact_lock(bindparam("key", type_=BigInteger)).label("taken")))
_FIND = Hot(select(idempotent_answers).where(idempotent_answers.c.id == bindparam("id")))


@dataclass(frozen=True, slots=True)
class PostgresAnswers:
    database: Database

    async def claim(self, id: bytes, now: datetime) -> Answered | None:
        if not (await self.database.fetch(_LOCK, key=int.from_bytes(id[:8], signed=True)))[0]["taken"]:
            raise Conflict(
                "a request with this Idempotency-Key is under way; wait for its answer", code="idempotency_key_in_use"
            )
        rows = await self.database.fetch(_FIND, id=id)
        if not rows or rows[0]["expires_at"] <= now:
            return None
        return Answered(rows[0]["id"], rows[0]["fingerprint"], rows[0]["sealed"], rows[0]["expires_at"])

    async def add(self, answered: Answered, now: datetime) -> None:
        table = idempotent_answers
        written = {
            "fingerprint": answered.fingerprint,
            "sealed": answered.sealed,
            "expires_at": answered.expires_at,
        }
        statement = upsert(table).values(id=answered.id, **written)
        await self.database.execute(statement.on_conflict_do_update(index_elements=["id"], set_=written))
        expired = select(table.c.id).where(table.c.expires_at <= now).order_by(table.c.expires_at)
        some = expired.limit(_REMOVED_PER_ANSWER).with_for_update(skip_locked=True).cte("some")
        await self.database.execute(delete(table).where(table.c.id.in_(select(some.c.id))))
