"""Query parameters: what an operation does not know is refused, for a typo in `scope` would mean everywhere."""

from functools import cache
from typing import Any

from litestar import Request, Response
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from domain.errors import FieldError, Invalid
from entrypoints.http.options import answer_options


def refuse_unknown(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Raises Invalid for a parameter that the operation does not have, or that is given twice."""
    if (options := answer_options(request)) is not None:  # which have none, and mind none
        return options
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return None
    known = _known(request.route_handler)
    if not known.issuperset(given) or len(set(given)) < len(given):
        names = ", ".join(sorted(known)) or "none"
        message = f"this operation has these query parameters, each at most once: {names}"
        raise Invalid(message, fields=[FieldError("query", "unknown_parameter", message)], code="parameter_unknown")
    return None


@cache
def _known(handler: BaseRouteHandler) -> frozenset[str]:
    declared = handler.parsed_fn_signature.parameters.items()
    return frozenset(
        field.kwarg_definition.query or field.kwarg_definition.name or name
        for name, field in declared
        if isinstance(field.kwarg_definition, QueryParameter)
    )
