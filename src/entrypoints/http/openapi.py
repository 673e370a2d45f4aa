"""The OpenAPI 3.1 document: what the framework finds out by itself, made exact.

Shapes of bodies are written by msgspec, which also checks them, so that description and check are one. What every
operation does alike (unknown parameters, sizes, media types, request ids, versions) is said of every operation here,
once, and cannot be forgotten.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler

from entrypoints.http import idempotency
from entrypoints.http.oauth import description as oauth
from entrypoints.http.problems import MEDIA_TYPE, TITLES, Problem

VERBS = ("get", "post", "put", "patch", "delete")
_SCHEMAS = "#/components/schemas/"
_TEXT = {"type": "string"}
_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-ID": {
        "description": "The caller's own if it sent one of 1 to 128 letters, digits and . _ -; quote it in reports.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "required": True,
    },
    "ETag": {
        "description": "The version, for If-Match.",
        "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$'},
        "required": True,
    },
    "Location": {"description": "Where it is from now on.", "schema": _TEXT, "required": True},
    "WWW-Authenticate": {"description": "RFC 6750, 3.", "schema": _TEXT, "required": True},
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
        "required": True,
    },
    "RateLimit-Policy": {
        "description": "The quota that the request drew on (draft-ietf-httpapi-ratelimit-headers).",
        "schema": _TEXT,
    },
    "RateLimit": {"description": "What is left of it, and in how many seconds all of it is again.", "schema": _TEXT},
    "Idempotency-Replayed": {
        "description": "The first answer to this Idempotency-Key once more.",
        "schema": {"type": "string", "const": "true"},
    },
}


class Operation(NamedTuple):
    """One method of one path."""

    path: str
    verb: str
    content: dict[str, Any]

    @property
    def tag(self) -> str:
        """The area it belongs to."""
        return str((self.content.get("tags") or ["Other"])[0])


def operations(api: Mapping[str, Any]) -> Iterator[Operation]:
    """All operations of a document, in order."""
    for path, item in api["paths"].items():
        for verb in VERBS:
            if verb in item:
                yield Operation(path, verb, item[verb])


def describe(app: Litestar) -> dict[str, Any]:
    """The document of this application."""
    api = _with_exact_shapes(app.openapi_schema.to_schema(), app)
    api["components"]["headers"] = dict(_HEADERS)
    idempotency.describe(api)
    versioned = {o.path for o in operations(api) if _parameter(o, "If-Match")}
    shown = {path.rpartition("/")[0] for path, item in api["paths"].items() if "get" in item and path.endswith("}")}
    for operation in operations(api):
        for parameter in operation.content.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
            if parameter["name"] == "If-Match":  # taken as optional, so that 428 can say that it is not
                parameter["required"] = True
        _correct_body(operation)
        _complete_answers(operation)
        _complete_headers(operation, versioned=operation.path in versioned, shown=operation.path in shown)
    oauth.add_to(api)
    return api


def _with_exact_shapes(api: dict[str, Any], app: Litestar) -> dict[str, Any]:
    """Every struct as msgspec describes it, under msgspec's name; Litestar leaves out half of what is checked."""
    _, shapes = msgspec.json.schema_components(_types(app), ref_template=_SCHEMAS + "{name}")
    names = {shape.get("title", name): name for name, shape in shapes.items()}
    found = api["components"]["schemas"]
    renamed = {_SCHEMAS + old: _SCHEMAS + names[s["title"]] for old, s in found.items() if s.get("title") in names}
    kept = {name: shape for name, shape in found.items() if _SCHEMAS + name not in renamed}
    api["components"]["schemas"] = dict(sorted({**kept, **shapes}.items()))
    result: dict[str, Any] = _refer(api, renamed)
    return result


def _types(app: Litestar) -> list[Any]:
    """What the described operations take and answer."""
    found: list[Any] = [Problem]
    handlers = (h for route in app.routes for h in getattr(route, "route_handlers", ()))
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
            answer = handler.parsed_return_field
            inside = answer.inner_types if answer.is_subclass_of(Response) else [answer]
            found += [kind.annotation for kind in inside]
            found += [spec.data_container for spec in (handler.responses or {}).values()]
            if handler.parsed_data_field is not None:
                found.append(handler.parsed_data_field.annotation)
    return [kind for kind in found if kind not in (None, type(None), bytes, str)]


def _refer(value: Any, renamed: Mapping[str, str]) -> Any:
    """The same with references to the new names."""
    if isinstance(value, dict):
        return {
            key: renamed.get(inner, inner) if key == "$ref" else _refer(inner, renamed) for key, inner in value.items()
        }
    return [_refer(inner, renamed) for inner in value] if isinstance(value, list) else value


def _parameter(operation: Operation, name: str) -> dict[str, Any] | None:
    return next((p for p in operation.content.get("parameters", ()) if p["name"] == name), None)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter may be left out, but nothing that can be written in a URL or header is null."""
    if {"type": "null"} not in schema.get("oneOf", ()):
        return schema
    [only] = [choice for choice in schema["oneOf"] if choice != {"type": "null"}]
    return {**only, **{key: value for key, value in schema.items() if key != "oneOf"}}


def _correct_body(operation: Operation) -> None:
    """Litestar says of every body that it is required, also of one that may be left out."""
    body = operation.content.get("requestBody")
    if body is None:
        return
    [content] = body["content"].values()
    if {"type": "null"} in content["schema"].get("oneOf", ()):
        body["required"] = False
    if operation.verb == "patch":
        body["content"]["application/merge-patch+json"] = content


def _complete_answers(operation: Operation) -> None:
    """The refusals that all operations have in common."""
    expected = {400} if operation.path.startswith("/api/") else set()
    if operation.path.startswith("/api/v1/"):
        expected |= {422, 429}  # for an unknown parameter, and for a caller that runs wild
    if idempotency.honoured(operation.verb, operation.path):
        expected.add(409)  # while the first request with the same key is under way
    if "{" in operation.path:
        expected.add(404)  # for what can be no id
    if "requestBody" in operation.content:
        expected |= {413, 415, 422}
    answers = operation.content["responses"]
    problem = {"schema": {"$ref": f"{_SCHEMAS}Problem"}}
    for status in expected:
        answers.setdefault(str(status), {"description": TITLES[status], "content": {}})
    for status, answer in answers.items():
        if int(status) >= 400:  # health has a shape of its own beside it
            answer["content"].setdefault(MEDIA_TYPE, problem)
    operation.content["responses"] = dict(sorted(answers.items()))


def _complete_headers(operation: Operation, *, versioned: bool, shown: bool) -> None:
    """The headers of every answer, of versions, of what was made, and of refusals."""
    for status, answer in operation.content["responses"].items():
        names = ["X-Request-ID"]
        if versioned and status == "200":
            names.append("ETag")
        if shown and status == "201":
            names.append("Location")
        if operation.path.startswith("/api/v1/"):
            names += ["RateLimit-Policy", "RateLimit"]
        if idempotency.honoured(operation.verb, operation.path) and status.startswith("2"):
            names.append("Idempotency-Replayed")
        if status == "401":
            names.append("WWW-Authenticate")
        if status in ("429", "503") and answer.get("content", {}).keys() == {MEDIA_TYPE}:
            names.append("Retry-After")
        references = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        answer["headers"] = {**answer.get("headers", {}), **references}
