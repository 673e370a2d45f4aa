"""Errors as OAuth has them (RFC 6749, 5.2; RFC 6750, 3; RFC 7009, 2.2.1): `error` and `error_description`."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from domain.errors import DomainError, Forbidden, NotAuthenticated, OAuthError, TooManyAttempts, Unavailable
from entrypoints.http.problems import HttpProblem, framework_problem, unexpected_problem

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthProblem(msgspec.Struct, frozen=True):
    """An error of an OAuth endpoint."""

    error: str
    error_description: str


def told(status: int, error: str, description: str, headers: dict[str, str] | None = None) -> Response[Any]:
    """The error as a response."""
    return Response(OAuthProblem(error, description), status_code=status, headers={**NO_STORE, **(headers or {})})


def oauth_problem(request: Request[Any, Any, Any], error: DomainError) -> Response[Any]:
    """What the core refused."""
    match error:
        case OAuthError(reason_code="invalid_client"):
            return told(401, "invalid_client", error.message, {"WWW-Authenticate": 'Basic realm="hexward"'})
        case OAuthError():
            return told(400, error.reason_code, error.message)
        case NotAuthenticated():
            presented = "authorization" in request.headers
            detail = f', error="invalid_token", error_description="{error.message}"' if presented else ""
            return told(401, "invalid_token", error.message, {"WWW-Authenticate": f'Bearer realm="hexward"{detail}'})
        case Forbidden():
            challenge = 'Bearer realm="hexward", error="insufficient_scope", scope="openid"'
            return told(403, "insufficient_scope", error.message, {"WWW-Authenticate": challenge})
        case Unavailable() | TooManyAttempts():
            return told(503, "temporarily_unavailable", error.message, {"Retry-After": str(error.retry_after)})
    return unexpected_problem(request, error)


def http_problem(_: Request[Any, Any, Any], error: HttpProblem) -> Response[Any]:
    """What this door refused, such as a body that did not arrive."""
    return told(error.status, "invalid_request", error.detail)


def framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar refused: a body that is too large. What is no fault of the request stays a problem."""
    if error.status_code >= 500 or error.status_code in (404, 405):
        return framework_problem(request, error)
    return told(error.status_code, "invalid_request", "the request could not be read")


HANDLERS: dict[type[Exception] | int, Any] = {
    DomainError: oauth_problem,
    HttpProblem: http_problem,
    HTTPException: framework_error,
}
