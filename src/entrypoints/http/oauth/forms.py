"""Requests as forms: what applications send to the token endpoint and browsers to pages (RFC 6749, appendix B)."""

import base64
import binascii
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from litestar import Request

from application.oauth.authentication import Basic
from domain.authorization import PARAMETERS_MAX, VALUE_MAX, Parameters
from domain.errors import OAuthError
from entrypoints.http.actor import header

FORM = "application/x-www-form-urlencoded"


async def form(request: Request[Any, Any, Any], *, lenient: bool = False, longest: int = VALUE_MAX) -> Parameters:
    """The parameters of a body; raises OAuthError (`invalid_request`) for anything else, and unless `lenient` for what
    is sent twice.

    Parameters in the URL are refused: they would stand in logs and histories (RFC 6749, 3.2; RFC 9700, 4.3.2).
    """
    if request.scope["query_string"]:
        raise OAuthError("invalid_request", "parameters belong into the body")
    kinds = header(request, b"content-type")
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"send the parameters as {FORM}")
    return read(await request.body(), lenient=lenient, longest=longest)


def query(request: Request[Any, Any, Any], *, lenient: bool = False, longest: int = VALUE_MAX) -> Parameters:
    """The parameters of the URL; raises OAuthError likewise."""
    return read(request.scope["query_string"], lenient=lenient, longest=longest)


def read(text: bytes, *, lenient: bool = False, longest: int = VALUE_MAX) -> Parameters:
    """Parameters as they are written in a form or a query; raises OAuthError likewise."""
    try:
        decoded = text.decode("ascii")
        pairs = parse_qsl(decoded, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except ValueError:  # UnicodeDecodeError is one
        raise OAuthError("invalid_request", "the parameters are malformed, or too many") from None
    return Parameters(pairs, lenient=lenient, longest=longest)


def basic(request: Request[Any, Any, Any]) -> Basic | None:
    """Client id and secret of the Authorization header, each encoded as in a form (RFC 6749, 2.3.1).

    Raises OAuthError (`invalid_client`) for a header that is not exactly that.
    """
    given = header(request, b"authorization")
    if not given:
        return None
    scheme, _, encoded = given[0].partition(" ")
    try:
        id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        found = Basic(unquote_plus(id, errors="strict"), unquote_plus(secret, errors="strict"))
    except (binascii.Error, ValueError):
        colon, found = "", Basic("", "")
    if len(given) > 1 or scheme.lower() != "basic" or not colon or not found.client_id:
        raise OAuthError("invalid_client", "the Authorization header is not one of the scheme Basic")
    return found
