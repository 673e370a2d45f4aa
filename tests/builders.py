"""Valid objects for tests: `a_user(status=UserStatus.SUSPENDED)` changes only what the test is about."""

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from domain.audit import Action, AuditEvent, EventId
from domain.clients import FIRST_PARTY, AuthMethod, Client, ClientId, ClientSecret, GrantType, secret_hash
from domain.consents import Consent
from domain.credentials import PasswordCredential
from domain.keys import Key, KeyUse
from domain.one_time import OneTimeKind, OneTimeValue, one_time_hash
from domain.policies import Actor, Facts, Origin
from domain.roles import BUILT_IN_ROLES, Grant, GrantId, Permission, Role, Rules
from domain.sessions import SESSION_LIFETIME, Family, FamilyId, Session, SessionId
from domain.users import User, UserId, UserStatus

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
KEY_ID = "0123456789abcdef"

_numbers = itertools.count(1)


class SettableClock:
    """The Clock port on time that only moves when told: by `move`, or by somebody sleeping."""

    def __init__(self, now: datetime = NOW) -> None:
        self._start = self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.move(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def move(self, by: timedelta) -> datetime:
        """Let time pass; the new time."""
        self._now += by
        return self._now


def new_id(at: datetime = NOW) -> UUID:
    """A UUIDv7 of that moment; those made later ascend."""
    number = next(_numbers)
    millis = int(at.timestamp() * 1000)
    return UUID(int=millis << 80 | 7 << 76 | (number >> 62 & 0xFFF) << 64 | 2 << 62 | number & (1 << 62) - 1)


def a_user(**changes: Any) -> User:
    """An active user with an address of their own."""
    number = next(_numbers)
    user = User(
        id=UserId(new_id()),
        email=f"user{number}@example.org",
        created_at=NOW,
        updated_at=NOW,
        email_verified=True,
        display_name=f"User {number}",
    )
    return replace(user, **changes)


def permissions(*texts: str) -> frozenset[Permission]:
    """`permissions("users:read", "docs:*")`."""
    return frozenset(map(Permission.parse, texts))


def a_role(name: str | None = None, *texts: str, parents: Iterable[str] = (), **changes: Any) -> Role:
    """A role with these permissions and parents."""
    role = Role(name or f"role{next(_numbers)}", permissions(*texts), NOW, NOW, parents=frozenset(parents))
    return replace(role, **changes)


def rules_of(*roles: Role, version: int = 0) -> Rules:
    """The built-in roles and these."""
    built_in = [Role(name, held, NOW, NOW, text, built_in=True) for name, (text, held) in BUILT_IN_ROLES.items()]
    return Rules({role.name: role for role in (*built_in, *roles)}, version)


def a_grant(user: User | UserId | None = None, role: str = "user", **changes: Any) -> Grant:
    """An unending grant everywhere."""
    holder = user.id if isinstance(user, User) else user or UserId(new_id())
    return replace(Grant(GrantId(new_id()), holder, role, "system:test", NOW), **changes)


def facts_of(*grants: Grant, **changes: Any) -> Facts:
    """What counts about an active user with these grants."""
    user_id = grants[0].user_id if grants else UserId(new_id())
    return replace(Facts(user_id, UserStatus.ACTIVE, grants), **changes)


def an_actor(*grants: Grant, rules: Rules | None = None, at: datetime = NOW, **changes: Any) -> Actor:
    """A signed-in user with these grants; `changes` are those of their facts."""
    return Actor.from_token(facts_of(*grants, **changes), rules or rules_of(), at, new_id(), Origin(door="test"))


def a_client(**changes: Any) -> Client:
    """The built-in public client."""
    return replace(Client(FIRST_PARTY, "Hexward API"), **changes)


def an_application(**changes: Any) -> Client:
    """A registered client that people sign in to, and that proves itself by a secret."""
    number = next(_numbers)
    client = Client(
        id=ClientId(f"application{number}"),
        name=f"Application {number}",
        auth_method=AuthMethod.BASIC,
        grant_types=frozenset({GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN}),
        redirect_uris=("https://app.example.org/callback",),
        scopes=("openid", "profile", "offline_access"),
        secrets=(ClientSecret(secret_hash("hws_secret"), NOW),),
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(client, **changes)


def a_consent(user: User, client: Client, *scopes: str, **changes: Any) -> Consent:
    """What that user lets that client have."""
    return replace(Consent(user.id, client.id, frozenset(scopes), NOW, NOW), **changes)


def a_code(user: User | None = None, **changes: Any) -> OneTimeValue:
    """An authorization code that can be used for a minute."""
    code = OneTimeValue(
        kind=OneTimeKind.AUTHORIZATION_CODE,
        hash=one_time_hash(f"code{next(_numbers)}"),
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=1),
        client_id=FIRST_PARTY,
        user_id=None if user is None else user.id,
    )
    return replace(code, **changes)


def a_session(user: User | UserId | None = None, **changes: Any) -> Session:
    """A session that has just begun."""
    owner = user.id if isinstance(user, User) else user or UserId(new_id())
    session = Session(
        id=SessionId(new_id()),
        user_id=owner,
        client_id=FIRST_PARTY,
        created_at=NOW,
        auth_time=NOW,
        amr=("pwd",),
        last_used_at=NOW,
        expires_at=NOW + SESSION_LIFETIME,
        address="192.0.2.7",
        user_agent="tests",
    )
    return replace(session, **changes)


def a_family(session: Session | None = None, **changes: Any) -> Family:
    """A family that has just begun, of that session."""
    session, client = session or a_session(), a_client()
    family = Family(
        id=FamilyId(new_id()),
        session_id=session.id,
        user_id=session.user_id,
        client_id=session.client_id,
        counter=0,
        key_id=KEY_ID,
        epoch=1,
        created_at=NOW,
        rotated_at=NOW,
        idle=client.family_idle,
        expires_at=NOW + client.family_lifetime,
    )
    return replace(family, **changes)


def a_key(use: KeyUse = KeyUse.SIGN, **changes: Any) -> Key:
    """A key that is in use since now."""
    key = Key(
        id=f"{next(_numbers):016x}",
        use=use,
        algorithm="ES256" if use is KeyUse.SIGN else "HS256",
        created_at=NOW,
        activates_at=NOW,
        sealed=b"\x00sealed\xff",
        public={"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ"} if use is KeyUse.SIGN else {},
    )
    return replace(key, **changes)


def an_event(at: datetime = NOW, **changes: Any) -> AuditEvent:
    """A successful sign-in of nobody in particular."""
    return replace(AuditEvent(EventId(new_id(at)), at, "anonymous", Action.SIGN_IN, None), **changes)


def a_password(user: User, **changes: Any) -> PasswordCredential:
    """A stored password of that user; the hash has the form of one and matches nothing."""
    return replace(PasswordCredential(user.id, "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", NOW), **changes)
