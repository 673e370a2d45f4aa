"""Query parameters: what an operation does not know is refused, for a typo in `scope` would mean everywhere."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from domain.errors import FieldError, Invalid
from entrypoints.http.options import answer_options


def refuse_unknown(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Raises Invalid for a parameter that the operation does not have, or that is given twice, and
    ValidationException for a null."""
    if (options := answer_options(request)) is not None:  # which have none, and mind none
        return options
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return None
    known = _known(request.route_handler)
    if not known.keys() >= set(given) or len(set(given)) < len(given):
        names = ", ".join(sorted(known)) or "none"
        message = f"this operation has these query parameters, each at most once: {names}"
        raise Invalid(message, fields=[FieldError("query", "unknown_parameter", message)], code="parameter_unknown")
    for name, value in request.query_params.items():
        if value.lower() == "null" and not known[name]:  # read as if the parameter were absent, a filter would be lost
            raise ValidationException(extra=[{"key": name, "source": "query"}])
    return None


def _known(handler: BaseRouteHandler) -> dict[str, bool]:
    """The names of the parameters, and whether they are text."""
    declared = handler.parsed_fn_signature.parameters.items()
    return {
        field.kwarg_definition.query or field.kwarg_definition.name or name: str
        in (field.annotation, *(inner.annotation for inner in field.inner_types))
        for name, field in declared
        if isinstance(field.kwarg_definition, QueryParameter)
    }
