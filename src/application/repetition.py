"""Doing again, at once, what the database undid: deadlocks, and connections that ended in the middle of the work."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps

from domain.errors import Undone

TRIES = 3
"""The third failure in a row is told to the caller: there is more amiss than bad luck."""

log = logging.getLogger(__name__)


def safe_to_repeat[**Given, Answer](work: Callable[Given, Awaitable[Answer]]) -> Callable[Given, Awaitable[Answer]]:
    """For work whose whole effect is that of its last transaction, so that one that was undone leaves nothing behind.

    What may have been stored is never repeated: a COMMIT that was not confirmed is not Undone.
    """

    @wraps(work)
    async def repeated(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        for _ in range(TRIES - 1):
            try:
                return await work(*args, **kwargs)
            except Undone as error:
                log.info("undone, and tried again: %s", error)
        return await work(*args, **kwargs)

    return repeated
