"""What a path can do: OPTIONS, and the Allow header of 405 (RFC 9110, 9.3.7 and 15.5.6)."""

from collections.abc import Iterable
from typing import Any

from litestar import Request, Response


def answer_options(request: Request[Any, Any, Any]) -> Response[None] | None:
    """The methods of the path as a whole; the framework's own answer knows those of one handler only."""
    if request.method != "OPTIONS":
        return None
    template = request.scope["path_template"]
    methods = {method for route in request.app.routes if route.path_format == template for method in route.methods}
    return Response(None, status_code=204, headers={"Allow": allowed(methods)})


def allowed(methods: Iterable[str]) -> str:
    """An Allow header for a path with these handlers: what can be read can be asked for without its body."""
    names = {*methods, "OPTIONS"}
    return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))
