"""Errors as pages: what went wrong, and the id to quote. Nothing of the request is repeated in them."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from domain.errors import DomainError, Invalid, NotAuthenticated, OAuthError, Unavailable
from entrypoints.http.actor import header
from entrypoints.http.pages.rendering import Pages
from entrypoints.http.pages.texts import language
from entrypoints.http.pages.visits import FormExpired, see_other
from entrypoints.http.problems import HttpProblem, framework_problem, log

_EXPIRED = frozenset({"ticket_expired", "form_expired"})


def page_problem(request: Request[Any, Any, Any], error: DomainError) -> Response[Any]:
    """What the core refused."""
    match error:
        case NotAuthenticated():
            return see_other("/login")
        case OAuthError():
            return _page(request, 400, "request", error.message)
        case FormExpired():
            return _page(request, 400, "expired", error.message, error.again)
        case Invalid(reason_code=code) if code in _EXPIRED:
            return _page(request, 400, "expired", error.message)
        case Unavailable():
            response = _page(request, 503, "busy", error.message)
            response.headers["Retry-After"] = str(error.retry_after)
            return response
        case Invalid():
            return _page(request, 400, "request", error.message)
    return unexpected(request, error)


def http_problem(request: Request[Any, Any, Any], error: HttpProblem) -> Response[Any]:
    """What this door refused, such as a body that did not arrive."""
    return _page(request, error.status, "request", error.detail)


def framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar refused: a form that is too large. What no page would answer stays a problem."""
    if error.status_code >= 500 or error.status_code in (404, 405):
        return framework_problem(request, error)
    return _page(request, error.status_code, "request", "the form could not be read")


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A defect. The log tells what happened, under the id that the page shows."""
    log.error("unexpected error in %s %s", request.method, ascii(request.scope["path"]), exc_info=error)
    return _page(request, 500, "unexpected", "an unexpected error")


def _page(
    request: Request[Any, Any, Any], status: int, kind: Any, detail: str, again: str | None = None
) -> Response[Any]:
    pages: Pages = request.app.state.pages
    correlation_id = request.scope.get("state", {}).get("correlation_id", "")
    spoken = language(", ".join(header(request, b"accept-language")))
    response = pages.error(spoken, status, kind=kind, detail=detail, correlation_id=correlation_id, again=again)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


HANDLERS: dict[type[Exception] | int, Any] = {
    DomainError: page_problem,
    HttpProblem: http_problem,
    HTTPException: framework_error,
    Exception: unexpected,
}
