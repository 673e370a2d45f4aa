"""Keys: the ring each worker holds in memory, and their rotation."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from application.audit import Trail
from application.repetition import safe_to_repeat
from domain.audit import Action
from domain.errors import Invalid, NotFound, Unavailable
from domain.keys import ALGORITHMS, LEAD, Key, KeyUse, active, due, revoke, succeed
from domain.policies import Actor, require
from domain.ports import Clock, Installations, KeyMaker, Keys, Sealer, Secrets, SigningKeys, Transaction
from domain.roles import KEYS_READ, KEYS_WRITE, Rules
from domain.scopes import EVERYWHERE
from domain.tokens import KEY_ID_BYTES
from domain.users import email_key, username_key

INSTALLATION_CONTEXT = "installation/secret"
WRONG_MASTER_KEY = "the master key here is not the one this installation was prepared with"


def key_context(id: str) -> str:
    """Where a sealed key lives: a sealed value moved to another row does not open."""
    return f"keys/{id}"


class KeyRing:
    """The keys of this worker, opened. Reloaded when the change feed says so; states pass by time alone."""

    def __init__(
        self,
        keys: Keys,
        installations: Installations,
        transaction: Transaction,
        sealer: Sealer,
        signing_keys: SigningKeys,
    ) -> None:
        self._keys, self._installations, self._transaction = keys, installations, transaction
        self._sealer, self._signing_keys = sealer, signing_keys
        self._held: Sequence[Key] = ()
        self._refresh: dict[str, tuple[Key, bytes]] = {}
        self._secret: bytes | None = None
        self.epoch = 0

    @safe_to_repeat
    async def reload(self) -> None:
        """Read and open all keys; raises Unavailable when storage does not answer or nothing was prepared yet."""
        async with self._transaction():
            keys = await self._keys.all()
            installation = await self._installations.read()
        try:
            opened = [(k, self._sealer.open(k.sealed, key_context(k.id))) for k in keys if k.revoked_at is None]
            if installation.secret is not None:
                self._secret = self._sealer.open(installation.secret, INSTALLATION_CONTEXT)
        except ValueError as error:
            raise Unavailable(WRONG_MASTER_KEY, code="master_key_wrong") from error
        self._signing_keys.load([(k, secret) for k, secret in opened if k.use is not KeyUse.REFRESH])
        self._refresh = {k.id: (k, secret) for k, secret in opened if k.use is KeyUse.REFRESH}
        self._held = [k for k, _ in opened]
        self.epoch = installation.epoch

    def ready(self, now: datetime) -> bool:
        """Whether tokens of all kinds can be made."""
        return self._secret is not None and all(active(self._held, use, now) for use in KeyUse)

    def require_ready(self, now: datetime) -> None:
        """Raises Unavailable unless tokens can be made; to be asked before anything is used up for them."""
        if not self.ready(now):
            raise Unavailable("there are no keys to make tokens with", code="no_active_key")

    def refresh_key(self, id: str, now: datetime) -> bytes | None:
        """The MAC key of that id, if what it signed is still accepted."""
        held = self._refresh.get(id)
        return held[1] if held is not None and held[0].usable(now) else None

    def active_refresh_key(self, now: datetime) -> str:
        """The id of the MAC key for new refresh tokens; raises Unavailable without one."""
        key = active((key for key, _ in self._refresh.values()), KeyUse.REFRESH, now)
        if key is None:
            raise Unavailable("there is no key for refresh tokens", code="no_active_key")
        return key.id

    def account_key(self, identifier: str) -> bytes:
        """A keyed hash of an account name, so that the failure counter holds no addresses."""
        # by kind, so that no username can ever stand for somebody's address
        if "@" in identifier:
            return self.keyed_hash("email", email_key(identifier).encode(errors="surrogatepass"))[:16]
        return self.keyed_hash("username", username_key(identifier).encode(errors="surrogatepass"))[:16]

    def keyed_hash(self, kind: str, value: bytes) -> bytes:
        """32 bytes that say whether two values of a kind are the same, and nothing else to whoever reads storage.

        Raises Unavailable where nothing was prepared yet.
        """
        if self._secret is None:
            raise Unavailable("the installation is not prepared", code="not_prepared")
        return hmac.digest(self._secret, kind.encode() + b":" + value, hashlib.sha256)


@dataclass(frozen=True, slots=True)
class NewKey:
    """Makes a key, its secret half sealed at once with the master key that the installation was prepared with."""

    maker: KeyMaker
    sealer: Sealer
    secrets: Secrets
    installations: Installations

    async def __call__(self, use: KeyUse, algorithm: str, now: datetime, activates_at: datetime) -> Key:
        """Raises Invalid for an algorithm that is not made for this use, and Unavailable (`master_key_wrong`) rather
        than seal a key that nobody else could open, which would stop every server."""
        if algorithm not in ALGORITHMS[use]:
            raise Invalid.field("/algorithm", f"one of {', '.join(ALGORITHMS[use])}", code="algorithm_unknown")
        installation = await self.installations.read()
        try:
            if installation.secret is not None:
                self.sealer.open(installation.secret, INSTALLATION_CONTEXT)
        except ValueError as error:
            raise Unavailable(WRONG_MASTER_KEY, code="master_key_wrong") from error
        id = self.secrets.token(KEY_ID_BYTES).hex()
        public, secret = self.maker.make(algorithm)
        return Key(id, use, algorithm, now, activates_at, self.sealer.seal(secret, key_context(id)), public)


@dataclass(frozen=True, slots=True)
class ListKeys:
    """All keys with their states; never their secret halves."""

    keys: Keys
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor) -> Sequence[Key]:
        """Newest first."""
        require(actor.decide(KEYS_READ, EVERYWHERE))
        async with self.transaction():
            return sorted(await self.keys.all(), key=lambda k: (k.created_at, k.id), reverse=True)


@dataclass(frozen=True, slots=True)
class RotateKey:
    """A fresh key takes over once every verifier has had time to see it."""

    keys: Keys
    new_key: NewKey
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, use: KeyUse, algorithm: str | None = None) -> Key:
        """The next key. `algorithm` None keeps the present one. Raises Conflict while a rotation is under way."""
        require(actor.decide(KEYS_WRITE, EVERYWHERE))
        async with self.transaction():
            keys = await self.keys.locked()
            now = self.clock.now()  # after the wait for the lock
            present = active(keys, use, now)
            chosen = algorithm or (present.algorithm if present else ALGORITHMS[use][0])
            fresh = await self.new_key(use, chosen, now, now + LEAD[use] if present else now)
            await self.keys.save(succeed(keys, fresh))
            await self.trail.record(actor, Action.KEY_ROTATED, f"key:{fresh.id}", {"use": use, "algorithm": chosen})
        return fresh


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """Nothing a key signed is accepted any more, at once. For a key that leaked."""

    keys: Keys
    new_key: NewKey
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: str) -> Key:
        """The revoked key. If it was the active one, its successor (or a fresh key) takes over at once."""
        require(actor.decide(KEYS_WRITE, EVERYWHERE))
        async with self.transaction():
            keys = {k.id: k for k in await self.keys.locked()}
            now = self.clock.now()  # after the wait for the lock
            key = keys.get(id)
            if key is None:
                raise NotFound("no such key")
            if key.revoked_at is not None:
                return key
            changed = {k.id: k for k in revoke(keys.values(), id, now)}
            if active({**keys, **changed}.values(), key.use, now) is None:
                fresh = await self.new_key(key.use, key.algorithm, now, activates_at=now)
                changed[fresh.id] = fresh
            await self.keys.save(list(changed.values()))
            successor = active({**keys, **changed}.values(), key.use, now)
            told = {"use": key.use, "successor": successor.id if successor else None}
            await self.trail.record(actor, Action.KEY_REVOKED, f"key:{id}", told)
        return changed[id]


@dataclass(frozen=True, slots=True)
class RotateDueKeys:
    """Rotation by schedule: a key that has served its time gets a successor, and a use without a key gets one."""

    keys: Keys
    new_key: NewKey
    trail: Trail
    clock: Clock
    transaction: Transaction

    @safe_to_repeat
    async def __call__(self) -> None:
        """Safe to run by any number of servers at once."""
        now = self.clock.now()
        async with self.transaction():
            keys = await self.keys.all()
        if not any(due(keys, use, now) for use in KeyUse):
            return
        async with self.transaction():
            keys = await self.keys.locked()
            now = self.clock.now()  # after the wait for the lock
            for use in KeyUse:
                if due(keys, use, now):
                    await self._make(keys, use, now)

    async def _make(self, keys: Sequence[Key], use: KeyUse, now: datetime) -> None:
        present = active(keys, use, now)
        algorithm = present.algorithm if present else ALGORITHMS[use][0]
        fresh = await self.new_key(use, algorithm, now, now + LEAD[use] if present else now)
        await self.keys.save(succeed(keys, fresh) if present else [fresh])
        actor = Actor.system("key-schedule", Rules({}), now)
        await self.trail.record(actor, Action.KEY_ROTATED, f"key:{fresh.id}", {"use": use, "algorithm": algorithm})
