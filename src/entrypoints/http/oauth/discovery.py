"""What this server can do, for clients that know nothing but its address (OpenID Connect Discovery 1.0; RFC 8414)."""

import hashlib
from functools import cache
from typing import Any

import msgspec
from dishka import FromDishka
from litestar import Request, Response, get

from application.sessions import Issuer
from domain.authorization import ACR_SINGLE_FACTOR, SCOPE_OF
from domain.clients import API_SCOPE, IDENTITY_SCOPES, AuthMethod, GrantType, IdTokenAlgorithm
from entrypoints.http.actor import header
from entrypoints.http.versions import unchanged

MAX_AGE = 300
ASSERTION_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
LANGUAGES = ("en", "de")


@cache
def metadata(issuer: str) -> dict[str, Any]:
    """The document; both addresses serve the same."""
    methods = [method.value for method in AuthMethod]
    confidential = [method.value for method in AuthMethod if method is not AuthMethod.NONE]
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth2/authorize",
        "token_endpoint": f"{issuer}/oauth2/token",
        "userinfo_endpoint": f"{issuer}/oauth2/userinfo",
        "jwks_uri": f"{issuer}/oauth2/jwks",
        "introspection_endpoint": f"{issuer}/oauth2/introspect",
        "revocation_endpoint": f"{issuer}/oauth2/revoke",
        "end_session_endpoint": f"{issuer}/oauth2/logout",
        "scopes_supported": [*IDENTITY_SCOPES, API_SCOPE],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [grant.value for grant in GrantType],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [algorithm.value for algorithm in IdTokenAlgorithm],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claim_types_supported": ["normal"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "sid", *SCOPE_OF,
        ],
        "acr_values_supported": [ACR_SINGLE_FACTOR],
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "require_request_uri_registration": False,
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": list(LANGUAGES),
        "service_documentation": f"{issuer}/docs",
    }  # fmt: skip


@cache
def _encoded(issuer: str) -> tuple[bytes, str]:
    body = msgspec.json.encode(metadata(issuer))
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@get(
    ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"],
    hot=True,
    include_in_schema=False,
    media_type="application/json",
)
async def discovery(request: Request[Any, Any, Any], issuer: FromDishka[Issuer]) -> Response[bytes]:
    """The metadata, cacheable by everybody."""
    body, tag = _encoded(issuer)
    headers = {"ETag": tag, "Cache-Control": f"public, max-age={MAX_AGE}"}
    if unchanged(tag, header(request, b"if-none-match")):
        return Response(b"", status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
