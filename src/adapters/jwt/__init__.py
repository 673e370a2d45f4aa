"""Access tokens as signed JWTs (RFC 9068), and the keys they are signed with."""

from adapters.jwt.access_tokens import JwtAccessTokens
from adapters.jwt.make import JwtKeyMaker

__all__ = ["JwtAccessTokens", "JwtKeyMaker"]
