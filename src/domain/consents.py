"""Consents: what a person has let an application have."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from domain.clients import ClientId
from domain.users import UserId


@dataclass(frozen=True, slots=True)
class Consent:
    """The scopes one user has granted one client; one a (user, client)."""

    user_id: UserId
    client_id: ClientId
    scopes: frozenset[str]
    granted_at: datetime
    updated_at: datetime

    def covers(self, scopes: Iterable[str]) -> bool:
        """Whether nothing more has to be asked."""
        return self.scopes >= set(scopes)

    def widened(self, scopes: Iterable[str], now: datetime) -> "Consent":
        """With these as well."""
        return replace(self, scopes=self.scopes | set(scopes), updated_at=now)
