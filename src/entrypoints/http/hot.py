"""The fast lane: what is called all the time is answered without what the framework does anew for each request.

A handler that says `hot=True` stays what it is: routed, described, refused and tested like all others. The lane stands
before the framework, takes the requests that are plainly for such a handler, and calls the same function with the same
middleware around it; its use cases are resolved once, at start-up. All else on its path (another method, OPTIONS, a
slash at the end, a query) goes on to the framework, which therefore answers it as ever.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from inspect import signature
from typing import Any, cast, get_args, get_origin

from dishka import AsyncContainer
from dishka.exception_base import DishkaError
from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import ImproperlyConfiguredException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.serialization import encode_json
from litestar.types import ASGIApp, Receive, Scope, Send

from application.sessions import Authenticate
from domain.policies import Actor, Origin
from entrypoints.http.actor import bearer, header
from entrypoints.http.body import StrictRequest
from entrypoints.http.options import answer_options
from entrypoints.http.parameters import refuse_unknown

type AnyRequest = Request[Any, Any, Any]
type Argument = Callable[[AnyRequest], Awaitable[Any]]

_BEFORE = (None, refuse_unknown, answer_options)
"""What comes before a handler and has nothing to say to what the lane takes: no query, no OPTIONS."""
_JSON = "application/json"
_PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:_\[\]-]*")  # any other is the framework's to judge


class Lane:
    """ASGI middleware around the framework. Closed until `open` was called: then all goes to the framework."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._operations: Mapping[tuple[str, str], ASGIApp] = {}

    async def open(self, app: Litestar, container: AsyncContainer) -> None:
        """Take over the hot handlers of `app`; raises ImproperlyConfiguredException for one that cannot be."""
        self._operations = {
            (method, path): await _operation(path, handler, container)
            for path, handler in _hot_handlers(app)
            for method in handler.http_methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        app = self._app
        if scope["type"] == ScopeType.HTTP and not scope["query_string"] and not scope.get("root_path"):
            operation = self._operations.get((scope["method"], scope["path"]))
            if operation is not None and _plain(scope):
                app = operation
        await app(scope, receive, send)


def _plain(scope: Scope) -> bool:
    return all(_PLAIN_HOST.fullmatch(value) for name, value in scope["headers"] if name == b"host")


def _hot_handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from ((route.path, handler) for handler in route.route_handlers if handler.opt.get("hot"))


async def _operation(path: str, handler: HTTPRouteHandler, container: AsyncContainer) -> ASGIApp:
    """The handler with its middleware, as Litestar would build it, without the container of each request."""
    _check(handler)
    function = getattr(handler.fn, "__dishka_orig_func__", handler.fn)
    fixed: dict[str, Any] = {}
    made: list[tuple[str, Argument]] = []
    for name, parameter in signature(function).parameters.items():
        kind = get_args(parameter.annotation)[0] if get_args(parameter.annotation) else parameter.annotation
        if (argument := await _argument(handler, name, kind, parameter.annotation, container)) is not None:
            made.append((name, argument))
        else:
            fixed[name] = await _resolved(handler, name, kind, container)
    app: ASGIApp = _Operation(handler, function, fixed, made)
    for layer in handler.resolve_middleware():
        app = cast(Callable[[ASGIApp], ASGIApp], layer)(app)
    return _routed(app, path, handler)


def _check(handler: HTTPRouteHandler) -> None:
    """Raises ImproperlyConfiguredException where the framework would do more than the lane does."""
    more = (
        handler.resolve_guards(),
        handler.resolve_dependencies(),
        handler.resolve_after_response(),
        handler.cache,
        handler.has_sync_callable,
        getattr(handler.resolve_before_request(), "func", None) not in _BEFORE,
    )
    if any(more):
        raise ImproperlyConfiguredException(f"{handler.handler_name} needs the framework, and so cannot be hot")


async def _argument(
    handler: HTTPRouteHandler, name: str, kind: Any, annotation: Any, container: AsyncContainer
) -> Argument | None:
    """What makes the argument from each request, or None for one that is the same for all."""
    if kind is Actor:
        return _actor(await _resolved(handler, name, Authenticate, container))
    if kind is Origin:
        return _origin
    if get_origin(annotation) is Request or annotation is Request:
        return _request
    return _body if name == "data" else None


async def _resolved(handler: HTTPRouteHandler, name: str, kind: Any, container: AsyncContainer) -> Any:
    try:
        return await container.get(kind)
    except DishkaError as error:
        raise ImproperlyConfiguredException(f"{handler.handler_name} is hot, and nothing makes its {name}") from error


def _actor(authenticate: Authenticate) -> Argument:
    async def actor(request: AnyRequest) -> Actor:
        return await authenticate(bearer(header(request, b"authorization")), await _origin(request))

    return actor


async def _origin(request: AnyRequest) -> Origin:
    origin: Origin = request.scope["state"]["origin"]
    return origin


async def _request(request: AnyRequest) -> AnyRequest:
    return request


async def _body(request: AnyRequest) -> Any:
    """Read within the handler's limit and decoded as it declares, by the same code as everywhere."""
    if not await request.body():
        raise ValidationException(extra=[{"key": "data", "source": "body"}])  # as the framework says it
    return await request.json()


class _Operation:
    """One hot handler as an ASGI application."""

    def __init__(
        self,
        handler: HTTPRouteHandler,
        function: Callable[..., Awaitable[Any]],
        fixed: Mapping[str, Any],
        made: list[tuple[str, Argument]],
    ) -> None:
        self._handler, self._function, self._fixed, self._made = handler, function, fixed, made
        self._media_type = str(getattr(handler.media_type, "value", handler.media_type) or _JSON)
        self._status = handler.status_code
        declared = {header.name: header.value or "" for header in handler.resolve_response_headers()}
        self._headers = [*_lines(declared), (b"content-type", self._media_type.encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = StrictRequest(scope, receive, send)
        try:
            arguments = {name: await make(request) for name, make in self._made}
            answer = await self._function(**self._fixed, **arguments)
        except Exception as error:  # noqa: BLE001  # whatever it is becomes the answer, as in the framework
            answer = _problem(self._handler, request, error)
        if isinstance(answer, Response):
            await _send(answer, self._media_type, self._status, send)
        else:
            await self._tell(encode_json(answer), send)

    async def _tell(self, body: bytes, send: Send) -> None:
        """A plain answer: the handler has declared all else of it."""
        headers = [*self._headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _routed(app: ASGIApp, path: str, handler: HTTPRouteHandler) -> ASGIApp:
    """What routing leaves in the scope for middleware, whose errors become answers as well."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route_handler"], scope["path_params"], scope["path_template"] = handler, {}, path
        try:
            await app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  # as below
            await _send(_problem(handler, StrictRequest(scope, receive, send), error), _JSON, 500, send)

    return routed


def _problem(handler: HTTPRouteHandler, request: AnyRequest, error: Exception) -> Response[Any]:
    """The answer to an error, as the framework finds it: by the nearest class that somebody answers for."""
    handlers = handler.resolve_exception_handlers()
    respond = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    return respond(request, error)


async def _send(response: Response[Any], media_type: str, status: int, send: Send) -> None:
    """As Litestar sends it: JSON or bytes, and no content where the status allows none (RFC 9110, 6.4.1)."""
    status = response.status_code or status
    headers = _lines(response.headers)
    content = response.content
    body = content if isinstance(content, bytes) else encode_json(content)
    if status not in (204, 304):
        headers.append((b"content-type", str(response.media_type or media_type).encode()))
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _lines(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
