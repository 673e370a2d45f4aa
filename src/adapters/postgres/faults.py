"""What PostgreSQL's faults mean to a caller: which pass by themselves, and which constraint was violated."""

import asyncpg

from domain.errors import Unavailable, Undone

DRIVER_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""All that asyncpg raises."""

_PASSING_CLASSES = {
    "08",  # connection exception
    "53",  # insufficient resources: connections, memory, disk
    "58",  # system error
}
_PASSING = {
    "3F000",  # schema missing: not migrated yet, or emptied by somebody; readiness says so
    "42P01",  # table missing: likewise
    "25006",  # read-only transaction: this server is no longer the primary
    "25P03",  # idle in transaction for too long
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock time-out
    "57014",  # statement time-out
    "57P01",  # administrator shuts down
    "57P02",  # crash of another session
    "57P03",  # starting up or shutting down
    "57P05",  # idle for too long
}

_UNDOING = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "57P01",  # administrator shuts down, or ended this connection
    "57P02",  # crash of another session
}
"""What ends a transaction and may go well at once. Time-outs do not: to try again would double the wait."""


def cause_of(error: BaseException) -> BaseException:
    """asyncpg's error, out of SQLAlchemy's wrapping (recognised by its shape: importing SQLAlchemy is slow)."""
    wrapped = getattr(error, "orig", None)
    return wrapped.__cause__ or wrapped if isinstance(wrapped, BaseException) else error


def passes(error: BaseException) -> bool:
    """Whether the same request may well succeed later."""
    cause = cause_of(error)
    if isinstance(cause, asyncpg.PostgresError):
        state = cause.sqlstate or ""
        return state in _PASSING or state[:2] in _PASSING_CLASSES
    if isinstance(cause, asyncpg.InterfaceError):
        return "closed" in str(cause)  # others are misuse, which no repetition cures
    # The internal error is how asyncpg takes it when the server ends a connection between two statements.
    return isinstance(cause, (OSError, TimeoutError, asyncpg.InternalClientError))


def unavailable(error: BaseException) -> Unavailable:
    """What callers are told; the cause stays with the exception, for the log."""
    return Unavailable(_told(cause_of(error)))


def interrupted(error: BaseException) -> Unavailable:
    """The same where a transaction was under way: Undone if it was ended by what may go well the next time, for
    PostgreSQL stores nothing until COMMIT is sent."""
    cause = cause_of(error)
    return Undone(_told(cause)) if _undoes(cause) else Unavailable(_told(cause))


def unconfirmed(error: Undone) -> Unavailable:
    """The same for a COMMIT: unless PostgreSQL says that it refused, nobody knows, and it must not be repeated."""
    if state_of(error.__cause__ or error) in {"40001", "40P01"}:
        return error
    return Unavailable("the database did not confirm; whether anything was stored is not known")


def timed_out(error: BaseException) -> bool:
    """Whether it is that the database did not answer in time (it said nothing itself)."""
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    return cause is not None and isinstance(cause_of(cause), TimeoutError)


def _told(cause: BaseException) -> str:
    can = "cannot answer now" if isinstance(cause, asyncpg.PostgresError) else "does not answer"
    return f"the database {can} ({type(cause).__name__})"


def _undoes(cause: BaseException) -> bool:
    if isinstance(cause, asyncpg.PostgresError):
        state = cause.sqlstate or ""
        return state in _UNDOING or state[:2] == "08"
    return not isinstance(cause, TimeoutError)


def violated(error: BaseException) -> str | None:
    """The name of the constraint that a statement violated, if it was one."""
    name: str | None = getattr(cause_of(error), "constraint_name", None)
    return name


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE, if the server reported the error."""
    state: str | None = getattr(cause_of(error), "sqlstate", None)
    return state
