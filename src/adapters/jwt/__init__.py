"""Access tokens (RFC 9068) and ID tokens (OpenID Connect Core 2) as signed JWTs, and the keys they are signed with."""

from adapters.jwt.access_tokens import JwtAccessTokens
from adapters.jwt.id_tokens import JwtIdTokens
from adapters.jwt.make import JwtKeyMaker
from adapters.jwt.ring import JwtSigningKeys

__all__ = ["JwtAccessTokens", "JwtIdTokens", "JwtKeyMaker", "JwtSigningKeys"]
