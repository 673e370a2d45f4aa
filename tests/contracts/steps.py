"""How contracts act on a store: in a transaction of their own, beside one another, and by whole lists."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from domain.ports import (
    Answers,
    AuditLog,
    Changes,
    Clients,
    Consents,
    Credentials,
    Families,
    Grants,
    Installations,
    Keys,
    OneTimeValues,
    Page,
    Roles,
    Sessions,
    SignInFailures,
    Transaction,
    Upkeep,
    Users,
)

PATIENCE = 10.0
"""Seconds after which what should have happened is taken not to happen."""


class Store(Protocol):
    """All storage ports of one adapter, as the fixture `store` gives them."""

    transaction: Transaction
    users: Users
    credentials: Credentials
    failures: SignInFailures
    roles: Roles
    grants: Grants
    clients: Clients
    consents: Consents
    one_time_values: OneTimeValues
    sessions: Sessions
    families: Families
    keys: Keys
    audit: AuditLog
    answers: Answers
    installations: Installations
    changes: Changes
    upkeep: Upkeep


async def within[T](store: Store, *steps: Coroutine[Any, Any, T]) -> T:
    """Do these calls in one transaction; the answer of the last one."""
    try:
        async with store.transaction():
            for step in steps[:-1]:
                await step
            return await steps[-1]
    finally:
        for step in steps:  # those that were never reached
            step.close()


class Mishap(Exception):
    """Something that goes wrong in the middle of a use case."""


async def failing(store: Store, *steps: Coroutine[Any, Any, object]) -> None:
    """Do these calls in one transaction that then fails; raises Mishap."""

    async def fail() -> None:
        raise Mishap

    await within(store, *steps, fail())


def beside[T](work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start what another caller does: in a task that inherits nothing of this one's context."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def waits(task: asyncio.Task[Any], seconds: float = 0.1) -> bool:
    """Whether the task is still waiting after it had the time to go as far as it can."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    return not done


async def finished[T](task: asyncio.Task[T]) -> T:
    """The task's result; fails rather than hangs if it never comes."""
    async with asyncio.timeout(PATIENCE):
        return await task


async def at_once(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do all of this in parallel, each as its own caller; results and errors in order."""
    async with asyncio.timeout(3 * PATIENCE):
        return await asyncio.gather(*map(beside, works), return_exceptions=True)


async def every_page[T](
    store: Store,
    fetch: Callable[[tuple[str, Any] | None], Awaitable[Page[T]]],
    between: Callable[[], Awaitable[object]] | None = None,
) -> list[T]:
    """All items of a list, page by page; `between` happens after each page."""
    items: list[T] = []
    after = None
    while True:
        async with store.transaction():
            page = await fetch(after)
        items.extend(page.items)
        if page.after is None:
            return items
        assert page.items, "an empty page that says there is more"
        after = page.after
        if between is not None:
            await between()
