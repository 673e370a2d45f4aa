"""What a worker acknowledges, it feels itself: its own changes of authority count from the answer on.

Other workers hear of them through the change feed, usually within milliseconds.
"""

import contextlib

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from application.authority import LiveAuthority
from domain.errors import Unavailable

_READING = {"GET", "HEAD", "OPTIONS"}
_CHANGE_NO_AUTHORITY = ("/api/v1/auth/login", "/api/v1/auth/refresh")


class Settled(ASGIMiddleware):
    """Reads the change feed between a successful change and its answer."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one exchange."""
        if scope["method"] in _READING or scope["path"].startswith(_CHANGE_NO_AUTHORITY):  # type: ignore[typeddict-item]  # only HTTP comes here
            await next_app(scope, receive, send)
            return
        authority = await scope["litestar_app"].state.dishka_container.get(LiveAuthority)

        async def settle(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                with contextlib.suppress(Unavailable):  # the change is stored; decisions judge staleness themselves
                    await authority.catch_up()
            await send(message)

        await next_app(scope, receive, settle)
