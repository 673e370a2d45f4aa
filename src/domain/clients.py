"""Clients: the machines and applications that ask for tokens (RFC 6749, 2), and what is registered about them.

The names are those of RFC 7591. What is registered decides everything a client may ask for; a request only narrows it.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType
from urllib.parse import urlsplit

from domain.errors import Invalid
from domain.scopes import EVERYWHERE, Scope
from domain.users import JOINERS

ClientId = NewType("ClientId", str)

FIRST_PARTY = ClientId("hexward-api")
"""The built-in public client that first-party sign-in acts as."""
PAGES = ClientId("hexward-pages")
"""The built-in client that browsers are signed in to: Hexward's own pages."""
BUILT_IN = frozenset({FIRST_PARTY, PAGES})

ACCESS_TOKEN_LIFETIME = timedelta(minutes=5)
ACCESS_TOKEN_LIFETIME_MAX = timedelta(hours=24)
FAMILY_IDLE = timedelta(days=30)
FAMILY_LIFETIME = timedelta(days=90)

API_SCOPE = "hexward"
"""The scope that opens Hexward's own API, with all rights of the person."""
OPENID, PROFILE, EMAIL, OFFLINE_ACCESS, ROLES = "openid", "profile", "email", "offline_access", "roles"
IDENTITY_SCOPES = (OPENID, PROFILE, EMAIL, OFFLINE_ACCESS, ROLES)
"""OpenID Connect Core 5.4 and 11, and `roles`; they tell of people, so no client has them for itself."""

NAME_MAX, URI_MAX, URIS_MAX, SCOPES_MAX, AUDIENCES_MAX = 100, 2000, 20, 100, 20
KEYS_MAX, KEY_MEMBERS_MAX, KEY_TEXT_MAX = 10, 20, 8192
SECRETS_MAX = 2
"""The present secret and the one before it, so that a secret can be changed without a gap."""
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")  # RFC 6749, 3.3
_URI_CHARACTERS = re.compile(r"[!#-;=?-\[\]_a-z~]+")  # RFC 3986, 2: no space, quote, angle bracket, backslash, brace
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?")  # of one host, and its port
_PRIVATE_USE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")  # RFC 8252, 7.1: a reversed domain name
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:/.*)?)")
_KEY_TYPES = {"EC": {"crv", "x", "y"}, "RSA": {"n", "e"}, "OKP": {"crv", "x"}}  # RFC 7518, 6; RFC 8037, 2
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518, 6.2.2, 6.3.2 and 6.4


class AuthMethod(StrEnum):
    """How a client proves who it is at the token endpoint (OpenID Connect Core 9)."""

    NONE = "none"
    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    PRIVATE_KEY_JWT = "private_key_jwt"

    @property
    def by_secret(self) -> bool:
        """Whether a shared secret is the proof."""
        return self in {AuthMethod.BASIC, AuthMethod.POST}


class GrantType(StrEnum):
    """What a client may exchange for a token."""

    AUTHORIZATION_CODE = "authorization_code"
    CLIENT_CREDENTIALS = "client_credentials"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105  # a grant type, not a secret


class IdTokenAlgorithm(StrEnum):
    """What ID tokens are signed with; RS256 is what every library must know (OpenID Connect Core 15.1)."""

    RS256 = "RS256"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret, hashed. It has 256 bits of entropy, so SHA-256 is the right hash. `expires_at` None: until replaced."""

    hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None

    def alive(self, now: datetime) -> bool:
        """Whether it is still accepted."""
        return self.expires_at is None or now < self.expires_at


def secret_hash(secret: str) -> bytes:
    """What is stored of a client secret."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Client:
    """An application. A disabled one gets no token, and its refresh tokens stop. `version` is the ETag.

    `scopes` and `audiences` are all that it can ever be given; `trusted` means that people are not asked for consent;
    `require_pkce` False is for confidential clients that send a nonce instead (RFC 9700, 2.1.1); `token_url_audience`
    lets its assertions name the token endpoint instead of the issuer (RFC 7523, 3).
    """

    id: ClientId
    name: str
    enabled: bool = True
    access_token_lifetime: timedelta = ACCESS_TOKEN_LIFETIME
    family_idle: timedelta = FAMILY_IDLE
    family_lifetime: timedelta = FAMILY_LIFETIME
    auth_method: AuthMethod = AuthMethod.NONE
    grant_types: frozenset[GrantType] = frozenset()
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    secrets: tuple[ClientSecret, ...] = ()
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    id_token_algorithm: IdTokenAlgorithm = IdTokenAlgorithm.RS256
    trusted: bool = False
    require_pkce: bool = True
    token_url_audience: bool = False
    may_introspect: bool = False
    scope_path: Scope = EVERYWHERE
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    version: int = 1

    @property
    def confidential(self) -> bool:
        """Whether it can keep a secret (RFC 6749, 2.1)."""
        return self.auth_method is not AuthMethod.NONE

    @property
    def built_in(self) -> bool:
        """Whether it is part of Hexward, and so cannot be changed."""
        return self.id in BUILT_IN

    def changed(self, now: datetime, **changes: Any) -> "Client":
        """The same client with some attributes replaced, one version on."""
        return replace(self, **changes, updated_at=now, version=self.version + 1)

    def loses_to(self, after: "Client") -> bool:
        """Whether refresh tokens that are out may hold something that the client `after` may not have any more, or only
        if people allow it."""
        if (self.trusted and not after.trusted) or not self.grant_types <= after.grant_types:
            return True
        pairs = ((self.scopes, after.scopes), (self.audiences, after.audiences))
        return any(set(old) - set(new) for old, new in pairs)

    def refusal(self) -> str | None:
        """Why it gets no token, or None."""
        return None if self.enabled and self.deleted_at is None else "client_disabled"

    def accepts_secret(self, secret: str, now: datetime) -> bool:
        """Whether it is one of the secrets in force, compared in constant time."""
        presented = secret_hash(secret)
        matches = [hmac.compare_digest(presented, held.hash) and held.alive(now) for held in self.secrets]
        return any(matches)

    def with_secret(self, fresh: ClientSecret, now: datetime, overlap: timedelta) -> "Client":
        """With another secret, beside the latest one, which ends after `overlap` at the latest."""
        kept = [
            replace(s, expires_at=min(filter(None, (s.expires_at, now + overlap))))
            for s in self.secrets
            if s.alive(now) and overlap > timedelta(0)
        ]
        kept.sort(key=lambda s: s.created_at)
        return self.changed(now, secrets=(*kept[-(SECRETS_MAX - 1) :], fresh))

    def redirects_to(self, uri: str) -> bool:
        """Whether `uri` is registered: exactly, character by character, except the port of a loopback address that the
        operating system chooses (RFC 8252, 7.3; RFC 9700, 2.1)."""
        return any(registered == uri or _same_loopback(registered, uri) for registered in self.redirect_uris)


def _same_loopback(registered: str, uri: str) -> bool:
    here, there = _LOOPBACK.fullmatch(registered), _LOOPBACK.fullmatch(uri)
    if here is None or there is None or (here[1], here[3]) != (there[1], there[3]):
        return False
    return there[2] is None or 0 < int(there[2]) <= 65535


# ------------------------------------------------------------------------------------------------- what is registered


def check_client(client: Client) -> Client:
    """The client if what is registered of it can work and is safe; raises Invalid."""
    grants = client.grant_types
    if not grants:
        raise Invalid.field("/grant_types", "a client has at least one grant type", code="grant_types_missing")
    by_code = GrantType.AUTHORIZATION_CODE in grants
    if by_code != bool(client.redirect_uris):
        raise Invalid.field(
            "/redirect_uris", "redirect URIs go with the grant type authorization_code", code="redirect_uris_missing"
        )
    if GrantType.REFRESH_TOKEN in grants and not by_code:
        raise Invalid.field(
            "/grant_types", "refresh_token goes with authorization_code", code="grant_types_contradictory"
        )
    if GrantType.CLIENT_CREDENTIALS in grants and not client.confidential:
        raise Invalid.field(
            "/grant_types", "client_credentials needs a client that authenticates itself", code="grant_types_public"
        )
    _check_keys(client)
    if not client.require_pkce and not client.confidential:
        raise Invalid.field("/require_pkce", "a public client uses PKCE (RFC 9700, 2.1.1)", code="pkce_required")
    if client.may_introspect and not client.confidential:
        raise Invalid.field(
            "/introspection", "only a client that authenticates itself may introspect", code="introspection_public"
        )
    for uri in client.redirect_uris:
        if client.confidential and urlsplit(uri).scheme not in {"http", "https"}:
            raise Invalid.field(
                "/redirect_uris", "a private-use scheme is for public, native clients", code="redirect_uri_malformed"
            )
    return client


def _check_keys(client: Client) -> None:
    given = sum(value is not None for value in (client.jwks, client.jwks_uri))
    if client.auth_method is AuthMethod.PRIVATE_KEY_JWT:
        if given != 1:
            raise Invalid.field("/jwks", "private_key_jwt needs either jwks or jwks_uri", code="client_keys_missing")
    elif given:
        raise Invalid.field("/jwks", "keys go with private_key_jwt", code="client_keys_unused")


def parse_client_name(text: str, pointer: str = "/client_name") -> str:
    """The name that people see at consent, in any script; raises Invalid."""
    name = unicodedata.normalize("NFC", text).strip()
    printable = all(c.isprintable() or c in JOINERS or unicodedata.category(c) == "Zs" for c in name)
    if not name.strip(JOINERS) or len(name) > NAME_MAX or not printable:
        raise Invalid.field(pointer, f"a name has 1 to {NAME_MAX} printable characters", code="client_name_malformed")
    return name


def parse_redirect_uris(texts: Sequence[str], pointer: str = "/redirect_uris") -> tuple[str, ...]:
    """Where answers may be sent: https, http on the machine itself, or a private-use scheme; raises Invalid.

    Nothing is normalised: what is registered is what has to be presented.
    """
    if len(texts) > URIS_MAX:
        raise Invalid.field(pointer, f"at most {URIS_MAX}", code="too_many")
    for index, text in enumerate(texts):
        if (wrong := _wrong_uri(text)) is not None:
            raise Invalid.field(f"{pointer}/{index}", wrong, code="redirect_uri_malformed")
    return tuple(dict.fromkeys(texts))


def _wrong_uri(text: str) -> str | None:
    if len(text) > URI_MAX or not _URI_CHARACTERS.fullmatch(text) or "#" in text:
        return f"an absolute URI of at most {URI_MAX} ASCII characters without a fragment"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URI"
    if parts.scheme not in {"http", "https"}:
        private = _PRIVATE_USE_SCHEME.fullmatch(parts.scheme) and text.startswith(f"{parts.scheme}:/")
        return None if private else "an https address, or a scheme such as com.example.app:/callback"
    if not _HOST.fullmatch(parts.netloc.lower()) or port == 0 or not text.startswith(f"{parts.scheme}://"):
        return "an address with the name of one host, without a user name or a wildcard"
    if parts.scheme == "http" and host not in {"127.0.0.1", "::1", "localhost"}:
        return "https, unless the host is the machine itself"
    return None


def parse_oauth_scopes(text: str, pointer: str = "/scope") -> tuple[str, ...]:
    """Scopes separated by spaces (RFC 6749, 3.3), in order, each once; raises Invalid."""
    found = tuple(dict.fromkeys(text.split(" "))) if text else ()
    if len(found) > SCOPES_MAX or not all(_SCOPE_TOKEN.fullmatch(scope) for scope in found):
        raise Invalid.field(pointer, "scopes separated by single spaces", code="oauth_scope_malformed")
    return found


def parse_audiences(texts: Sequence[str], pointer: str = "/audiences") -> tuple[str, ...]:
    """Resources that tokens may be for: absolute URIs without a fragment (RFC 8707, 2); raises Invalid."""
    if len(texts) > AUDIENCES_MAX:
        raise Invalid.field(pointer, f"at most {AUDIENCES_MAX}", code="too_many")
    for index, text in enumerate(texts):
        if not is_resource(text):
            raise Invalid.field(f"{pointer}/{index}", "an absolute URI without a fragment", code="audience_malformed")
    return tuple(dict.fromkeys(texts))


def is_resource(text: str) -> bool:
    """Whether it can be a resource indicator (RFC 8707, 2)."""
    if len(text) > URI_MAX or "#" in text or not _URI_CHARACTERS.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.path)


def parse_jwks(document: Mapping[str, Any], pointer: str = "/jwks") -> Mapping[str, Any]:
    """Public keys of a client (RFC 7517, 5); raises Invalid, above all for a secret half that nobody should send."""
    keys = document.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_MAX or not all(isinstance(k, Mapping) for k in keys):
        raise Invalid.field(pointer, f"a JSON Web Key Set of 1 to {KEYS_MAX} keys", code="client_keys_malformed")
    if any(_PRIVATE_MEMBERS & key.keys() for key in keys):
        raise Invalid.field(pointer, "only the public halves of keys are wanted", code="client_keys_private")
    for index, key in enumerate(keys):
        if not _is_public_key(key):
            raise Invalid.field(
                f"{pointer}/keys/{index}", "not a JSON Web Key of type EC, RSA or OKP", code="client_keys_malformed"
            )
    return {"keys": [dict(key) for key in keys]}


def _is_public_key(key: Mapping[str, Any]) -> bool:
    """Whether it has what a key of its type has, and otherwise only flags, short texts and lists of them."""
    kind = key.get("kty")
    needed = _KEY_TYPES.get(kind) if isinstance(kind, str) else None
    if needed is None or len(key) > KEY_MEMBERS_MAX or not all(isinstance(key.get(name), str) for name in needed):
        return False
    texts = [*key]
    for value in key.values():
        if not isinstance(value, bool):
            texts += value if isinstance(value, list) else [value]
    return len(texts) <= 5 * KEY_MEMBERS_MAX and all(map(_is_key_text, texts))


def _is_key_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= KEY_TEXT_MAX and value.isascii() and value.isprintable()


def parse_jwks_uri(text: str, pointer: str = "/jwks_uri") -> str:
    """Where a client publishes its keys; raises Invalid. Who it resolves to is judged at each fetch."""
    if _wrong_uri(text) is not None or not text.startswith("https://"):
        raise Invalid.field(pointer, "an https address", code="jwks_uri_malformed")
    return text


def parse_lifetime(seconds: float, most: timedelta, pointer: str) -> timedelta:
    """A lifetime in whole seconds within its bound; raises Invalid."""
    if not 1 <= seconds <= most.total_seconds() or seconds != int(seconds):
        bound = int(most.total_seconds())
        raise Invalid.field(pointer, f"from 1 to {bound} seconds", code="lifetime_malformed")
    return timedelta(seconds=seconds)


def allowed_scopes(client: Client, requested: Collection[str]) -> tuple[str, ...]:
    """What of the request is registered, in the order it was asked for (RFC 6749, 3.3; what is not known is ignored,
    OpenID Connect Core 3.1.2.1)."""
    return tuple(scope for scope in dict.fromkeys(requested) if scope in client.scopes)
