"""The OAuth endpoints in the OpenAPI document, by hand: they read forms, and their shapes are those of RFCs.

Parameters that nobody knows are ignored, and those without a value are as good as not sent (RFC 6749, 3.1 and 3.2).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from application.oauth.authentication import ASSERTION_TYPE
from domain.authorization import SCOPE_OF
from domain.clients import GrantType
from entrypoints.http.oauth.discovery import metadata
from entrypoints.http.oauth.errors import OAuthProblem
from entrypoints.http.oauth.forms import FORM
from entrypoints.http.oauth.token import TokenReply
from entrypoints.http.problems import MEDIA_TYPE, TITLES

TAG = "OAuth and OpenID Connect"
_SCHEMAS = "#/components/schemas/"
_JSON, _HTML = "application/json", "text/html"
_TEXT: Mapping[str, Any] = {"type": "string"}
_NUMBER: Mapping[str, Any] = {"type": "integer"}
_FLAG: Mapping[str, Any] = {"type": "boolean"}
_NEEDED: Mapping[str, Any] = {"type": "string", "minLength": 1}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}
type Shape = dict[str, Any]

_CLIENT: Mapping[str, Shape] = {
    "client_id": {**_TEXT, "description": "Who asks, where the Authorization header does not say so."},
    "client_secret": {**_TEXT, "description": "For `client_secret_post`."},
    "client_assertion_type": {"const": ASSERTION_TYPE, "description": "For `private_key_jwt` (RFC 7523, 2.2)."},
    "client_assertion": {**_TEXT, "description": "A JWT that the client signed."},
}
_BY_THE_CLIENT: list[Shape] = [{"client": []}, {}]
"""By the header, or within the form, which OpenAPI has no scheme for; a public client only names itself."""
_RESOURCE: Shape = {
    "anyOf": [_TEXT, _TEXTS],
    "description": "A service that the token is for (RFC 8707); may be repeated.",
}

_REQUEST: Mapping[str, Shape] = {
    "response_type": {"const": "code"},
    "client_id": {**_NEEDED, "description": "Who asks."},
    "redirect_uri": {**_TEXT, "description": "As registered, character by character; may be left out if there is one."},
    "scope": {**_TEXT, "description": "Scopes separated by spaces."},
    "state": {**_TEXT, "description": "Comes back as it is."},
    "code_challenge": {**_TEXT, "description": "RFC 7636, 4.2."},
    "code_challenge_method": {"const": "S256"},
    "response_mode": {"const": "query"},
    "nonce": {**_TEXT, "description": "Stands in the ID token."},
    "prompt": {**_TEXT, "description": "Of `none`, `login`, `consent` and `select_account`, separated by spaces."},
    "max_age": {**_TEXT, "pattern": "^[0-9]+$", "description": "How many seconds ago the person may have signed in."},
    "login_hint": {**_TEXT, "description": "Who will sign in, most likely."},
    "id_token_hint": {**_TEXT, "description": "An ID token of who has to be signed in."},
    "ui_locales": {**_TEXT, "description": "Languages that the person prefers, separated by spaces."},
    "acr_values": {**_TEXT, "description": "How to sign in, by preference."},
    "claims": {**_TEXT, "description": "Claims by name, as JSON (OpenID Connect Core 5.5)."},
    "resource": _RESOURCE,
}  # fmt: skip
_LOGOUT: Mapping[str, Shape] = {
    "id_token_hint": {**_TEXT, "description": "An ID token of the session that ends."},
    "client_id": {**_TEXT, "description": "Who asks."},
    "post_logout_redirect_uri": {**_TEXT, "description": "Where the browser goes then; registered."},
    "state": {**_TEXT, "description": "Comes back as it is."},
    "ui_locales": {**_TEXT, "description": "Languages that the person prefers, separated by spaces."},
}
_TOKEN: Mapping[str, Shape] = {
    "grant_type": {"enum": [grant.value for grant in GrantType]},
    "code": {**_TEXT, "description": "For `authorization_code`, with `redirect_uri` and `code_verifier`."},
    "redirect_uri": {**_TEXT, "description": "As in the authorization request."},
    "code_verifier": {**_TEXT, "description": "What the challenge was made of (RFC 7636, 4.1)."},
    "refresh_token": {**_TEXT, "description": "For `refresh_token`."},
    "scope": {**_TEXT, "description": "Fewer scopes than may be had."},
    "resource": _RESOURCE,
    **_CLIENT,
}
_ASKED: Mapping[str, Shape] = {
    "token": {**_NEEDED, "description": "An access token or a refresh token."},
    "token_type_hint": {**_TEXT, "description": "`access_token` or `refresh_token`; nothing depends on it."},
    **_CLIENT,
}


def add_to(api: Shape) -> None:
    """Add the endpoints, their shapes, and how clients prove themselves to an OpenAPI document."""
    _, shapes = msgspec.json.schema_components([TokenReply, OAuthProblem], ref_template=_SCHEMAS + "{name}")
    own = {**shapes, "Introspection": _introspection(), "UserInfo": _user_info(), "ServerMetadata": _metadata()}
    components = api["components"]
    components["schemas"] = dict(sorted({**components["schemas"], **own}.items()))
    components["securitySchemes"]["client"] = {
        "type": "http",
        "scheme": "basic",
        "description": "Id and secret of a client, each encoded as in a form (RFC 6749, 2.3.1).",
    }
    api["paths"].update(_paths())


def _paths() -> Shape:
    asks_people = "Signs a person in, asks for consent, and sends the browser back with a code or an error."
    ends = "Signs the browser out and sends it back; who does not show whose session is meant is asked first."
    both = "RFC 8414, and OpenID Connect Discovery 1.0: what this server can do, and where."
    tells = "Claims about the person of an access token with the scope `openid` (OpenID Connect Core 5.3)."
    userinfo = _answers({200: _json("UserInfo")}, 400, 401, 403, 413)
    return {
        "/.well-known/openid-configuration": {"get": _metadata_operation("OpenidConfiguration", both)},
        "/.well-known/oauth-authorization-server": {"get": _metadata_operation("AuthorizationServer", both)},
        "/oauth2/authorize": _for_browsers("Authorize", "Ask a person", asks_people, _REQUEST, ["client_id"], {}),
        "/oauth2/logout": _for_browsers("EndSession", "Sign a browser out", ends, _LOGOUT, [], {200: _page()}),
        "/oauth2/token": {
            "post": {
                **_named("Token", "Get tokens", "For a code, a refresh token, or the client itself (RFC 6749)."),
                "security": _BY_THE_CLIENT,
                "requestBody": _form(_TOKEN, ["grant_type"]),
                "responses": _answers({200: _json("TokenReply")}, 400, 401, 413),
            }
        },
        "/oauth2/introspect": {
            "post": {
                **_named("Introspect", "Look into a token", "Whether it is good now, and what it is for (RFC 7662)."),
                "security": _BY_THE_CLIENT,
                "requestBody": _form(_ASKED, ["token"]),
                "responses": _answers({200: _json("Introspection")}, 400, 401, 413),
            }
        },
        "/oauth2/revoke": {
            "post": {
                **_named("Revoke", "Give a token back", "Ends the session it is of, with all its tokens (RFC 7009)."),
                "security": _BY_THE_CLIENT,
                "requestBody": _form(_ASKED, ["token"]),
                "responses": _answers({200: {"description": "It is good no more"}}, 400, 401, 413),
            }
        },
        "/oauth2/userinfo": {
            verb: {
                **_named(f"{verb.title()}Userinfo", "Claims about a person", tells),
                "security": [{"bearer": []}],
                "responses": userinfo,
            }
            for verb in ("get", "post")
        },
    }  # fmt: skip


def _named(id: str, summary: str, description: str) -> Shape:
    return {"tags": [TAG], "operationId": f"OAuth{id}", "summary": summary, "description": description}


def _metadata_operation(id: str, description: str) -> Shape:
    answers: dict[int, Shape] = {
        200: _json("ServerMetadata"),
        304: {"description": "Still the document that If-None-Match names"},
    }
    for answer in answers.values():
        answer["headers"] = {
            "ETag": {"description": "For If-None-Match.", "schema": _TEXT, "required": True},
            "Cache-Control": {"description": "How long to keep it.", "schema": _TEXT, "required": True},
        }
    return {**_named(id, "What the server can do", description), "security": [{}], "responses": _answers(answers)}


def _for_browsers(
    id: str, summary: str, description: str, asked: Mapping[str, Shape], required: list[str], more: dict[int, Shape]
) -> Shape:
    """By GET, with the parameters in the address, or by POST, which leads there. Refusals are pages."""
    answers = {303: _sent("Where the browser goes on"), **more}
    home = {307: _sent("The same at the public address, for who came by another name")}
    parameters = [
        {"name": name, "in": "query", "required": name in required, **_apart(shape)} for name, shape in asked.items()
    ]
    return {
        "get": {
            **_named(f"Get{id}", summary, description),
            "security": [{}],
            "parameters": parameters,
            "responses": _answers({**answers, **home}, 400, kind=_HTML),
        },
        "post": {
            **_named(f"Post{id}", summary, description),
            "security": [{}],
            "requestBody": _form(asked, required),
            "responses": _answers({303: answers[303]}, 400, 413, kind=_HTML),
        },
    }


def _apart(shape: Shape) -> Shape:
    """A shape as a parameter has it, which explains itself beside it."""
    schema = {key: value for key, value in shape.items() if key != "description"}
    return {"description": shape.get("description", "As it stands here."), "schema": schema}


def _form(properties: Mapping[str, Shape], required: list[str]) -> Shape:
    schema = {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": _TEXT,
    }
    return {"required": True, "content": {FORM: {"schema": schema}}}


def _json(name: str) -> Shape:
    return {"description": "As asked for", "content": {_JSON: {"schema": {"$ref": _SCHEMAS + name}}}}


def _page() -> Shape:
    return {"description": "A page for the person", "content": {_HTML: {"schema": _TEXT}}}


def _sent(description: str) -> Shape:
    return {"description": description, "headers": {"Location": {"$ref": "#/components/headers/Location"}}}


def _answers(good: dict[int, Shape], *refusals: int, kind: str = _JSON) -> Shape:
    """The answers, with the refusals of the endpoint, and those that come before it as problems."""
    refused: Shape = {"schema": {"$ref": _SCHEMAS + "OAuthProblem"} if kind == _JSON else _TEXT}
    problem: Shape = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS + "Problem"}}}
    answers: dict[int, Shape] = {
        **good,
        **{status: {"description": TITLES[status], "content": {kind: refused}} for status in refusals},
        429: {"description": TITLES[429], "content": problem},
        503: {"description": TITLES[503], "content": {kind: refused, **problem}},
    }
    for status, answer in answers.items():
        names = ["X-Request-ID", *_HEADERS.get(status, ())]
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        answer["headers"] = {**answer.get("headers", {}), **headers}
    return {str(status): answers[status] for status in sorted(answers)}


_HEADERS: Mapping[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def _introspection() -> Shape:
    texts = dict.fromkeys(("scope", "client_id", "token_type", "sub", "iss", "jti"), _TEXT)
    times = dict.fromkeys(("exp", "iat", "nbf"), _NUMBER)
    return {
        "type": "object",
        "title": "Introspection",
        "description": "RFC 7662, 2.2; `active` alone for a token that is not good, or not the caller's business.",
        "properties": {"active": _FLAG, **texts, **times, "aud": {"anyOf": [_TEXT, _TEXTS]}},
        "required": ["active"],
    }


def _user_info() -> Shape:
    told = {name: _CLAIM_KINDS.get(name, {"type": ["string", "null"]}) for name in SCOPE_OF}
    return {
        "type": "object",
        "title": "UserInfo",
        "description": "Claims that the scopes of the token give, as of now (OpenID Connect Core 5.3.2).",
        "properties": {"sub": _TEXT, **told},
        "required": ["sub"],
    }


_CLAIM_KINDS: Mapping[str, Mapping[str, Any]] = {"email_verified": _FLAG, "updated_at": _NUMBER, "roles": _TEXTS}


def _metadata() -> Shape:
    """Read off the document itself."""
    kinds = {bool: _FLAG, list: _TEXTS, str: _TEXT}
    properties = {name: kinds[type(value)] for name, value in metadata("https://id.example.org").items()}
    return {
        "type": "object",
        "title": "ServerMetadata",
        "description": "Metadata of the server (RFC 8414, 2; OpenID Connect Discovery 1.0, 3).",
        "properties": properties,
        "required": list(properties),
    }
