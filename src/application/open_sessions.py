"""Open sessions: where somebody is signed in, and how that is ended from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from application.audit import require_any
from application.repetition import safe_to_repeat
from application.users import AccountChange
from domain.audit import Action
from domain.errors import Forbidden, NotFound
from domain.policies import Actor
from domain.ports import Clock, Families, Sessions, Transaction, Users
from domain.roles import SESSIONS_READ, SESSIONS_WRITE
from domain.sessions import EndReason, Session, SessionId
from domain.users import User, UserId


@dataclass(frozen=True, slots=True)
class ListSessions:
    """The sessions of a user that can still be used, those used last first; one's own always."""

    users: Users
    sessions: Sessions
    families: Families
    clock: Clock
    transaction: Transaction

    async def __call__(self, actor: Actor, id: UserId) -> Sequence[Session]:
        """`last_used_at` knows of refreshes, too. Raises Forbidden, or NotFound also for what the actor may not see."""
        own = actor.facts is not None and actor.facts.user_id == id
        scopes = actor.scopes(SESSIONS_READ)
        if not own:
            require_any(actor, scopes, str(SESSIONS_READ))
        async with self.transaction():
            user = await self.users.find(id)
            if user is None or not (own or any(s.reaches(user.scope) for s in scopes)):
                raise NotFound("no such user")
            stored = await self.sessions.open_of(id)
            refreshed = await self.families.last_rotations([session.id for session in stored])
        now = self.clock.now()
        found = [session.used(refreshed.get(session.id)) for session in stored]
        alive = [session for session in found if session.refusal(now) is None]
        return sorted(alive, key=lambda session: (session.last_used_at, session.id), reverse=True)

    async def own(self, actor: Actor) -> Sequence[Session]:
        """The actor's own, without any permission."""
        return await self(actor, own_id(actor))


@dataclass(frozen=True, slots=True)
class EndSession:
    """End one session, its refresh tokens and its access tokens, from another one."""

    account: AccountChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId, session: SessionId) -> None:
        """Ending it twice is no error. Raises Forbidden, or NotFound also for a session of somebody else."""
        work = self.account
        async with work.transaction():
            user = await work.held(actor, id, None, writing=SESSIONS_WRITE, reading=SESSIONS_READ)
            await self._end(actor, user, session)

    @safe_to_repeat
    async def own(self, actor: Actor, session: SessionId) -> None:
        """One of the actor's own, without any permission; raises NotFound."""
        work = self.account
        async with work.transaction():
            await self._end(actor, await locked_self(work, actor), session)

    async def _end(self, actor: Actor, user: User, id: SessionId) -> None:
        work = self.account
        session = await work.sessions.find(id)
        if session is None or session.user_id != user.id:
            raise NotFound("no such session")
        if await work.sessions.end([id], work.clock.now(), EndReason.SIGNED_OUT):  # else somebody was faster
            await work.trail.record(
                actor,
                Action.SIGN_OUT,
                f"session:{id}",
                {"user": str(user.id)},
                scope=user.scope,
                reason=EndReason.SIGNED_OUT,
            )


@dataclass(frozen=True, slots=True)
class EndAllSessions:
    """Sign a user out everywhere."""

    account: AccountChange

    @safe_to_repeat
    async def __call__(self, actor: Actor, id: UserId) -> int:
        """How many there were. Raises Forbidden or NotFound."""
        work = self.account
        async with work.transaction():
            user = await work.held(actor, id, None, writing=SESSIONS_WRITE, reading=SESSIONS_READ)
            return await self._end(actor, user)

    @safe_to_repeat
    async def own(self, actor: Actor) -> int:
        """The actor's own, the one they act from included, without any permission."""
        work = self.account
        async with work.transaction():
            return await self._end(actor, await locked_self(work, actor))

    async def _end(self, actor: Actor, user: User) -> int:
        work = self.account
        ended = await work.sessions.end_all_of(user.id, work.clock.now(), EndReason.SIGNED_OUT)
        if ended:
            details = {"sessions_ended": len(ended)}
            await work.trail.record(actor, Action.SESSIONS_ENDED, f"user:{user.id}", details, scope=user.scope)
        return len(ended)


def own_id(actor: Actor) -> UserId:
    """Whose own sessions are meant; raises Forbidden for an actor who is no user."""
    if actor.facts is None:
        raise Forbidden("only people have sessions")
    return actor.facts.user_id


async def locked_self(work: AccountChange, actor: Actor) -> User:
    """The actor as a user, locked as everything that ends sessions locks them; raises NotFound."""
    user = await work.users.locked(own_id(actor))
    if user is None:
        raise NotFound("no such user")
    return user
