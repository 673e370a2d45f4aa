"""Errors as `application/problem+json` (RFC 9457), mapped once for the whole API.

A problem never holds SQL, stack text or what the caller sent.
"""

import logging
from typing import Any, ClassVar

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    InvalidGrant,
    NotAuthenticated,
    NotFound,
    Stale,
    TooManyAttempts,
    Unavailable,
)
from entrypoints.http.options import allowed

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)

STATUSES: dict[type[DomainError], int] = {
    Invalid: 422,
    NotAuthenticated: 401,
    InvalidGrant: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    TooManyAttempts: 429,
    Unavailable: 503,
}
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Precondition failed",
    413: "Content too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Invalid input",
    428: "Precondition required",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "content_too_large",
    415: "unsupported_media_type",
    500: "internal_error",
}


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one member of the body, or one parameter."""

    pointer: str
    code: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457). `code` is stable; `correlation_id` is the X-Request-ID to quote when asking for help."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    correlation_id: str = ""
    errors: list[FieldProblem] = []


class HttpProblem(Exception):
    """A refusal that only HTTP knows, such as a missing If-Match."""

    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def described(*statuses: int) -> dict[int, ResponseSpec]:
    """The OpenAPI entries of the problems an operation may answer; any may find a parameter malformed (400)."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=TITLES[status], media_type=MEDIA_TYPE)
        for status in sorted({400, *statuses})
    }


def encoded(
    status: int, code: str, detail: str, correlation_id: str, errors: list[FieldProblem] | None = None
) -> bytes:
    """The problem as JSON."""
    return msgspec.json.encode(
        Problem(
            type=f"urn:hexward:problem:{code}",
            title=TITLES.get(status, "Error"),
            status=status,
            code=code,
            detail=detail,
            correlation_id=correlation_id,
            errors=errors or [],
        )
    )


def respond(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    errors: list[FieldProblem] | None = None,
) -> Response[bytes]:
    """The problem as a response."""
    body = encoded(status, code, detail, request.scope.get("state", {}).get("correlation_id", ""), errors)
    headers = dict(headers or {})
    if status == 401:
        # RFC 6750, 3.1: say what was wrong with the token only where one was presented
        presented = "authorization" in request.headers
        headers["www-authenticate"] = 'Bearer realm="hexward"' + (', error="invalid_token"' if presented else "")
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def domain_problem(request: Request[Any, Any, Any], error: DomainError) -> Response[bytes]:
    """What the core refused."""
    status = next((s for kind, s in STATUSES.items() if isinstance(error, kind)), 500)
    if status == 500:  # meant for operators, not for callers
        return unexpected_problem(request, error)
    headers = {}
    if isinstance(error, TooManyAttempts | Unavailable):
        headers["retry-after"] = str(error.retry_after)
    errors = [FieldProblem(f.pointer, f.code, f.message) for f in error.fields] if isinstance(error, Invalid) else []
    return respond(request, status, error.reason_code, error.message, headers=headers, errors=errors)


def http_problem(request: Request[Any, Any, Any], error: HttpProblem) -> Response[bytes]:
    """What this door refused."""
    return respond(request, error.status, error.code, error.detail)


def framework_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar refused: routes, methods, parameters, sizes. Its details are replaced, for they echo input."""
    status = error.status_code
    if status >= 500:
        return unexpected_problem(request, error)
    allow = (error.headers or {}).get("allow")
    headers = {"allow": allowed(allow.split(", "))} if allow else {}
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [
        FieldProblem(f"{item.get('source', 'query')}:{item['key']}", "malformed", "missing or not of the right kind")
        for item in extra
        if isinstance(item, dict) and "key" in item
    ]
    detail = "a parameter is missing or malformed" if errors else TITLES.get(status, "the request was refused")
    return respond(request, status, CODES.get(status, CODES[400]), detail, headers=headers, errors=errors)


def unexpected_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect. The caller gets the id under which the log tells what happened."""
    log.error("unexpected error in %s %s", request.method, ascii(request.scope["path"]), exc_info=error)
    return respond(request, 500, "internal_error", "an unexpected error; quote the correlation id when reporting it")


HANDLERS: dict[type[Exception] | int, Any] = {
    DomainError: domain_problem,
    HttpProblem: http_problem,
    HTTPException: framework_problem,
    Exception: unexpected_problem,
}
