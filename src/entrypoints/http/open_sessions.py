"""Open sessions: one's own, and those of other users."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from dishka import FromDishka
from litestar import Controller, Response, delete, get
from litestar.params import FromPath

from application.open_sessions import EndAllSessions, EndSession, ListSessions
from domain.policies import Actor
from domain.sessions import Session, SessionId
from domain.users import UserId
from entrypoints.http.paging import Listing
from entrypoints.http.problems import described


class SessionReply(msgspec.Struct, frozen=True):
    """A sign-in that goes on. `amr` says how (RFC 8176). `expires_at` is its end at the latest; 8 hours without use
    end it, too. `address` and `user_agent` are those of the sign-in. `current`: the caller acts from this one."""

    id: UUID
    created_at: datetime
    auth_time: datetime
    amr: Sequence[str]
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None
    client_id: str
    current: bool


def session_reply(session: Session, actor: Actor) -> SessionReply:
    """The session as callers see it."""
    return SessionReply(
        id=session.id,
        created_at=session.created_at,
        auth_time=session.auth_time,
        amr=session.amr,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        address=session.address,
        user_agent=session.user_agent,
        client_id=session.client_id,
        current=session.id == actor.session_id,
    )


def _listed(found: Sequence[Session], actor: Actor) -> Response[Listing[SessionReply]]:
    return Response(Listing([session_reply(session, actor) for session in found], None))


class OwnSessionsController(Controller):
    """Where the caller is signed in."""

    path = "/me/sessions"
    tags = ["Me"]

    @get("/", summary="List my sessions", responses=described(401, 503))
    async def list_my_sessions(
        self, actor: FromDishka[Actor], sessions: FromDishka[ListSessions]
    ) -> Response[Listing[SessionReply]]:
        """All that can still be used, those used last first; a refresh counts as use."""
        return _listed(await sessions.own(actor), actor)

    @delete("/", status_code=204, summary="Sign out everywhere", responses=described(401, 503))
    async def end_my_sessions(self, actor: FromDishka[Actor], end: FromDishka[EndAllSessions]) -> None:
        """Ends all of the caller's sessions and tokens, those of this request included."""
        await end.own(actor)

    @delete("/{session_id:uuid}", status_code=204, summary="End my session", responses=described(401, 404, 503))
    async def end_my_session(
        self, session_id: FromPath[UUID], actor: FromDishka[Actor], end: FromDishka[EndSession]
    ) -> None:
        """Ends its tokens, too. One that has ended already is no error; one of somebody else is not found."""
        await end.own(actor, SessionId(session_id))


class UserSessionsController(Controller):
    """Where a user is signed in."""

    path = "/users/{user_id:uuid}/sessions"
    tags = ["Users"]

    @get("/", summary="List a user's sessions", responses=described(401, 403, 404, 503))
    async def list_sessions(
        self, user_id: FromPath[UUID], actor: FromDishka[Actor], sessions: FromDishka[ListSessions]
    ) -> Response[Listing[SessionReply]]:
        """Needs `sessions:read`; one's own always."""
        return _listed(await sessions(actor, UserId(user_id)), actor)

    @delete("/", status_code=204, summary="Sign a user out everywhere", responses=described(401, 403, 404, 503))
    async def end_sessions(
        self, user_id: FromPath[UUID], actor: FromDishka[Actor], end: FromDishka[EndAllSessions]
    ) -> None:
        """Needs `sessions:write`. Nobody can end the sessions of an account that holds more than they do."""
        await end(actor, UserId(user_id))

    @delete(
        "/{session_id:uuid}",
        status_code=204,
        summary="End a user's session",
        responses=described(401, 403, 404, 503),
    )
    async def end_session(
        self,
        user_id: FromPath[UUID],
        session_id: FromPath[UUID],
        actor: FromDishka[Actor],
        end: FromDishka[EndSession],
    ) -> None:
        """Needs `sessions:write`, likewise. One that has ended already is no error."""
        await end(actor, UserId(user_id), SessionId(session_id))
