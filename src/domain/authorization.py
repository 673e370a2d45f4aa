"""Authorization requests: what an application asks a person for (RFC 6749, 4.1.1; OpenID Connect Core 3.1.2.1).

A request is read in two steps. First who asks and where the answer goes: nothing that is wrong there is ever told by a
redirect (RFC 6749, 4.1.2.1). Then all the rest, which is.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from domain.clients import (
    EMAIL,
    OPENID,
    PROFILE,
    ROLES,
    Client,
    GrantType,
    allowed_scopes,
    is_resource,
)
from domain.errors import OAuthError

CODE_LIFETIME = timedelta(seconds=60)
TICKET_LIFETIME = timedelta(minutes=30)
ACR_SINGLE_FACTOR = "1"
PARAMETERS_MAX, VALUE_MAX = 50, 4096
CARRIED_MAX = 16 * 1024
"""How long a value may be by which our own pages carry a whole request along."""
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636, 4.2: SHA-256 in base64url
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636, 4.1
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_LOCALES_MAX = 10

CLAIMS_OF: Mapping[str, tuple[str, ...]] = {
    PROFILE: ("name", "preferred_username", "locale", "updated_at"),
    EMAIL: ("email", "email_verified"),
    ROLES: ("roles",),
}
"""The claims that a scope gives (OpenID Connect Core 5.4), of those that Hexward knows."""
SCOPE_OF: Mapping[str, str] = {claim: scope for scope, claims in CLAIMS_OF.items() for claim in claims}
_OF_THE_SIGN_IN = frozenset({"auth_time", "acr", "amr", "sub"})


class Parameters(Mapping[str, str]):
    """Parameters as RFC 6749, 3.1 and 3.2 read them: one without a value is not there, none comes twice."""

    def __init__(self, pairs: Iterable[tuple[str, str]], *, lenient: bool = False, longest: int = VALUE_MAX) -> None:
        """Raises OAuthError (`invalid_request`) for what is sent twice, other than `resource` (RFC 8707, 2). `lenient`
        leaves it out instead, as `repeated`: at the authorization endpoint the application is to be told."""
        self._values: dict[str, str] = {}
        self._pairs: list[tuple[str, str]] = []
        self.repeated: frozenset[str] = frozenset()
        self.resources: tuple[str, ...] = ()
        for count, (name, value) in enumerate(pairs):
            if count >= PARAMETERS_MAX or len(value) > longest or len(name) > VALUE_MAX:
                raise OAuthError("invalid_request", "there are too many parameters, or one is too long")
            if not value:
                continue
            self._pairs.append((name, value))
            if name == "resource":
                self.resources += (value,)
            elif name in self._values or name in self.repeated:
                self.repeated |= {name}
                self._values.pop(name, None)
            else:
                self._values[name] = value
        if self.repeated and not lenient:
            raise repeated()

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def pairs(self) -> list[tuple[str, str]]:
        """All of them, as they came."""
        return list(self._pairs)

    def required(self, name: str) -> str:
        """The value; raises OAuthError (`invalid_request`) without one."""
        value = self._values.get(name)
        if value is None:
            raise OAuthError("invalid_request", f"the parameter {name} is missing")
        return value


def repeated() -> OAuthError:
    """What is sent twice can be meant either way (RFC 6749, 3.1)."""
    return OAuthError("invalid_request", "a parameter is sent twice", why="parameter_repeated")


@dataclass(frozen=True, slots=True)
class ReturnAddress:
    """Where the answer goes, once client and redirect URI are known to belong together."""

    client: Client
    redirect_uri: str
    state: str | None
    explicit: bool
    """Whether the request named the redirect URI, so that the token request has to name it again."""


@dataclass(frozen=True, slots=True)
class ClaimsRequest:
    """What the `claims` parameter asks for by name (OpenID Connect Core 5.5), of the claims that Hexward knows.

    `acr` holds the values one of which is essential, if any is.
    """

    userinfo: tuple[str, ...] = ()
    id_token: tuple[str, ...] = ()
    acr: tuple[str, ...] = ()
    subject: str | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that would give these claims: what people are asked to consent to."""
        return frozenset(SCOPE_OF[c] for c in (*self.userinfo, *self.id_token) if c in SCOPE_OF)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that may be put to the person."""

    to: ReturnAddress
    scopes: tuple[str, ...]
    audience: tuple[str, ...] = ()
    nonce: str | None = None
    code_challenge: str | None = None
    prompt: frozenset[str] = frozenset()
    max_age: timedelta | None = None
    login_hint: str | None = None
    locales: tuple[str, ...] = ()
    claims: ClaimsRequest = ClaimsRequest()
    id_token_hint: str | None = None

    @property
    def client(self) -> Client:
        """Who asks."""
        return self.to.client

    @property
    def to_consent(self) -> tuple[str, ...]:
        """The scopes, with those that stand for claims asked for by name."""
        return tuple(dict.fromkeys((*self.scopes, *sorted(self.claims.scopes))))

    def stale(self, auth_time: datetime, now: datetime) -> bool:
        """Whether the person has to sign in again because it was too long ago (OpenID Connect Core 3.1.2.1)."""
        return self.max_age is not None and now - auth_time > self.max_age


def return_address(client: Client | None, parameters: Mapping[str, str]) -> ReturnAddress:
    """Where the answer may go. Raises OAuthError that must not be told by a redirect."""
    if (refusal := _unknown(client)) is not None or client is None:
        raise OAuthError("invalid_client", "this application is not registered here, or is turned off", why=refusal)
    if GrantType.AUTHORIZATION_CODE not in client.grant_types:
        raise OAuthError("unauthorized_client", "this application may not sign people in")
    uri = parameters.get("redirect_uri")
    if uri is None:
        if len(client.redirect_uris) != 1 or OPENID in parameters.get("scope", "").split(" "):
            raise OAuthError("invalid_request", "the parameter redirect_uri is missing", why="redirect_uri_missing")
        return ReturnAddress(client, client.redirect_uris[0], parameters.get("state"), explicit=False)
    if not client.redirects_to(uri):
        raise OAuthError(
            "invalid_request", "the redirect URI is not registered for this application", why="redirect_uri_mismatch"
        )
    return ReturnAddress(client, uri, parameters.get("state"), explicit=True)


def _unknown(client: Client | None) -> str | None:
    """Why nobody may be led to this application, or None; callers are not told which it is."""
    if client is None:
        return "client_unknown"
    return "client_built_in" if client.built_in else client.refusal()


def read_request(to: ReturnAddress, parameters: Parameters) -> AuthorizationRequest:
    """All the rest of a request; raises OAuthError that is told by a redirect to `to`."""
    _refuse_unsupported(parameters)
    prompt = frozenset(parameters.get("prompt", "").split())
    if not prompt <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise OAuthError("invalid_request", "prompt is none alone, or some of login, consent and select_account")
    scopes = allowed_scopes(to.client, parameters.get("scope", "").split(" "))
    if not scopes:
        raise OAuthError("invalid_scope", "no scope was asked for that this application may have")
    nonce = parameters.get("nonce")
    return AuthorizationRequest(
        to,
        scopes,
        audience=granted_audience(to.client, parameters.resources),
        nonce=nonce,
        code_challenge=_challenge(to.client, parameters, scopes, nonce),
        prompt=prompt,
        max_age=_max_age(parameters.get("max_age")),
        login_hint=parameters.get("login_hint"),
        locales=tuple(parameters.get("ui_locales", "").split()[:_LOCALES_MAX]),
        claims=_claims(parameters.get("claims"), to.client) if OPENID in scopes else ClaimsRequest(),
        id_token_hint=parameters.get("id_token_hint"),
    )


def _refuse_unsupported(parameters: Mapping[str, str]) -> None:
    """OpenID Connect Core 3.1.2.6, 6 and 7.2.1: what we do not support is named, not ignored."""
    for name in ("request", "request_uri", "registration"):
        if name in parameters:
            raise OAuthError(f"{name}_not_supported", f"the parameter {name} is not supported")
    if "response_type" not in parameters:
        raise OAuthError("invalid_request", "the parameter response_type is missing")
    if parameters["response_type"] != "code":
        raise OAuthError("unsupported_response_type", "the one response type is code")
    if parameters.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "the one response mode is query")


def _challenge(client: Client, parameters: Mapping[str, str], scopes: tuple[str, ...], nonce: str | None) -> str | None:
    """RFC 7636, 4.3, with S256 only; RFC 9700, 2.1.1: a confidential client may use the nonce of OpenID Connect."""
    challenge = parameters.get("code_challenge")
    if challenge is None:
        if "code_challenge_method" in parameters:
            raise OAuthError("invalid_request", "code_challenge_method without code_challenge")
        if client.require_pkce or nonce is None or OPENID not in scopes:
            raise OAuthError(
                "invalid_request",
                "PKCE is required: send code_challenge with the method S256",
                why="code_challenge_missing",
            )
        return None
    if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise OAuthError(
            "invalid_request", "the one code_challenge_method is S256", why="code_challenge_method_unsupported"
        )
    return challenge


def _max_age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise OAuthError("invalid_request", "max_age is a number of seconds")
    return timedelta(seconds=int(text))


def _claims(text: str | None, client: Client) -> ClaimsRequest:
    """The `claims` parameter; members that are not known are ignored (OpenID Connect Core 5.5), and so are those that
    the client could not have by a scope: what is registered is all it can be given."""
    if text is None:
        return ClaimsRequest()
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict) or not all(isinstance(asked.get(k, {}), dict) for k in ("userinfo", "id_token")):
        raise OAuthError("invalid_request", "claims is a JSON object of objects")
    userinfo, id_token = asked.get("userinfo", {}), asked.get("id_token", {})
    wanted = id_token.get("acr")
    acr = wanted.get("values", [wanted.get("value")]) if isinstance(wanted, dict) and wanted.get("essential") else ()
    subject = id_token.get("sub")
    value = subject.get("value") if isinstance(subject, dict) else None
    told = {name for name, scope in SCOPE_OF.items() if scope in client.scopes}
    return ClaimsRequest(
        tuple(name for name in userinfo if name in told),
        tuple(name for name in id_token if name in told | _OF_THE_SIGN_IN),
        tuple(v for v in acr if isinstance(v, str)) if isinstance(acr, list | tuple) else (),
        value if isinstance(value, str) else None,
    )


def granted_audience(client: Client, resources: Sequence[str]) -> tuple[str, ...]:
    """Which of the client's audiences a token is for: those it names (RFC 8707, 2.2), or all. Raises OAuthError."""
    for resource in resources:
        if not is_resource(resource) or resource not in client.audiences:
            raise OAuthError("invalid_target", "a resource that is not registered for this application")
    return tuple(dict.fromkeys(resources)) or client.audiences


def answer(to: ReturnAddress, issuer: str, parameters: Mapping[str, str]) -> str:
    """The redirect that carries an answer (RFC 6749, 4.1.2 and 4.1.2.1), with `state` as it came and `iss` against
    mix-up of servers (RFC 9207, 2). A query that the redirect URI has is kept."""
    given = {**parameters, "iss": issuer}
    if to.state is not None:
        given["state"] = to.state
    joint = "&" if "?" in to.redirect_uri else "?"
    return f"{to.redirect_uri}{joint}{urlencode(given)}"


def verifies(challenge: str | None, verifier: str | None) -> bool:
    """Whether the verifier fits (RFC 7636, 4.6). A verifier without a challenge, and a challenge without a verifier,
    are downgrades (RFC 9700, 2.1.1 and 4.8.2), and do not."""
    if challenge is None or verifier is None:
        return challenge is None and verifier is None
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), challenge.encode())
