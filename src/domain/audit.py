"""The audit trail: who did what to whom, from where, and how it ended. Ids only, never addresses of people."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from domain.policies import Actor, Origin
from domain.scopes import EVERYWHERE, Scope

EventId = NewType("EventId", UUID)
type Details = Mapping[str, str | int | bool | None]


class Action(StrEnum):
    """What can happen; a value never changes its meaning."""

    INSTALLATION_PREPARED = "installation.prepared"
    USER_CREATED = "user.created"
    USER_REGISTERED = "user.registered"
    USER_UPDATED = "user.updated"
    USER_SUSPENDED = "user.suspended"
    USER_REACTIVATED = "user.reactivated"
    USER_DELETED = "user.deleted"
    PASSWORD_SET = "user.password_set"  # noqa: S105  # an action, not a secret
    PASSWORD_CHANGED = "user.password_changed"  # noqa: S105  # likewise
    SESSIONS_ENDED = "user.sessions_ended"
    ROLE_CREATED = "role.created"
    ROLE_UPDATED = "role.updated"
    ROLE_DELETED = "role.deleted"
    GRANT_CREATED = "grant.created"
    GRANT_UPDATED = "grant.updated"
    GRANT_REVOKED = "grant.revoked"
    SIGN_IN = "session.started"
    SIGN_IN_FAILED = "session.sign_in_failed"
    SIGN_OUT = "session.ended"
    REFRESHED = "session.refreshed"
    REFRESH_REFUSED = "session.refresh_refused"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    CLIENT_CREATED = "client.created"
    CLIENT_UPDATED = "client.updated"
    CLIENT_DELETED = "client.deleted"
    CLIENT_SECRET_ROTATED = "client.secret_rotated"  # noqa: S105  # an action, not a secret
    CLIENT_REFUSED = "client.authentication_refused"
    CONSENT_GRANTED = "consent.granted"
    CONSENT_REFUSED = "consent.refused"
    CONSENT_WITHDRAWN = "consent.withdrawn"
    AUTHORIZATION_REFUSED = "authorization.refused"
    CODE_ISSUED = "authorization_code.issued"
    CODE_REDEEMED = "authorization_code.redeemed"
    CODE_REFUSED = "authorization_code.refused"
    CLIENT_TOKENS = "client.tokens_issued"
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  # likewise


class Outcome(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One fact that is never changed. `actor` is `user:<id>`, `operator:<name>`, `system:<job>` or `anonymous`;
    `subject` is what it was done to, such as `user:<id>` or `role:<name>`."""

    id: EventId
    at: datetime
    actor: str
    action: Action
    subject: str | None
    outcome: Outcome = Outcome.SUCCESS
    reason: str | None = None
    scope: Scope = EVERYWHERE
    door: str = "system"
    address: str | None = None
    correlation_id: str | None = None
    details: Details = field(default_factory=dict)


def by_actor(
    id: EventId, at: datetime, actor: Actor, action: Action, subject: str | None, scope: Scope, details: Details
) -> AuditEvent:
    """What a known actor did, successfully."""
    if actor.facts is not None and actor.session_id is None:
        details = {**details, "as_user": str(actor.facts.user_id)}
    event = by_origin(id, at, actor.origin, action, actor.label, subject, Outcome.SUCCESS, None, details)
    return replace(event, scope=scope)


def by_origin(
    id: EventId,
    at: datetime,
    origin: Origin,
    action: Action,
    actor: str,
    subject: str | None,
    outcome: Outcome,
    reason: str | None,
    details: Details,
) -> AuditEvent:
    """What happened at a door before, or without, an actor: sign-in, refresh, and their refusals."""
    return AuditEvent(
        id,
        at,
        actor,
        action,
        subject,
        outcome,
        reason,
        door=origin.door,
        address=origin.address,
        correlation_id=origin.correlation_id,
        details=details,
    )
