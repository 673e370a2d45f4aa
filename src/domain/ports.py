"""Everything the core asks of the outside world, on one page. Each port has a contract suite in `tests/contracts/`.

Storage ports are used inside `Transaction` only; what a transaction wrote is seen by others after it ends well, and
never if it raises. A refusal (Conflict, Invalid) spoils the transaction: swallowing it makes the commit fail. All of
them may raise Unavailable when what they stand on cannot answer; callers need not handle it. What cannot be stored as
text (NUL, lone surrogates) is not found. A position that no page gave raises Invalid (`cursor_malformed`). Texts sort
by code point; names are compared as `email_key` folds them.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.audit import Action, AuditEvent, EventId
from domain.clients import Client, ClientId
from domain.credentials import Failures, PasswordCredential
from domain.idempotency import Answered
from domain.keys import Key
from domain.limits import Allowance, Quota
from domain.policies import Facts
from domain.roles import Grant, GrantId, Role, Rules
from domain.scopes import Scope
from domain.sessions import EndReason, Family, FamilyId, Session, SessionId
from domain.tokens import AccessClaims
from domain.upkeep import Leftover, Removed, Upkept
from domain.users import User, UserId, UserStatus

# ---------------------------------------------------------------------------------------------------- time and chance


class Clock(Protocol):
    """Time. `now` is for what is stored and compared with it, `monotonic` (seconds) for measuring how long."""

    def now(self) -> datetime:
        """The time, aware, UTC, to the microsecond."""

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets."""

    async def sleep(self, seconds: float) -> None:
        """Return after that long; cancellable."""


class Secrets(Protocol):
    """Randomness: ids that sort by time, and values that cannot be guessed."""

    def uuid(self, now: datetime) -> UUID:
        """A UUIDv7 (RFC 9562) of that moment; those of one process ascend."""

    def token(self, size: int) -> bytes:
        """`size` random bytes, fit for keys."""


# ------------------------------------------------------------------------------------------------------------- storage


class Transaction(Protocol):
    """`async with transaction():` all or nothing. Use cases own it; they never nest."""

    def __call__(self) -> AbstractAsyncContextManager[None]:
        """Begin; commit at the end of the block, roll back if it raises or is cancelled."""

    def reading(self) -> AbstractAsyncContextManager[None]:
        """For `find`, `facts`, `rules`, `all` and `read` that each stand alone, and are cheaper for it: every one sees
        what is committed when it begins. Whatever may write raises RuntimeError."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """As `reading`, and for a write that is a transaction of its own (`Families.advance`): stored when it returns,
        and kept whatever happens then. Undone does not say that it was not: who repeats it finds what it did."""


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Some items in order. `after` continues behind the last one (a keyset position), None at the end."""

    items: Sequence[T]
    after: tuple[str, UUID] | None = None


class UserSort(StrEnum):
    """What users can be listed by; the id breaks ties."""

    CREATED_AT = "created_at"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which users: visible at any of `scopes`, in that `status` (None: all but deleted), whose e-mail, username or
    display name begins with `text`, caseless and taken literally. `after` is a Page's, for the same sort."""

    scopes: Collection[Scope]
    status: UserStatus | None = None
    text: str | None = None
    sort: UserSort = UserSort.CREATED_AT
    descending: bool = False
    limit: int = 50
    after: tuple[str, UUID] | None = None


class Users(Protocol):
    """People. `email_key` and `username_key` are unique; whatever was stored can be read back."""

    async def add(self, user: User) -> None:
        """Store a new user; raises Conflict (`email_taken`, `username_taken`)."""

    async def find(self, id: UserId) -> User | None:
        """The user, or None."""

    async def find_many(self, ids: Collection[UserId]) -> Mapping[UserId, User]:
        """Those of the users that exist."""

    async def locked(self, id: UserId) -> User | None:
        """The user, held against other writers until the transaction ends. Lock the user before anything of theirs."""

    async def by_login(self, identifier: str) -> User | None:
        """The user of this e-mail address (if it has an @) or username, in whatever case; None if deleted."""

    async def save(self, user: User) -> None:
        """Replace a locked user; raises Conflict (`email_taken`, `username_taken`)."""

    async def page(self, query: UserQuery) -> Page[User]:
        """Users in order."""

    async def facts(self, id: UserId) -> Facts | None:
        """What counts for decisions about a user: status, authority version, and all grants, lapsed ones included."""

    async def record_sign_in(self, id: UserId, at: datetime) -> None:
        """Remember the last sign-in, which never moves back; not part of the user, so it changes no version."""

    async def last_sign_in(self, id: UserId) -> datetime | None:
        """When the user last signed in."""


class Credentials(Protocol):
    """Password hashes, one a user."""

    async def password(self, id: UserId) -> PasswordCredential | None:
        """The user's password, or None."""

    async def set_password(self, credential: PasswordCredential) -> None:
        """Set or replace it."""

    async def remove(self, id: UserId) -> None:
        """Forget it."""


class SignInFailures(Protocol):
    """Failed sign-ins by a keyed hash of the account name. Bounded: forgotten ones make room as others come."""

    async def get(self, key: bytes) -> Failures | None:
        """The count, or None."""

    async def add(self, key: bytes, now: datetime) -> None:
        """Count one more, atomically; a forgotten count begins again at one."""

    async def claim(self, key: bytes, seen: Failures, now: datetime) -> bool:
        """Take the one try that is due: of any number that saw the same failures, one gets it, and `last_at` becomes
        `now`, so that the next has to wait again."""

    async def give_back(self, key: bytes, seen: Failures, claimed_at: datetime) -> None:
        """Undo a claim whose try did not take place; nothing if there was another failure or success since."""

    async def clear(self, key: bytes) -> None:
        """Forget, after a success."""


class Roles(Protocol):
    """Roles by name."""

    async def rules(self) -> Rules:
        """All roles with the global rules version, consistently."""

    async def locked(self) -> Rules:
        """The same, held against other writers of roles until the transaction ends."""

    async def add(self, role: Role) -> None:
        """Store a new role; raises Conflict (`role_exists`)."""

    async def save(self, role: Role) -> None:
        """Replace a role read by `locked`."""

    async def remove(self, name: str) -> None:
        """Remove a role; raises Conflict (`role_in_use`) while a grant or a child role names it."""


@dataclass(frozen=True, slots=True)
class GrantQuery:
    """Which grants: at or below any of `scopes`, of that user and role if given, newest last."""

    scopes: Collection[Scope]
    user_id: UserId | None = None
    role: str | None = None
    limit: int = 50
    after: tuple[str, UUID] | None = None


class Grants(Protocol):
    """Grants; one a (user, role, scope)."""

    async def add(self, grant: Grant) -> None:
        """Store; raises Conflict (`grant_exists`), or Invalid (`role_unknown`) where the role is gone."""

    async def find(self, id: GrantId) -> Grant | None:
        """The grant, or None."""

    async def find_by(self, user_id: UserId, role: str, scope: Scope) -> Grant | None:
        """The grant of that role to that user at exactly that scope, or None."""

    async def save(self, grant: Grant) -> None:
        """Replace times of a grant whose user is locked."""

    async def remove(self, id: GrantId) -> None:
        """Take it away."""

    async def of_user(self, user_id: UserId) -> Sequence[Grant]:
        """All of a user's grants, in order of id."""

    async def of_users(self, ids: Collection[UserId]) -> Mapping[UserId, Sequence[Grant]]:
        """All grants of several users; users without any may be absent."""

    async def page(self, query: GrantQuery) -> Page[Grant]:
        """Grants in order of id."""

    async def administrators(self, now: datetime) -> frozenset[UserId]:
        """Active users with a direct, unending `admin` grant everywhere, under the one lock that guards the last of
        them until the transaction ends. Take it after the user's own lock."""


class Clients(Protocol):
    """Applications."""

    async def find(self, id: ClientId) -> Client | None:
        """The client, or None."""


class Sessions(Protocol):
    """Sign-ins."""

    async def add(self, session: Session) -> None:
        """Store a new session."""

    async def find(self, id: SessionId) -> Session | None:
        """The session, or None."""

    async def open_of(self, user_id: UserId) -> Sequence[Session]:
        """A user's sessions that have not ended, oldest first."""

    async def end(self, ids: Collection[SessionId], now: datetime, reason: EndReason) -> Collection[SessionId]:
        """End those sessions and **their families**, in this transaction, and tell the change feed; those that were
        open until now."""

    async def end_all_of(self, user_id: UserId, now: datetime, reason: EndReason) -> Sequence[SessionId]:
        """End all of a locked user's sessions and families; the ids of those that were open."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A family with all that its exit check asks about, of one moment."""

    family: Family
    session: Session
    client: Client
    facts: Facts


class Families(Protocol):
    """Refresh-token families: one row each, however often it is refreshed."""

    async def add(self, family: Family) -> None:
        """Store a new family."""

    async def find(self, id: FamilyId) -> Family | None:
        """The family as it is, without a lock."""

    async def standing(self, id: FamilyId) -> Standing | None:
        """The family as it is, without a lock, and whom and what it belongs to."""

    async def advance(
        self, id: FamilyId, presented: int, key_id: str, now: datetime, event: AuditEvent
    ) -> Family | None:
        """One conditional update that decides the race, with its audit event: exactly when `rotate` says Rotated.
        The family moved on, or None (look again with `locked`). May stand alone."""

    async def locked(self, id: FamilyId) -> Family | None:
        """The family, held against other writers until the transaction ends."""

    async def save(self, family: Family) -> None:
        """Replace a family read by `locked`."""

    async def last_rotations(self, ids: Collection[SessionId]) -> Mapping[SessionId, datetime]:
        """The latest `rotated_at` among the families of each of these sessions; those without any are absent."""


class Keys(Protocol):
    """Keys, their secret halves sealed."""

    async def all(self) -> Sequence[Key]:
        """All keys; an adapter may leave out those that have been retired for long."""

    async def locked(self) -> Sequence[Key]:
        """The same, held against other writers of keys until the transaction ends."""

    async def save(self, keys: Collection[Key]) -> None:
        """Store or replace, and tell the change feed."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events: at or below any of `scopes`, matching what is given, from `since` to before `until`; newest
    first."""

    scopes: Collection[Scope]
    actor: str | None = None
    subject: str | None = None
    action: Action | None = None
    since: datetime | None = None
    until: datetime | None = None
    correlation_id: str | None = None
    limit: int = 50
    after: tuple[str, UUID] | None = None


class AuditLog(Protocol):
    """Append-only: nothing here can change or remove an event, and the service's database role cannot either."""

    async def append(self, event: AuditEvent) -> None:
        """Store an event with the change it tells of."""

    async def make_room(self) -> None:
        """Prepare storage for the events of the coming weeks; cheap, and harmless at any time."""

    async def find(self, id: EventId) -> AuditEvent | None:
        """The event, or None."""

    async def page(self, query: AuditQuery) -> Page[AuditEvent]:
        """Events, newest first."""


class Answers(Protocol):
    """Answers to requests that may be sent twice. Bounded: expired ones make room as others come."""

    async def claim(self, id: bytes, now: datetime) -> Answered | None:
        """The answer under that id unless it has expired, held against other requests until the transaction ends.

        Raises Conflict (`idempotency_key_in_use`), at once or after waiting, where another one is at work on it.
        """

    async def add(self, answered: Answered, now: datetime) -> None:
        """Keep an answer whose id is claimed, in place of one that has expired."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is known of this database: `epoch` counts its lives (a restore raises it), `secret` is sealed and keys
    hashes of account names, `prepared_at` is None until the first start has finished."""

    epoch: int
    secret: bytes | None
    prepared_at: datetime | None


class Installations(Protocol):
    """The one row about the installation itself."""

    async def read(self) -> Installation:
        """As it is."""

    async def locked(self) -> Installation:
        """The same, held against other starting servers until the transaction ends."""

    async def prepared(self, secret: bytes, at: datetime) -> None:
        """Mark the first start as done."""


class Upkeep(Protocol):
    """Removes what has been kept for long enough, a little at a time, so that it holds up nobody.

    Nothing that somebody else holds is waited for: it can go another time.
    """

    async def claim(self) -> bool:
        """Whether this transaction may do upkeep: of all that ask at once, on all servers, one may until it ends."""

    async def remove(self, kind: Leftover, before: datetime, limit: int) -> Removed:
        """Remove what was over before that moment, oldest first, with all that hangs on it; at most `limit`."""

    async def drop_audit_month(self, now: datetime, kept: timedelta) -> Removed:
        """Drop the oldest month of audit events if all of it is older than `kept`, unless it is in use just now.

        The one way in which audit events ever go. Raises ValueError for less than 30 days.
        """

    async def read(self) -> Upkept:
        """How far it has come."""

    async def save(self, upkept: Upkept) -> None:
        """Remember that, for all servers."""

    async def advance(self, seen: Upkept, upkept: Upkept) -> bool:
        """Remember `upkept` if it has come just as far as `seen`; whether it had. Of all that try at once, one does."""


class Schema(Protocol):
    """Whether the storage has the shape this code expects."""

    async def lag(self) -> str | None:
        """None when it has; else what is the matter, for the operator. Needs no transaction."""


# ------------------------------------------------------------------------------------------------------- live authority


class ChangeKind(StrEnum):
    """What changed: a subject's own authority, the rules for all, a session that ended, keys, or a client."""

    AUTHORITY = "authority"
    RULES = "rules"
    SESSION = "session"
    KEYS = "keys"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `id` is the subject or session (as text), or `""` where the kind says all."""

    kind: ChangeKind
    id: str = ""


class Changes(Protocol):
    """Announces changes of authority, inside the transaction that makes them."""

    async def authority(self, user_id: UserId) -> None:
        """A user's status or grants changed: raises the subject's authority version."""

    async def rules(self) -> None:
        """Roles changed: raises the global rules version."""


@dataclass(frozen=True, slots=True)
class News:
    """What was committed since the last read. `reset`: anything may have changed, forget all that is cached."""

    changes: Sequence[Change] = ()
    reset: bool = False


class ChangeFeed(Protocol):
    """Reads what `Changes` announced, missing no late commit. One reader a worker.

    The truth is in the database; a hint only shortens the wait. After a lost connection the next read is a reset.
    """

    async def read(self) -> News:
        """Everything committed since the last read; the first is a reset."""

    async def wait(self, seconds: float) -> None:
        """Return at a hint that there is news, and at the latest after that time."""

    async def close(self) -> None:
        """Let go of what the feed holds."""


# ---------------------------------------------------------------------------------------------------------- technology


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password matched, whether its hash should be replaced by a fresh one, and how many seconds the
    comparison itself took, without waiting for its turn (0: not told)."""

    matches: bool
    outdated: bool = False
    seconds: float = field(default=0.0, compare=False)


class PasswordHasher(Protocol):
    """Slow hashes in a bounded pool of their own; raises Overloaded when its queue is full."""

    async def hash(self, password: str) -> str:
        """A fresh hash of a password, safe to store."""

    async def verify(self, password: str, hash: str | None) -> Verdict:
        """Compare with a stored hash, ours or foreign. None (no such account) costs the same and never matches."""


class Limiter(Protocol):
    """Counts how often callers ask. Bounded, however many callers there are."""

    async def take(self, quota: Quota, caller: str, cost: int = 1) -> Allowance:
        """Draw on the caller's part of a quota (`domain.limits.spend`); what is not allowed takes nothing."""


class BreachedPasswords(Protocol):
    """Passwords known to attackers, by list or by a service."""

    async def contains(self, password: str) -> bool:
        """Whether attackers are known to try this one."""


class Sealer(Protocol):
    """Seals secrets at rest under the key-encryption key, with a key id, bound to their context."""

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt and authenticate; `context` names where the value lives, such as `keys/<id>`."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt; raises ValueError if key, context or bytes are not those it was sealed with."""

    def under(self, secret: bytes) -> "Sealer":
        """A sealer whose key is made of this one's and `secret`: what it seals opens with both and not with one."""


class KeyMaker(Protocol):
    """Makes key material."""

    def make(self, algorithm: str) -> tuple[Mapping[str, str], bytes]:
        """A fresh key: its public JWK (empty for secret keys) and its secret half, encoded."""


class AccessTokens(Protocol):
    """Signs and verifies access tokens (RFC 9068) with a ring of keys, algorithm pinned by key."""

    def sign(self, claims: AccessClaims, now: datetime) -> str:
        """The token, signed with the key that is active at `now`; raises Unavailable without one."""

    def verify(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token of ours that has not expired; raises NotAuthenticated."""

    def load(self, keys: Collection[tuple[Key, bytes]]) -> None:
        """Replace the ring by these signing keys with their opened secret halves."""

    def jwks(self, now: datetime) -> bytes:
        """The public keys as a JSON Web Key Set (RFC 7517)."""
