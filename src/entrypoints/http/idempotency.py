"""The Idempotency-Key header: a request that is sent again gets its first answer again, and changes nothing twice.

Honoured by every POST under `/api/v1`, except where a password or a token is the point: those answers are never kept.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from application.idempotency import AnsweredBefore, Idempotency
from domain.policies import Actor
from entrypoints.http.problems import HttpProblem

HEADER = "Idempotency-Key"
_FIELD = HEADER.lower().encode()
REPLAYED = "Idempotency-Replayed"
PARAMETER: Mapping[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "A value made for this request alone, such as a UUID. Sent again within 24 hours with the same "
    "content, the request changes nothing and gets its first answer, with `Idempotency-Replayed: true`.",
}


def honoured(method: str, path: str) -> bool:
    """Whether that operation heeds the header; `path` may be a template."""
    return (
        method.upper() == "POST"
        and path.startswith("/api/v1/")
        and not path.startswith("/api/v1/auth/")
        and not path.endswith("/password")
    )


class _Answer(msgspec.Struct, array_like=True):
    """An answer as it is stored."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Outlet:
    """Holds back what the application sends, until it is known to be stored."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    def answer(self) -> bytes | None:
        """What to keep; None for a refusal, which has changed nothing and may end otherwise next time."""
        start, *parts = self.messages
        if start["type"] != "http.response.start" or not 200 <= start["status"] < 300:
            return None
        body = b"".join(part.get("body", b"") for part in parts if part["type"] == "http.response.body")
        return msgspec.msgpack.encode(_Answer(start["status"], [(n, v) for n, v in start["headers"]], body))


class IdempotencyKeys(ASGIMiddleware):
    """Runs a request with a key as an attempt that is committed together with its answer.

    It stands inside `Settled`, so that nobody hears of a change before it is committed.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one exchange."""
        keys = [value.decode("latin-1") for name, value in scope["headers"] if name == _FIELD]
        if not keys or not honoured(scope["method"], scope["path_template"]):  # type: ignore[typeddict-item]  # only HTTP comes here
            await next_app(scope, receive, send)
            return
        request: Request[Any, Any, Any] = scope["litestar_app"].request_class(scope, receive)
        if len(keys) > 1:
            raise HttpProblem(400, "idempotency_key_malformed", "send one Idempotency-Key")
        actor = await request.state.dishka_container.get(Actor)  # raises NotAuthenticated, as the handler would
        idempotency = await request.app.state.dishka_container.get(Idempotency)
        operation = f"{request.method} {scope['path_template']}"
        asked = b"\0".join((request.url.path.encode(), scope["query_string"], await request.body()))
        outlet = _Outlet()
        async with idempotency(actor, operation, keys[0], asked) as attempt:
            await next_app(scope, receive, outlet)  # what it raises has become an answer
            await attempt.conclude(outlet.answer())
        for message in outlet.messages:  # outside the attempt: what `Settled` reads now is no part of it
            await send(message)


def answered_before(_: Request[Any, Any, Any], before: AnsweredBefore) -> Response[bytes]:
    """The first answer once more."""
    answer = msgspec.msgpack.decode(before.answer, type=_Answer)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    headers.pop("content-length", None)
    media_type = headers.pop("content-type", None)
    return Response(
        answer.body, status_code=answer.status, media_type=media_type, headers={**headers, REPLAYED: "true"}
    )


def describe(api: dict[str, Any]) -> None:
    """Add the header to every operation of an OpenAPI document that heeds it."""
    for path, item in api["paths"].items():
        for method, operation in item.items():
            if honoured(method, path):
                operation.setdefault("parameters", []).append(dict(PARAMETER))
