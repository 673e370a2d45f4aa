"""Sign-out that an application asks for (OpenID Connect RP-Initiated Logout 1.0)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from application.audit import Trail
from application.authority import LiveAuthority
from application.browser import Browser
from application.repetition import safe_to_repeat
from domain.audit import Action
from domain.authorization import Parameters
from domain.clients import Client, ClientId
from domain.errors import OAuthError
from domain.policies import Origin
from domain.ports import Clock, IdTokens, Sessions, Transaction
from domain.sessions import EndReason


@dataclass(frozen=True, slots=True)
class Leaving:
    """A request to sign out: which application asks, where the browser goes afterwards, and whether it may be done
    without asking, because the application knows who it is."""

    client: Client | None
    return_to: str | None
    known: bool


@dataclass(frozen=True, slots=True)
class Logout:
    """Reads such requests, and signs browsers out."""

    sessions: Sessions
    id_tokens: IdTokens
    authority: LiveAuthority
    trail: Trail
    clock: Clock
    transaction: Transaction

    async def read(self, parameters: Parameters, browser: Browser | None) -> Leaving:
        """Raises OAuthError, for a page of ours, where the request names what is not registered (section 3)."""
        hint = self._hint(parameters)
        named = parameters.get("client_id")
        audience = None if hint is None else hint.get("aud")
        if hint is not None and named is not None and audience != named:
            raise OAuthError("invalid_request", "the id_token_hint was given to another application")
        id = named if named is not None else audience
        client = await self.authority.client(ClientId(id)) if isinstance(id, str) else None
        return_to = parameters.get("post_logout_redirect_uri")
        if return_to is not None:
            if client is None or return_to not in client.post_logout_redirect_uris:
                raise OAuthError("invalid_request", "the post_logout_redirect_uri is not registered")
            if (state := parameters.get("state")) is not None:
                return_to += ("&" if "?" in return_to else "?") + urlencode({"state": state})
        known = hint is not None and (browser is None or hint.get("sub") == str(browser.user.id))
        return Leaving(client, return_to, known)

    def _hint(self, parameters: Mapping[str, str]) -> Mapping[str, object] | None:
        text = parameters.get("id_token_hint")
        if text is None:
            return None
        hint = self.id_tokens.hint(text)
        if hint is None:
            raise OAuthError("invalid_request", "the id_token_hint is none of ours")
        return hint

    @safe_to_repeat
    async def sign_out(self, browser: Browser, origin: Origin) -> None:
        """End the browser's session with all that applications have of it, before it is told."""
        async with self.transaction():
            if not await self.sessions.end([browser.session.id], self.clock.now(), EndReason.SIGNED_OUT):
                return
            await self.trail.record_at_door(
                origin,
                Action.SIGN_OUT,
                actor=f"user:{browser.user.id}",
                subject=f"session:{browser.session.id}",
                reason=EndReason.SIGNED_OUT,
            )
