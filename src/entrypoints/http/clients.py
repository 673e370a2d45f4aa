"""Clients: the applications that are registered, under the names of RFC 7591."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from dishka import FromDishka
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from application.clients import (
    MEMBERS,
    OVERLAP,
    OVERLAP_MAX,
    AssertionAudience,
    ClientMetadata,
    CreateClient,
    DeleteClient,
    ListClients,
    Registered,
    RotateClientSecret,
    ShowClient,
    UpdateClient,
)
from domain.clients import (
    ACCESS_TOKEN_LIFETIME_MAX,
    AUDIENCES_MAX,
    FAMILY_IDLE,
    FAMILY_LIFETIME,
    KEYS_MAX,
    SCOPES_MAX,
    URI_MAX,
    URIS_MAX,
    AuthMethod,
    Client,
    ClientId,
    GrantType,
    IdTokenAlgorithm,
)
from domain.policies import Actor
from domain.ports import ClientQuery
from entrypoints.http.moments import Moment
from entrypoints.http.paging import Cursor, Limit, Listing, listing, position
from entrypoints.http.problems import described
from entrypoints.http.texts import ScopePath
from entrypoints.http.texts import described as text_described
from entrypoints.http.versions import IfMatch, etag, expected

_ONE_SCOPE = r"[!#-\[\]-~]{1,100}"  # RFC 6749, 3.3
_KEY_SET: dict[str, Any] = {
    "description": "Public keys (RFC 7517, 5), of type EC, RSA or OKP.",
    "properties": {
        "keys": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"kty": {"enum": ["EC", "RSA", "OKP"]}},
                "required": ["kty"],
            },
            "minItems": 1,
            "maxItems": KEYS_MAX,
        }
    },
    "required": ["keys"],
}


def _seconds(least: int, most: float) -> Meta:
    """To JSON Schema, and to most who write JSON, 60.0 is an integer; so the type is said here, and judged later."""
    return Meta(extra_json_schema={"type": "integer", "minimum": least, "maximum": int(most)})


ClientName = Annotated[str, text_described(r"\S")]
RedirectUri = Annotated[str, Meta(max_length=URI_MAX, extra_json_schema={"pattern": r"^[a-z][a-z0-9+.\-]*:/[!-~]*$"})]
RedirectUris = Annotated[list[RedirectUri], Meta(max_length=URIS_MAX)]
Resource = Annotated[str, Meta(max_length=URI_MAX, extra_json_schema={"pattern": r"^[A-Za-z][A-Za-z0-9+.\-]*:[!-~]+$"})]
Resources = Annotated[list[Resource], Meta(max_length=AUDIENCES_MAX)]
HttpsUri = Annotated[str, Meta(max_length=URI_MAX, extra_json_schema={"pattern": r"^https://[!-~]+$"})]
OAuthScope = Annotated[
    str,
    Meta(
        max_length=SCOPES_MAX * 101,
        extra_json_schema={"pattern": rf"^({_ONE_SCOPE}( {_ONE_SCOPE})*)?$", "description": "Separated by spaces."},
    ),
]
GrantTypes = Annotated[list[GrantType], Meta(max_length=10, extra_json_schema={"minItems": 1})]
KeySet = Annotated[dict[str, Any], Meta(extra_json_schema=_KEY_SET)]
AccessLifetime = Annotated[int | float, _seconds(1, ACCESS_TOKEN_LIFETIME_MAX.total_seconds())]
Idle = Annotated[int | float, _seconds(1, FAMILY_IDLE.total_seconds())]
Lifetime = Annotated[int | float, _seconds(1, FAMILY_LIFETIME.total_seconds())]
Overlap = Annotated[int | float, _seconds(0, OVERLAP_MAX)]
ClientInPath = Annotated[
    str, PathParameter(schema_extra={"pattern": "^[a-z0-9-]{1,64}$", "description": "The id of an application."})
]


class SecretReply(msgspec.Struct, frozen=True):
    """A secret that is stored, without the secret. `expires_at` null: until it is rotated."""

    created_at: Moment
    expires_at: Moment | None


class ClientReply(msgspec.Struct, frozen=True):
    """An application (RFC 7591, 2). Lifetimes are in seconds."""

    client_id: str
    client_name: str
    redirect_uris: Sequence[str]
    post_logout_redirect_uris: Sequence[str]
    grant_types: Sequence[GrantType]
    response_types: Sequence[str]
    scope: str
    token_endpoint_auth_method: AuthMethod
    jwks: Mapping[str, Any] | None
    jwks_uri: str | None
    id_token_signed_response_alg: IdTokenAlgorithm
    audiences: Sequence[str]
    access_token_lifetime: int
    refresh_token_idle: int
    refresh_token_lifetime: int
    require_pkce: bool
    trusted: bool
    introspection: bool
    assertion_audience: AssertionAudience
    enabled: bool
    scope_path: str
    built_in: bool
    secrets: Sequence[SecretReply]
    client_id_issued_at: int | None
    created_at: Moment | None
    updated_at: Moment | None


class RegisteredReply(ClientReply, frozen=True):
    """An application with the secret it just got, which is shown this once (RFC 7591, 3.2.1). Both members are absent
    where the application has no secret."""

    client_secret: str | UnsetType = UNSET
    client_secret_expires_at: int | UnsetType = UNSET


class ClientCreation(msgspec.Struct, forbid_unknown_fields=True):
    """A new application; docs/reference/clients.md says what each member means, and what it is if it is not given."""

    client_name: ClientName
    redirect_uris: RedirectUris | None = None
    post_logout_redirect_uris: RedirectUris | None = None
    grant_types: GrantTypes | None = None
    scope: OAuthScope | None = None
    token_endpoint_auth_method: AuthMethod | None = None
    jwks: KeySet | None = None
    jwks_uri: HttpsUri | None = None
    id_token_signed_response_alg: IdTokenAlgorithm | None = None
    audiences: Resources | None = None
    access_token_lifetime: AccessLifetime | None = None
    refresh_token_idle: Idle | None = None
    refresh_token_lifetime: Lifetime | None = None
    require_pkce: bool | None = None
    trusted: bool | None = None
    introspection: bool | None = None
    assertion_audience: AssertionAudience | None = None
    enabled: bool | None = None
    scope_path: ScopePath = "*"

    def metadata(self) -> ClientMetadata:
        """What was sent."""
        return _metadata({name: value for name in MEMBERS if (value := getattr(self, name)) is not None})


class ClientPatch(msgspec.Struct, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is absent stays, null is what it would be had it never been given; lists are
    replaced whole."""

    client_name: ClientName | UnsetType = UNSET
    redirect_uris: RedirectUris | UnsetType | None = UNSET
    post_logout_redirect_uris: RedirectUris | UnsetType | None = UNSET
    grant_types: GrantTypes | UnsetType | None = UNSET
    scope: OAuthScope | UnsetType | None = UNSET
    token_endpoint_auth_method: AuthMethod | UnsetType | None = UNSET
    jwks: KeySet | UnsetType | None = UNSET
    jwks_uri: HttpsUri | UnsetType | None = UNSET
    id_token_signed_response_alg: IdTokenAlgorithm | UnsetType | None = UNSET
    audiences: Resources | UnsetType | None = UNSET
    access_token_lifetime: AccessLifetime | UnsetType | None = UNSET
    refresh_token_idle: Idle | UnsetType | None = UNSET
    refresh_token_lifetime: Lifetime | UnsetType | None = UNSET
    require_pkce: bool | UnsetType | None = UNSET
    trusted: bool | UnsetType | None = UNSET
    introspection: bool | UnsetType | None = UNSET
    assertion_audience: AssertionAudience | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET

    def metadata(self) -> ClientMetadata:
        """The members that were sent."""
        return _metadata({name: value for name in MEMBERS if (value := getattr(self, name)) is not UNSET})


class SecretRotation(msgspec.Struct, forbid_unknown_fields=True):
    """For how many seconds the secret before stays good: a day unless told otherwise, 0 ends it at once."""

    overlap_seconds: Overlap = OVERLAP


def _metadata(sent: Mapping[str, Any]) -> ClientMetadata:
    return ClientMetadata(frozenset(sent), **sent)


def _told(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "post_logout_redirect_uris": client.post_logout_redirect_uris,
        "grant_types": sorted(client.grant_types),
        "response_types": ["code"] if GrantType.AUTHORIZATION_CODE in client.grant_types else [],
        "scope": " ".join(client.scopes),
        "token_endpoint_auth_method": client.auth_method,
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
        "id_token_signed_response_alg": client.id_token_algorithm,
        "audiences": client.audiences,
        "access_token_lifetime": int(client.access_token_lifetime.total_seconds()),
        "refresh_token_idle": int(client.family_idle.total_seconds()),
        "refresh_token_lifetime": int(client.family_lifetime.total_seconds()),
        "require_pkce": client.require_pkce,
        "trusted": client.trusted,
        "introspection": client.may_introspect,
        "assertion_audience": (
            AssertionAudience.ISSUER_OR_TOKEN_URL if client.token_url_audience else AssertionAudience.ISSUER
        ),
        "enabled": client.enabled,
        "scope_path": str(client.scope_path),
        "built_in": client.built_in,
        "secrets": [SecretReply(secret.created_at, secret.expires_at) for secret in client.secrets],
        "client_id_issued_at": None if client.created_at is None else int(client.created_at.timestamp()),
        "created_at": client.created_at,
        "updated_at": client.updated_at,
    }


def client_reply(client: Client) -> ClientReply:
    """The client as callers see it."""
    return ClientReply(**_told(client))


def registered_reply(registered: Registered) -> RegisteredReply:
    """The client with the secret it just got; RFC 7591, 3.2.1: 0 is a secret that does not expire by itself."""
    if registered.secret is None:
        return RegisteredReply(**_told(registered.client))
    return RegisteredReply(**_told(registered.client), client_secret=registered.secret, client_secret_expires_at=0)


def _one[Reply](client: Client, reply: Reply, status: int = 200, **headers: str) -> Response[Reply]:
    return Response(reply, status_code=status, headers={**etag(client.version), **headers})


class ClientsController(Controller):
    """Applications that sign people in, or act for themselves."""

    path = "/clients"
    tags = ["Clients"]

    @get("/", summary="List applications", responses=described(400, 401, 403, 422, 503))
    async def list_clients(
        self,
        request: Request[Any, Any, Any],
        actor: FromDishka[Actor],
        clients: FromDishka[ListClients],
        q: Annotated[
            str | None, QueryParameter(max_length=200, required=False, description="A part of the name.")
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[Listing[ClientReply]]:
        """Those the caller may see, by creation; those that are built in are left out."""
        page = await clients(actor, ClientQuery((), q, limit, position(cursor, "clients")))
        return listing(request, page, "clients", client_reply)

    @post("/", status_code=201, summary="Register an application", responses=described(400, 401, 403, 409, 422, 503))
    async def create_client(
        self, data: JSONBody[ClientCreation], actor: FromDishka[Actor], create: FromDishka[CreateClient]
    ) -> Response[RegisteredReply]:
        """Its `client_secret` is shown this once. An application that may ask for the scope `hexward`, or is trusted,
        can be registered only by who holds every permission everywhere."""
        made = await create(actor, data.metadata(), data.scope_path)
        return _one(made.client, registered_reply(made), 201, Location=f"/api/v1/clients/{made.client.id}")

    @get("/{client_id:str}", summary="Show an application", responses=described(401, 403, 404, 503))
    async def show_client(
        self, client_id: ClientInPath, actor: FromDishka[Actor], show: FromDishka[ShowClient]
    ) -> Response[ClientReply]:
        """With its ETag, and never with a secret."""
        client = await show(actor, ClientId(client_id))
        return _one(client, client_reply(client))

    @patch(
        "/{client_id:str}",
        summary="Change an application",
        responses=described(400, 401, 403, 404, 409, 412, 422, 428, 503),
    )
    async def update_client(
        self,
        client_id: ClientInPath,
        data: JSONBody[ClientPatch],
        actor: FromDishka[Actor],
        update: FromDishka[UpdateClient],
        if_match: IfMatch = None,
    ) -> Response[ClientReply]:
        """A merge patch (RFC 7396). Turning it off, or taking a scope, an audience or a grant type away, ends its
        refresh tokens before it answers."""
        client = await update(actor, ClientId(client_id), expected(if_match), data.metadata())
        return _one(client, client_reply(client))

    @delete(
        "/{client_id:str}",
        status_code=204,
        summary="Delete an application",
        responses=described(401, 403, 404, 409, 412, 428, 503),
    )
    async def delete_client(
        self,
        client_id: ClientInPath,
        actor: FromDishka[Actor],
        remove: FromDishka[DeleteClient],
        if_match: IfMatch = None,
    ) -> None:
        """For good: its secrets are wiped and its refresh tokens end. Its id is never used again."""
        await remove(actor, ClientId(client_id), expected(if_match))

    @post(
        "/{client_id:str}/rotate-secret",
        status_code=200,
        summary="Rotate an application's secret",
        responses=described(400, 401, 403, 404, 409, 422, 503),
    )
    async def rotate_secret(
        self,
        client_id: ClientInPath,
        actor: FromDishka[Actor],
        rotate: FromDishka[RotateClientSecret],
        data: JSONBody[SecretRotation | None] = None,
    ) -> Response[RegisteredReply]:
        """The new `client_secret` is shown this once; the one before stays good for a day, or as long as told."""
        wanted = data or SecretRotation()
        made = await rotate(actor, ClientId(client_id), wanted.overlap_seconds)
        return _one(made.client, registered_reply(made))
