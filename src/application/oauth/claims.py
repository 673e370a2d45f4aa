"""What is told about people: in ID tokens, and at the userinfo endpoint (OpenID Connect Core 2, 5.1 and 5.3)."""

import base64
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from application.repetition import safe_to_repeat
from application.sessions import Authenticate, Issuer
from domain.authorization import ACR_SINGLE_FACTOR, CLAIMS_OF
from domain.clients import OPENID, Client
from domain.errors import Forbidden, NotAuthenticated
from domain.ports import AccessTokens, Clock, IdTokens, Transaction, Users
from domain.roles import global_roles
from domain.sessions import Session
from domain.users import User

ID_TOKEN_LIFETIME = timedelta(minutes=10)


def claims_of(user: User, roles: Collection[str], scopes: Collection[str], named: Collection[str]) -> dict[str, Any]:
    """The claims of those scopes, and those asked for by name; what is not known of a person is left out (5.3.2)."""
    wanted = {claim for scope in scopes for claim in CLAIMS_OF.get(scope, ())} | set(named)
    known: dict[str, Any] = {
        "name": user.display_name,
        "preferred_username": user.username,
        "locale": user.locale,
        "updated_at": int(user.updated_at.timestamp()),
        "email": user.email,
        "email_verified": user.email_verified,
        "roles": list(roles),
    }
    return {name: value for name, value in known.items() if name in wanted and value is not None}


@dataclass(frozen=True, slots=True)
class IssueIdToken:
    """Writes ID tokens (OpenID Connect Core 2)."""

    id_tokens: IdTokens
    issuer: Issuer

    def __call__(
        self,
        client: Client,
        session: Session,
        access_token: str,
        now: datetime,
        *,
        nonce: str | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """`auth_time` and `amr` are always told. `claims` are those that were asked for by name."""
        content: dict[str, Any] = {
            **(claims or {}),
            "iss": self.issuer,
            "sub": str(session.user_id),
            "aud": client.id,
            "azp": client.id,
            "iat": int(now.timestamp()),
            "exp": int((now + ID_TOKEN_LIFETIME).timestamp()),
            "auth_time": int(session.auth_time.timestamp()),
            "acr": ACR_SINGLE_FACTOR,
            "amr": list(session.amr),
            "sid": str(session.id),
            "at_hash": left_half(access_token),
        }
        if nonce is not None:
            content["nonce"] = nonce
        return self.id_tokens.sign(content, client.id_token_algorithm, now)


def left_half(text: str) -> str:
    """`at_hash` (3.1.3.6) for algorithms with SHA-256."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class UserInfo:
    """The userinfo endpoint (5.3): what the holder of an access token may know of its person, as of now."""

    access_tokens: AccessTokens
    authenticate: Authenticate
    users: Users
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, token: str) -> Mapping[str, Any]:
        """Raises NotAuthenticated, or Forbidden (`insufficient_scope`) for a token without the scope openid."""
        now = self.clock.now()
        await self.authenticate.authority.ensure_fresh()  # a key that was revoked a moment ago verifies nothing
        claims = self.access_tokens.verify(token, now)
        facts, _ = await self.authenticate.holder(claims, now)
        if OPENID not in claims.scopes:
            raise Forbidden(f"the token lacks the scope {OPENID}", code="insufficient_scope")
        async with self.transaction.reading():
            user = await self.users.find(facts.user_id)
        if user is None:
            raise NotAuthenticated("the account is gone", code="account_not_active")
        told = claims_of(user, global_roles(facts.grants, now), claims.scopes, claims.claims)
        return {"sub": claims.subject, **told}
