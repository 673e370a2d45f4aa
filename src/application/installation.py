"""The first start, and whether this server can do its work."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from application.audit import Trail
from application.authority import LiveAuthority
from application.keys import INSTALLATION_CONTEXT, KeyRing, NewKey, RotateDueKeys, key_context
from application.users import PasswordRule
from domain.audit import Action
from domain.credentials import PasswordCredential
from domain.errors import DomainError, StartRefused
from domain.keys import ALGORITHMS, KeyUse
from domain.policies import Actor
from domain.ports import (
    Changes,
    Clock,
    Credentials,
    Grants,
    Installation,
    Installations,
    Keys,
    PasswordHasher,
    Roles,
    Schema,
    Sealer,
    Secrets,
    Transaction,
    Users,
)
from domain.roles import ADMIN, Grant, GrantId, Rules
from domain.users import User, UserId, UserStatus, parse_email

FIRST_ADMINISTRATOR = "admin@localhost"


@dataclass(frozen=True, slots=True)
class FirstAdministrator:
    """Who was made administrator at the first start; `password` only where it was generated."""

    email: str
    password: str | None

    def __repr__(self) -> str:
        return f"FirstAdministrator(email={self.email!r})"


@dataclass(frozen=True, slots=True)
class PrepareInstallation:
    """Brings an installation into working order at every start: keys, and the first administrator once.

    Safe to run by any number of servers at the same moment: one prepares, the others find it done.
    """

    installations: Installations
    users: Users
    roles: Roles
    credentials: Credentials
    grants: Grants
    keys: Keys
    changes: Changes
    sealer: Sealer
    new_key: NewKey
    rotate_due: RotateDueKeys
    hasher: PasswordHasher
    password_rule: PasswordRule
    trail: Trail
    clock: Clock
    secrets: Secrets
    transaction: Transaction

    async def __call__(self, email: str | None, password: str | None, *, generate: bool) -> FirstAdministrator | None:
        """The administrator if this call made one, else None.

        `generate` allows a made-up password where none is given; without it, both must be given at the first start.
        Raises StartRefused, also where the master key is not the one the keys were sealed with.
        """
        async with self.transaction():
            seen = await self.installations.read()
        if seen.prepared_at is not None:
            await self._check_keys(seen)
            return None
        if not generate and (email is None or password is None):
            raise StartRefused(
                "This database has no administrator yet: set HEXWARD_ADMIN_EMAIL and HEXWARD_ADMIN_PASSWORD "
                "(or HEXWARD_ADMIN_PASSWORD_FILE) for the first start."
            )
        address = parse_email(email or FIRST_ADMINISTRATOR)
        chosen = password or _readable(self.secrets.token(15))
        if password is not None:
            await self.password_rule(password, address)
        hashed = await self.hasher.hash(chosen)
        async with self.transaction():
            if (await self.installations.locked()).prepared_at is not None:
                return None  # another server was faster
            await self._prepare(address, hashed)
        return FirstAdministrator(address, None if password else chosen)

    async def _prepare(self, address: str, hashed: str) -> None:
        now = self.clock.now()
        actor = Actor.system("first-start", Rules({}), now)
        secret = self.secrets.token(32)
        await self.keys.save([await self.new_key(use, ALGORITHMS[use][0], now, now) for use in KeyUse])
        user = User(UserId(self.secrets.uuid(now)), address, now, now, UserStatus.ACTIVE, email_verified=False)
        await self.users.add(user)
        await self.credentials.set_password(PasswordCredential(user.id, hashed, now))
        await self.grants.add(Grant(GrantId(self.secrets.uuid(now)), user.id, ADMIN, actor.label, now))
        await self.installations.prepared(self.sealer.seal(secret, INSTALLATION_CONTEXT), now)
        await self.changes.authority(user.id)
        await self.trail.record(actor, Action.INSTALLATION_PREPARED, f"user:{user.id}")

    async def _check_keys(self, installation: Installation) -> None:
        """Refuse a wrong master key before anything is served, and rotate keys that are due."""
        async with self.transaction():
            keys = await self.keys.all()
            try:
                for key in keys:
                    if key.revoked_at is not None:
                        continue
                    self.sealer.open(key.sealed, key_context(key.id))
                self.sealer.open(installation.secret or b"", INSTALLATION_CONTEXT)
            except ValueError as error:
                raise StartRefused(
                    "The master key is not the one this database was sealed with: set HEXWARD_MASTER_KEY (or restore "
                    "master.key in the data folder) to the key it was first started with."
                ) from error
        await self.rotate_due()


def _readable(random: bytes) -> str:
    """Random bytes as groups of letters that can be typed: 120 bits in 24 characters, without look-alikes."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    bits = int.from_bytes(random)
    letters = [alphabet[(bits >> (5 * i)) & 31] for i in range(len(random) * 8 // 5)]
    return "-".join("".join(letters[i : i + 6]) for i in range(0, len(letters), 6))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a server needs: whether it is there, how long the question took (milliseconds), and what is wrong."""

    name: str
    ok: bool
    milliseconds: float
    problem: str | None = None


READY_WITHIN = 1.5
"""Seconds after which a check that has not answered has failed: whoever asks has little patience."""


@dataclass(frozen=True, slots=True)
class CheckReadiness:
    """Whether this worker can do its work now: database, schema, keys and change feed (PARITY R10)."""

    installations: Installations
    schema: Schema
    ring: KeyRing
    authority: LiveAuthority
    clock: Clock
    transaction: Transaction

    async def __call__(self) -> list[Check]:
        """Every check, in order of importance; never raises for what it finds, and answers within 2 seconds."""
        looks = {"database": self._database, "schema": self._schema, "keys": self._keys, "change_feed": self._feed}
        began = self.clock.monotonic()
        checks = {name: asyncio.create_task(self._check(name, look)) for name, look in looks.items()}
        try:
            await asyncio.wait(checks.values(), timeout=READY_WITHIN)
        finally:
            for check in checks.values():
                check.cancel()  # and not waited for: to let go of what does not answer takes its time, too
        spent = self._since(began)
        return [
            check.result() if check.done() else Check(name, False, spent, "no answer in time")
            for name, check in checks.items()
        ]

    async def _check(self, name: str, look: Callable[[], Awaitable[str | None]]) -> Check:
        began = self.clock.monotonic()
        try:
            problem = await look()
        except DomainError as error:
            problem = error.message
        return Check(name, problem is None, self._since(began), problem)

    def _since(self, began: float) -> float:
        return round((self.clock.monotonic() - began) * 1000, 2)

    async def _database(self) -> str | None:
        async with self.transaction():
            installation = await self.installations.read()
        return None if installation.prepared_at is not None else "the installation is not prepared"

    async def _schema(self) -> str | None:
        return await self.schema.lag()

    async def _keys(self) -> str | None:
        return None if self.ring.ready(self.clock.now()) else "no active keys are loaded"

    async def _feed(self) -> str | None:
        await self.authority.rules()
        return None
