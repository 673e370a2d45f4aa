"""What PostgreSQL's faults mean to a caller: which pass by themselves, and which constraint was violated."""

import asyncpg

from domain.errors import Unavailable

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
    cause = cause_of(error)
    if isinstance(cause, asyncpg.PostgresError):
        return Unavailable(f"the database cannot answer now ({type(cause).__name__})")
    return Unavailable(f"the database does not answer ({type(cause).__name__})")


def violated(error: BaseException) -> str | None:
    """The name of the constraint that a statement violated, if it was one."""
    name: str | None = getattr(cause_of(error), "constraint_name", None)
    return name


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE, if the server reported the error."""
    state: str | None = getattr(cause_of(error), "sqlstate", None)
    return state
