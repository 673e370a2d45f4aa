"""Clients prove who they are (RFC 6749, 2.3; OpenID Connect Core 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from application.authority import LiveAuthority
from application.oauth.sampling import Refusals
from application.repetition import safe_to_repeat
from application.sessions import Issuer
from domain.audit import Action
from domain.authorization import Parameters
from domain.clients import AuthMethod, Client, ClientId
from domain.errors import Conflict, OAuthError, Unavailable
from domain.one_time import OneTimeKind, OneTimeValue, one_time_hash
from domain.policies import Origin
from domain.ports import Assertion, ClientAssertions, Clock, OneTimeValues, Transaction

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY = timedelta(seconds=30)
"""For the clocks of others."""
ASSERTION_MAX = timedelta(hours=1)
"""How far ahead the end of an assertion may lie, and how far back its beginning: what common libraries write by
themselves. What is replayed is remembered for as long as it could be."""


@dataclass(frozen=True, slots=True)
class Basic:
    """What the Authorization header says (RFC 6749, 2.3.1), decoded."""

    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthenticateClient:
    """Who a request to the token endpoint comes from, proven by the one method that the client is registered for."""

    authority: LiveAuthority
    assertions: ClientAssertions
    used: OneTimeValues
    refused: Refusals
    clock: Clock
    transaction: Transaction
    issuer: Issuer

    async def __call__(self, parameters: Parameters, basic: Basic | None, origin: Origin) -> Client:
        """Raises OAuthError: `invalid_client`, the same for an unknown client and a wrong proof, or `invalid_request`
        for more than one method at once. A refusal is told to the audit trail first."""
        method, id = self._method(parameters, basic)
        client = None if id is None else await self.authority.client(ClientId(id))
        now = self.clock.now()
        if client is None:
            reason: str | None = "client_unknown"
        elif client.refusal() is not None:
            reason = client.refusal()
        elif client.auth_method is not method:
            reason = "method_not_registered"
        else:
            reason = await self._unproven(client, parameters, basic, now)
        if reason is not None or client is None:
            subject = None if client is None else f"client:{client.id}"
            told = {"method": method.value}
            await self.refused.tell(
                Action.CLIENT_REFUSED, reason or "client_unknown", origin, subject=subject, details=told
            )
            raise OAuthError("invalid_client", "client authentication failed")
        return client

    def _method(self, parameters: Parameters, basic: Basic | None) -> tuple[AuthMethod, str | None]:
        """What the request tries, and for whom."""
        named = parameters.get("client_id")
        assertion = parameters.get("client_assertion")
        tried = [
            method
            for method, there in (
                (AuthMethod.BASIC, basic is not None),
                (AuthMethod.POST, "client_secret" in parameters),
                (AuthMethod.PRIVATE_KEY_JWT, assertion is not None or "client_assertion_type" in parameters),
            )
            if there
        ]
        if len(tried) > 1:
            raise OAuthError("invalid_request", "use one method of client authentication")
        if basic is not None:
            id: str | None = basic.client_id
        elif tried == [AuthMethod.PRIVATE_KEY_JWT]:
            if parameters.get("client_assertion_type") != ASSERTION_TYPE or assertion is None:
                raise OAuthError("invalid_request", "the client assertion is not of the type jwt-bearer")
            id = self.assertions.claimed(assertion)
        else:
            id = named
        if named is not None and id is not None and named != id:
            raise OAuthError("invalid_request", "client_id names another client")
        return (tried[0] if tried else AuthMethod.NONE), id

    async def _unproven(
        self, client: Client, parameters: Mapping[str, str], basic: Basic | None, now: datetime
    ) -> str | None:
        match client.auth_method:
            case AuthMethod.NONE:
                return None
            case AuthMethod.BASIC | AuthMethod.POST:
                secret = basic.secret if basic is not None else parameters.get("client_secret", "")
                return None if client.accepts_secret(secret, now) else "secret_wrong"
            case AuthMethod.PRIVATE_KEY_JWT:
                return await self._assertion_unproven(client, parameters.get("client_assertion", ""), now)

    async def _assertion_unproven(self, client: Client, text: str, now: datetime) -> str | None:
        """RFC 7523, 3, with one audience, so that no other server can pass on what was meant for it."""
        try:
            assertion = await self.assertions.read(text, client, now)
        except Unavailable as error:  # the client's site is no fault of ours, and its state is nobody's business
            return error.reason_code
        if assertion is None:
            return "assertion_signature"
        if (wrong := self._wrong(assertion, client, now)) is not None:
            return wrong
        value = OneTimeValue(
            OneTimeKind.ASSERTION,
            one_time_hash(f"{client.id}\0{assertion.id}"),
            created_at=now,
            expires_at=assertion.expires_at + LEEWAY,
            client_id=client.id,
            used_at=now,
        )
        try:
            await self._use(value)
        except Conflict:
            return "assertion_replayed"
        return None

    @safe_to_repeat
    async def _use(self, value: OneTimeValue) -> None:
        async with self.transaction():
            await self.used.add(value)

    def _wrong(self, assertion: Assertion, client: Client, now: datetime) -> str | None:
        audiences = {self.issuer, f"{self.issuer}/oauth2/token"} if client.token_url_audience else {self.issuer}
        if (assertion.issuer, assertion.subject) != (client.id, client.id):
            return "assertion_issuer"
        if len(assertion.audience) != 1 or assertion.audience[0] not in audiences:
            return "assertion_audience"
        if assertion.id is None or not 0 < len(assertion.id) <= 255:
            return "assertion_without_id"
        begins = [at for at in (assertion.issued_at, assertion.not_before) if at is not None]
        if any(at > now + LEEWAY or at < now - ASSERTION_MAX for at in begins):
            return "assertion_time"
        if not now - LEEWAY < assertion.expires_at <= now + ASSERTION_MAX + LEEWAY:
            return "assertion_time"
        return None
