"""Keys for operators, and their public halves for everybody."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from dishka import FromDishka
from litestar import Controller, Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from application.keys import KeyRing, ListKeys, RevokeKey, RotateKey
from domain.keys import JWKS_MAX_AGE, Key, KeyState, KeyUse
from domain.policies import Actor
from domain.ports import Clock, SigningKeys
from entrypoints.http.actor import header
from entrypoints.http.moments import Moment
from entrypoints.http.paging import Listing
from entrypoints.http.problems import described
from entrypoints.http.versions import unchanged

JWK_SET = "application/jwk-set+json"


class KeySet(msgspec.Struct, frozen=True):
    """Public keys (RFC 7517, 5)."""

    keys: Sequence[Mapping[str, str]]


class KeyReply(msgspec.Struct, frozen=True):
    """A key without its secret half. States: next (published, not yet used), active, retiring (still verifies),
    retired, revoked."""

    id: str
    use: KeyUse
    algorithm: str
    state: KeyState
    created_at: Moment
    activates_at: Moment
    superseded_at: Moment | None
    revoked_at: Moment | None
    public_jwk: Mapping[str, str] | None


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """Which key to rotate; without an algorithm the present one stays."""

    use: KeyUse = KeyUse.SIGN
    algorithm: str | None = None


def key_reply(key: Key, now: datetime) -> KeyReply:
    """The key as operators see it."""
    return KeyReply(
        key.id,
        key.use,
        key.algorithm,
        key.state(now),
        key.created_at,
        key.activates_at,
        key.superseded_at,
        key.revoked_at,
        dict(key.public) or None,
    )


class KeysController(Controller):
    """Signing keys and the keys of refresh tokens."""

    path = "/keys"
    tags = ["Keys"]

    @get("/", summary="List keys", responses=described(401, 403, 503))
    async def list_keys(
        self, actor: FromDishka[Actor], keys: FromDishka[ListKeys], clock: FromDishka[Clock]
    ) -> Response[Listing[KeyReply]]:
        """Newest first."""
        now = clock.now()
        return Response(Listing([key_reply(k, now) for k in await keys(actor)], None))

    @post("/rotate", status_code=201, summary="Rotate a key", responses=described(400, 401, 403, 409, 422, 503))
    async def rotate_key(
        self,
        actor: FromDishka[Actor],
        rotate: FromDishka[RotateKey],
        clock: FromDishka[Clock],
        data: JSONBody[Rotation | None] = None,
    ) -> KeyReply:
        """Publishes the next key; it signs from `activates_at` on, once every verifier has had time to see it."""
        wanted = data or Rotation()
        return key_reply(await rotate(actor, wanted.use, wanted.algorithm), clock.now())

    @post("/{key_id:str}/revoke", status_code=200, summary="Revoke a key", responses=described(401, 403, 404, 503))
    async def revoke_key(
        self,
        key_id: FromPath[str],
        actor: FromDishka[Actor],
        revoke: FromDishka[RevokeKey],
        clock: FromDishka[Clock],
    ) -> KeyReply:
        """At once: nothing it signed is accepted any more. For a key that leaked."""
        return key_reply(await revoke(actor, key_id), clock.now())


@get(
    "/oauth2/jwks",
    hot=True,
    summary="Public keys",
    tags=["Keys"],
    security=[{}],
    media_type=JWK_SET,
    responses={
        200: ResponseSpec(KeySet, generate_examples=False, description="The keys", media_type=JWK_SET),
        304: ResponseSpec(None, description="Still the set that If-None-Match names"),
        **described(503),
    },
)
async def jwks(
    request: Request[Any, Any, Any],
    keys: FromDishka[SigningKeys],
    ring: FromDishka[KeyRing],
    clock: FromDishka[Clock],
) -> Response[bytes]:
    """The JSON Web Key Set (RFC 7517) that verifies our tokens; cache it as the headers allow."""
    ring.require_ready(clock.now())  # an empty set would be cached, and fail every token elsewhere
    body = keys.jwks(clock.now())
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": f"public, max-age={int(JWKS_MAX_AGE.total_seconds())}"}
    if unchanged(tag, header(request, b"if-none-match")):
        return Response(b"", status_code=304, headers=headers)
    return Response(body, media_type=JWK_SET, headers=headers)
