"""Connected applications: what a person has let them have, and how that is taken back."""

from collections.abc import Sequence
from dataclasses import dataclass

from application.audit import Trail
from application.open_sessions import own_id
from application.repetition import safe_to_repeat
from domain.audit import Action
from domain.clients import Client, ClientId
from domain.consents import Consent
from domain.policies import Actor
from domain.ports import Clients, Clock, Consents, Sessions, Transaction, Users
from domain.sessions import EndReason


@dataclass(frozen=True, slots=True)
class ListConsents:
    """The actor's own consents with their applications, the oldest first."""

    consents: Consents
    clients: Clients
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor) -> Sequence[tuple[Consent, Client]]:
        """Those of applications that are gone are left out. Raises Forbidden for an actor who is no user."""
        found = []
        async with self.transaction():
            for consent in await self.consents.of_user(own_id(actor)):
                client = await self.clients.find(consent.client_id)
                if client is not None:
                    found.append((consent, client))
        return found


@dataclass(frozen=True, slots=True)
class WithdrawConsent:
    """The application is asked again next time, and what it has of the person ends before this answers."""

    users: Users
    consents: Consents
    sessions: Sessions
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, client_id: ClientId) -> None:
        """Doing it twice is no error. Raises Forbidden for an actor who is no user."""
        user_id = own_id(actor)
        async with self.transaction():
            await self.users.locked(user_id)  # orders this against codes that are being redeemed
            there = await self.consents.remove(user_id, client_id)
            open_sessions = [session.id for session in await self.sessions.open_at(user_id, client_id)]
            ended = await self.sessions.end(open_sessions, self.clock.now(), EndReason.CONSENT_WITHDRAWN)
            if there or ended:
                details = {"sessions_ended": len(ended)}
                await self.trail.record(actor, Action.CONSENT_WITHDRAWN, f"client:{client_id}", details)
