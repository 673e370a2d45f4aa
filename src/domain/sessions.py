"""Sessions, and the families of refresh tokens that keep them alive.

A family is one row with a counter, however often it is refreshed. Presenting the current generation moves it on;
presenting the one before, within a short grace, gives the same successor again; anything older is theft.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

from domain.clients import API_SCOPE, Client, ClientId
from domain.users import UserId, UserStatus

SessionId = NewType("SessionId", UUID)
FamilyId = NewType("FamilyId", UUID)

SESSION_IDLE = timedelta(hours=8)
SESSION_LIFETIME = timedelta(days=30)
SESSIONS_PER_USER = 50
GRACE = timedelta(seconds=10)


class EndReason(StrEnum):
    """Why a session or family ended."""

    SIGNED_OUT = "signed_out"
    SUSPENDED = "user_suspended"
    DELETED = "user_deleted"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a reason, not a secret
    REPLAYED = "replayed"
    ROLLED_BACK = "state_rolled_back"
    TOO_MANY = "too_many_sessions"
    CLIENT_DISABLED = "client_disabled"
    REVOKED = "revoked"
    CODE_REPLAYED = "code_replayed"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of a user on a device; `auth_time` and `amr` (RFC 8176) say when and how.

    With a `parent` it is what an application has of the browser's session, and ends with it. An `offline` one
    (OpenID Connect Core 11) has none: it outlives the browser's, and is idle only when its refresh token is.
    """

    id: SessionId
    user_id: UserId
    client_id: ClientId
    created_at: datetime
    auth_time: datetime
    amr: tuple[str, ...]
    last_used_at: datetime
    expires_at: datetime
    address: str | None = None
    user_agent: str | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    parent_id: SessionId | None = None
    offline: bool = False

    def used(self, rotated_at: datetime | None) -> "Session":
        """With its last use: that of a session that is refreshed stands in its family alone, as `rotated_at`."""
        return self if rotated_at is None or rotated_at <= self.last_used_at else replace(self, last_used_at=rotated_at)

    def refusal(self, now: datetime, last_used_at: datetime | None = None) -> str | None:
        """Why this session allows nothing at `now`, or None. A family's last refresh counts as use of its session."""
        if self.ended_at is not None:
            return f"session_{self.end_reason or 'ended'}"
        used = max(self.last_used_at, last_used_at or self.last_used_at)
        if now >= self.expires_at or (not self.offline and now >= used + SESSION_IDLE):
            return "session_expired"
        return None


def surplus(held: Sequence[Session]) -> Sequence[Session]:
    """Which of these, the oldest first, have to end before there is one more. Sign-ins of the person are counted by
    themselves, and so is what each application has offline: it must not end their devices by coming often."""
    return held[: max(0, len(held) - SESSIONS_PER_USER + 1)]


@dataclass(frozen=True, slots=True)
class Family:
    """A chain of refresh tokens. `counter` is the generation that may be used next, `key_id` the key it was written
    with (so that a repeat is byte for byte the same), `epoch` the life of the database it belongs to. What was granted
    are `scope` (RFC 6749, 3.3), `audience` (besides ourselves) and `claims` (asked for at userinfo)."""

    id: FamilyId
    session_id: SessionId
    user_id: UserId
    client_id: ClientId
    counter: int
    key_id: str
    epoch: int
    created_at: datetime
    rotated_at: datetime
    idle: timedelta
    expires_at: datetime
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    scope: str = API_SCOPE
    audience: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()

    @classmethod
    def begun(cls, id: FamilyId, session: Session, client: Client, key_id: str, epoch: int, now: datetime) -> "Family":
        """The first generation of that client's tokens in that session, with what Hexward's own applications get."""
        return cls(
            id=id,
            session_id=session.id,
            user_id=session.user_id,
            client_id=client.id,
            counter=0,
            key_id=key_id,
            epoch=epoch,
            created_at=now,
            rotated_at=now,
            idle=client.family_idle,
            expires_at=now + client.family_lifetime,
        )

    def alive(self, now: datetime) -> bool:
        """Neither ended nor expired."""
        return self.ended_at is None and now < min(self.expires_at, self.rotated_at + self.idle)

    def ended(self, now: datetime, reason: EndReason) -> "Family":
        """The family closed for good; the first reason stands."""
        return self if self.ended_at is not None else replace(self, ended_at=now, end_reason=reason)


@dataclass(frozen=True, slots=True)
class Rotated:
    """The presented token was current; `family` has moved on by one."""

    family: Family


@dataclass(frozen=True, slots=True)
class Repeated:
    """The answer was lost on the way: the same successor again."""

    family: Family


@dataclass(frozen=True, slots=True)
class Refused:
    """No token. `family` is the state to save, ended where the refusal is a theft or a rolled-back database."""

    family: Family
    reason: str


def rotate(
    family: Family, presented: int, key_id: str, now: datetime, grace: timedelta = GRACE
) -> Rotated | Repeated | Refused:
    """Exchange generation `presented` for its successor, written with `key_id` (RFC 9700, 4.14.2)."""
    if family.ended_at is not None:
        return Refused(family, f"family_{family.end_reason or 'ended'}")
    if not family.alive(now):
        return Refused(family, "family_expired")
    if presented == family.counter:
        return Rotated(replace(family, counter=presented + 1, rotated_at=now, key_id=key_id))
    if presented > family.counter:  # signed by us, yet unknown to the row: the database went back in time
        return Refused(family.ended(now, EndReason.ROLLED_BACK), EndReason.ROLLED_BACK)
    if presented == family.counter - 1 and now < family.rotated_at + grace:
        return Repeated(family)
    return Refused(family.ended(now, EndReason.REPLAYED), EndReason.REPLAYED)


def exit_refusal(
    status: UserStatus | None,
    session: Session | None,
    client: Client | None,
    now: datetime,
    last_used_at: datetime | None = None,
) -> str | None:
    """The one exit check: why no token may leave, or None. Called by every grant and every refresh.

    "Disabled" accounts that keep getting tokens by some forgotten path are the field's most repeated advisory.
    """
    if status is not UserStatus.ACTIVE:
        return f"user_{status or 'unknown'}"
    if client is None or (refusal := client.refusal()) is not None:
        return "client_unknown" if client is None else refusal
    if session is None:
        return "session_unknown"
    return session.refusal(now, last_used_at)
