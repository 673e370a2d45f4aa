"""The trail: every change writes one event, nothing else writes any, and all of it can be found again."""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import application
from adapters.memory.store import MemoryStore
from application.accounts import ChangeOwnPassword, Register, Registrant
from application.audit import ListAuditEvents
from application.browser import Browsers
from application.clients import (
    ClientMetadata,
    CreateClient,
    DeleteClient,
    ListClients,
    RotateClientSecret,
    ShowClient,
    UpdateClient,
)
from application.consents import ListConsents, WithdrawConsent
from application.installation import CheckReadiness, PrepareInstallation
from application.keys import ListKeys, RevokeKey, RotateDueKeys, RotateKey
from application.maintenance import Maintain, RemoveLeftovers
from application.open_sessions import EndAllSessions, EndSession, ListSessions
from application.roles import (
    ChangeRole,
    DefineRole,
    EffectivePermissions,
    GrantRole,
    ListGrants,
    ListPermissions,
    ListRoles,
    RemoveRole,
    RevokeGrant,
    RoleChanges,
)
from application.sessions import Authenticate, RefreshSession, SignOut
from application.sign_in import SignIn
from application.users import (
    CreateUser,
    DeleteUser,
    ListUsers,
    NewUser,
    ReactivateUser,
    SetPassword,
    ShowUser,
    SuspendUser,
    UpdateUser,
    UserChanges,
)
from builders import DAY, SECOND, an_event, new_id
from domain.audit import Action, EventId, Outcome
from domain.clients import FIRST_PARTY, GrantType
from domain.consents import Consent
from domain.errors import Forbidden, InvalidGrant
from domain.keys import KeyUse
from domain.policies import Actor, Origin
from domain.ports import AuditQuery, ClientQuery, GrantQuery, UserQuery
from domain.scopes import EVERYWHERE, Scope
from domain.sessions import SessionId
from http_world import PASSWORD
from use_cases.service import ORIGIN, ROOT, Server, a_server

ZOE = "zoë@example.org"
OTHER = "a quite different pass phrase"
ACME = Scope("org/acme")


@dataclass
class Story:
    """What a change finds: Zoë, who holds the role `writer`, with a session; and the administrator who acts."""

    server: Server
    admin: Actor
    zoe: Any = None
    tokens: Any = None
    client: Any = None

    async def do(self, kind, *arguments, **more):
        return await (await self.server.get(kind))(*arguments, **more)

    async def begin(self):
        await self.do(DefineRole, self.admin, "writer", RoleChanges({"permissions"}, permissions=["docs:write"]))
        self.zoe = (await self.server.a_user(ZOE, "writer")).user.id
        self.tokens = await self.server.sign_in(ZOE)
        return self

    async def authenticated(self):
        return await self.do(Authenticate, self.tokens.access_token, ORIGIN)

    async def session(self):
        return f"session:{(await self.authenticated()).session_id}"

    async def signing_key(self):
        return next(k for k in await self.do(ListKeys, self.admin) if k.use is KeyUse.SIGN)


@pytest.fixture
async def story(clock):
    store = MemoryStore()
    async with a_server(store, store.feed, clock, REGISTRATION="open") as server:
        yield await Story(server, await server.actor(server.root)).begin()


# --------------------------------------------------- what changes something: a door, and the one event that tells of it

ADMIN, SELF, NOBODY = "the administrator", "Zoë", "anonymous"


async def a_client(s):
    fields = {"client_name": "Notes", "grant_types": [GrantType.CLIENT_CREDENTIALS], "scope": "notes:read"}
    return (await s.do(CreateClient, s.admin, ClientMetadata(fields.keys(), **fields))).client.id


async def create_client(s):
    return f"client:{await a_client(s)}"


async def known_client(s):
    s.client = await a_client(s)


async def update_client(s):
    await s.do(UpdateClient, s.admin, s.client, None, ClientMetadata({"client_name"}, client_name="Other"))
    return f"client:{s.client}"


async def rotate_client_secret(s):
    await s.do(RotateClientSecret, s.admin, s.client)
    return f"client:{s.client}"


async def delete_client(s):
    await s.do(DeleteClient, s.admin, s.client, None)
    return f"client:{s.client}"


async def consented(s):
    await known_client(s)
    now = s.server.clock.now()
    async with s.server.store.transaction():
        await s.server.store.consents.save(Consent(s.zoe, s.client, frozenset({"openid"}), now, now))


async def withdraw_consent(s):
    await s.do(WithdrawConsent, await s.authenticated(), s.client)
    return f"client:{s.client}"


async def sign_in_in_browser(s):
    return f"session:{(await by(s, SignIn, 'in_browser', ZOE, PASSWORD, ORIGIN)).id}"


async def refresh_for_client(s):
    await by(s, RefreshSession, "rotated", s.tokens.refresh_token, FIRST_PARTY, ORIGIN)
    return await s.session()


async def create_user(s):
    return f"user:{(await s.do(CreateUser, s.admin, NewUser('li@example.org', PASSWORD))).user.id}"


async def register(s):
    await s.do(Register, Registrant("li@example.org", PASSWORD), ORIGIN)
    async with s.server.store.transaction():
        return f"user:{(await s.server.store.users.by_login('li@example.org')).id}"


async def update_user(s):
    await s.do(UpdateUser, s.admin, s.zoe, None, UserChanges({"locale"}, locale="de"))


async def update_own(s):
    await (await s.server.get(UpdateUser)).own(await s.authenticated(), None, UserChanges({"locale"}, locale="de"))


async def suspend(s):
    await s.do(SuspendUser, s.admin, s.zoe)


async def reactivate(s):
    await s.do(ReactivateUser, s.admin, s.zoe)


async def delete(s):
    await s.do(DeleteUser, s.admin, s.zoe, None)


async def set_password(s):
    await s.do(SetPassword, s.admin, s.zoe, OTHER)


async def change_own_password(s):
    await s.do(ChangeOwnPassword, await s.authenticated(), PASSWORD, OTHER)


async def define_role(s):
    await s.do(DefineRole, s.admin, "reader", RoleChanges({"permissions"}, permissions=["docs:read"]))
    return "role:reader"


async def change_role(s):
    await s.do(ChangeRole, s.admin, "writer", None, RoleChanges({"description"}, description="Writes."))
    return "role:writer"


async def remove_role(s):
    await s.do(RemoveRole, s.admin, "reader", None)
    return "role:reader"


async def grant_role(s):
    await s.do(GrantRole, s.admin, s.zoe, "user", ACME)


async def change_grant(s):
    expires_at = s.server.clock.now() + DAY
    await s.do(GrantRole, s.admin, s.zoe, "writer", EVERYWHERE, None, expires_at, replacing=True)


async def revoke_grant(s):
    [grant] = (await s.do(ListGrants, s.admin, GrantQuery((), user_id=s.zoe))).items
    await s.do(RevokeGrant, s.admin, grant.id)


async def revoke_by_role(s):
    await (await s.server.get(RevokeGrant)).by_role(s.admin, s.zoe, "writer")


async def sign_in(s):
    s.tokens = await s.do(SignIn, ZOE, PASSWORD, ORIGIN)
    return await s.session()


async def sign_in_wrongly(s):
    with pytest.raises(InvalidGrant):
        await s.do(SignIn, ZOE, "not the right pass phrase", ORIGIN)


async def refresh(s):
    s.tokens = await s.do(RefreshSession, s.tokens.refresh_token, ORIGIN)
    return await s.session()


async def replay(s):
    with pytest.raises(InvalidGrant):
        await s.do(RefreshSession, s.stolen, ORIGIN)
    return s.theirs


async def sign_out(s):
    session = await s.session()
    await s.do(SignOut, await s.authenticated())
    return session


async def sign_out_by_token(s):
    session = await s.session()
    await (await s.server.get(SignOut)).by_refresh_token(s.tokens.refresh_token, ORIGIN)
    return session


async def end_session(s):
    session = (await s.authenticated()).session_id
    await s.do(EndSession, s.admin, s.zoe, SessionId(session))
    return f"session:{session}"


async def end_own_session(s):
    actor = await s.authenticated()
    await (await s.server.get(EndSession)).own(actor, SessionId(actor.session_id))
    return f"session:{actor.session_id}"


async def end_all_sessions(s):
    await s.do(EndAllSessions, s.admin, s.zoe)


async def end_all_own_sessions(s):
    await (await s.server.get(EndAllSessions)).own(await s.authenticated())


async def rotate_key(s):
    return f"key:{(await s.do(RotateKey, s.admin, KeyUse.SIGN)).id}"


async def revoke_key(s):
    key = await s.signing_key()
    await s.do(RevokeKey, s.admin, key.id)
    return f"key:{key.id}"


async def stolen(s):
    s.theirs, s.stolen = await s.session(), s.tokens.refresh_token
    for _ in range(2):
        s.tokens = await s.do(RefreshSession, s.tokens.refresh_token, ORIGIN)


CHANGES = [
    (CreateUser, "__call__", create_user, Action.USER_CREATED, ADMIN, []),
    (Register, "__call__", register, Action.USER_REGISTERED, NOBODY, []),
    (UpdateUser, "__call__", update_user, Action.USER_UPDATED, ADMIN, []),
    (UpdateUser, "own", update_own, Action.USER_UPDATED, SELF, []),
    (SuspendUser, "__call__", suspend, Action.USER_SUSPENDED, ADMIN, []),
    (ReactivateUser, "__call__", reactivate, Action.USER_REACTIVATED, ADMIN, [suspend]),
    (DeleteUser, "__call__", delete, Action.USER_DELETED, ADMIN, []),
    (SetPassword, "__call__", set_password, Action.PASSWORD_SET, ADMIN, []),
    (ChangeOwnPassword, "__call__", change_own_password, Action.PASSWORD_CHANGED, SELF, []),
    (DefineRole, "__call__", define_role, Action.ROLE_CREATED, ADMIN, []),
    (ChangeRole, "__call__", change_role, Action.ROLE_UPDATED, ADMIN, []),
    (RemoveRole, "__call__", remove_role, Action.ROLE_DELETED, ADMIN, [define_role]),
    (GrantRole, "__call__", grant_role, Action.GRANT_CREATED, ADMIN, []),
    (GrantRole, "__call__", change_grant, Action.GRANT_UPDATED, ADMIN, []),
    (RevokeGrant, "__call__", revoke_grant, Action.GRANT_REVOKED, ADMIN, []),
    (RevokeGrant, "by_role", revoke_by_role, Action.GRANT_REVOKED, ADMIN, []),
    (SignIn, "__call__", sign_in, Action.SIGN_IN, SELF, []),
    (SignIn, "__call__", sign_in_wrongly, Action.SIGN_IN_FAILED, NOBODY, []),
    (RefreshSession, "__call__", refresh, Action.REFRESHED, SELF, []),
    (RefreshSession, "__call__", replay, Action.REFRESH_REFUSED, SELF, [stolen]),
    (SignOut, "__call__", sign_out, Action.SIGN_OUT, SELF, []),
    (SignOut, "by_refresh_token", sign_out_by_token, Action.SIGN_OUT, SELF, []),
    (EndSession, "__call__", end_session, Action.SIGN_OUT, ADMIN, []),
    (EndSession, "own", end_own_session, Action.SIGN_OUT, SELF, []),
    (EndAllSessions, "__call__", end_all_sessions, Action.SESSIONS_ENDED, ADMIN, []),
    (EndAllSessions, "own", end_all_own_sessions, Action.SESSIONS_ENDED, SELF, []),
    (CreateClient, "__call__", create_client, Action.CLIENT_CREATED, ADMIN, []),
    (UpdateClient, "__call__", update_client, Action.CLIENT_UPDATED, ADMIN, [known_client]),
    (RotateClientSecret, "__call__", rotate_client_secret, Action.CLIENT_SECRET_ROTATED, ADMIN, [known_client]),
    (DeleteClient, "__call__", delete_client, Action.CLIENT_DELETED, ADMIN, [known_client]),
    (WithdrawConsent, "__call__", withdraw_consent, Action.CONSENT_WITHDRAWN, SELF, [consented]),
    (SignIn, "in_browser", sign_in_in_browser, Action.SIGN_IN, SELF, []),
    (RefreshSession, "rotated", refresh_for_client, Action.REFRESHED, SELF, []),
    (RotateKey, "__call__", rotate_key, Action.KEY_ROTATED, ADMIN, []),
    (RevokeKey, "__call__", revoke_key, Action.KEY_REVOKED, ADMIN, []),
]
"""Use case, door, what is done there, the event it writes, who acted, and what has to happen before."""

READS = {
    (ListUsers, "__call__"): lambda s: s.do(ListUsers, s.admin, UserQuery(())),
    (ShowUser, "__call__"): lambda s: s.do(ShowUser, s.admin, s.zoe),
    (ShowUser, "by_login"): lambda s: by(s, ShowUser, "by_login", s.admin, ZOE),
    (ListRoles, "__call__"): lambda s: s.do(ListRoles, s.admin),
    (ListRoles, "one"): lambda s: by(s, ListRoles, "one", s.admin, "writer"),
    (ListPermissions, "__call__"): lambda s: s.do(ListPermissions, s.admin),
    (ListGrants, "__call__"): lambda s: s.do(ListGrants, s.admin, GrantQuery(())),
    (ListGrants, "one"): lambda s: by(s, ListGrants, "one", s.admin, s.admin.facts.grants[0].id),
    (EffectivePermissions, "__call__"): lambda s: s.do(EffectivePermissions, s.admin, s.zoe),
    (ListSessions, "__call__"): lambda s: s.do(ListSessions, s.admin, s.zoe),
    (ListSessions, "own"): lambda s: by(s, ListSessions, "own", s.admin),
    (ListClients, "__call__"): lambda s: s.do(ListClients, s.admin, ClientQuery(())),
    (ShowClient, "__call__"): lambda s: s.do(ShowClient, s.admin, FIRST_PARTY),
    (ListConsents, "__call__"): lambda s: s.do(ListConsents, s.admin),
    (Browsers, "signed_in"): lambda s: by(s, Browsers, "signed_in", "no cookie of ours"),
    (ListKeys, "__call__"): lambda s: s.do(ListKeys, s.admin),
    (ListAuditEvents, "__call__"): lambda s: s.do(ListAuditEvents, s.admin, AuditQuery(())),
    (Authenticate, "__call__"): lambda s: s.authenticated(),
    (CheckReadiness, "__call__"): lambda s: s.do(CheckReadiness),
    (PrepareInstallation, "__call__"): lambda s: s.do(PrepareInstallation, None, None, generate=False),
    (RotateDueKeys, "__call__"): lambda s: s.do(RotateDueKeys),
    (Maintain, "__call__"): lambda s: s.do(Maintain),
    (RemoveLeftovers, "__call__"): lambda s: s.do(RemoveLeftovers),
}
"""Doors that change nothing, or nothing yet: what a start and the schedule do is in test_installation.py."""

OF_OAUTH = {
    Action.CLIENT_REFUSED,
    Action.CONSENT_GRANTED,
    Action.CONSENT_REFUSED,
    Action.AUTHORIZATION_REFUSED,
    Action.CODE_ISSUED,
    Action.CODE_REDEEMED,
    Action.CODE_REFUSED,
    Action.CLIENT_TOKENS,
    Action.TOKEN_REVOKED,
}
"""What the OAuth endpoints tell of; see tests/http/test_oauth_trail.py."""

PARTS = {
    "AccountChange",
    "Attempt",
    "ClientChange",
    "Floor",
    "IssueTokens",
    "KeyRing",
    "LiveAuthority",
    "NewKey",
    "PasswordRule",
    "ProvePassword",
    "Reread",
    "Trail",
    "Turns",
}
"""What use cases are made of; nobody calls these from outside."""


def by(story, kind, door, *arguments):
    async def call():
        return await getattr(await story.server.get(kind), door)(*arguments)

    return call()


def doors():
    """Every way into the application: the public coroutines of its classes."""
    for module in pkgutil.iter_modules(application.__path__, "application."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            for name, member in vars(kind).items():
                public = name == "__call__" or not name.startswith("_")
                if kind.__module__ == module.name and public and inspect.iscoroutinefunction(member):
                    yield kind, name


def test_no_door_is_forgotten():
    known = {(kind, door) for kind, door, *_ in CHANGES} | READS.keys()
    to_an_actor = {(Authenticate, "holder"), (Browsers, "actor")}  # makes one, and so is no door
    assert {(k, d) for k, d in doors() if k.__name__ not in PARTS} - to_an_actor == known
    assert {k.__name__ for k, _ in doors()} >= PARTS
    assert {action for _, _, _, action, *_ in CHANGES} | {Action.INSTALLATION_PREPARED} | OF_OAUTH == set(Action)


@pytest.mark.parametrize(
    ("act", "action", "who", "before"), [case[2:] for case in CHANGES], ids=[case[2].__name__ for case in CHANGES]
)
async def test_every_change_writes_exactly_one_event_that_says_who_did_what_to_whom(story, act, action, who, before):
    for earlier in before:
        await earlier(story)
    already, began = len(await story.server.events()), story.server.clock.now()
    subject = await act(story) or f"user:{story.zoe}"
    [event] = (await story.server.events())[already:]
    actor = {ADMIN: story.admin.label, SELF: f"user:{story.zoe}", NOBODY: "anonymous"}[who]
    assert (event.action, event.actor, event.subject) == (action, actor, subject)
    refused = action in {Action.SIGN_IN_FAILED, Action.REFRESH_REFUSED}
    assert (event.outcome is Outcome.REFUSED, event.reason is not None) == (
        refused,
        refused or action == "session.ended",
    )
    assert (event.door, event.address, event.correlation_id) == (ORIGIN.door, ORIGIN.address, ORIGIN.correlation_id)
    assert event.at == began
    for secret in ("@", PASSWORD, OTHER, story.tokens.refresh_token, story.tokens.access_token):
        assert secret not in repr(event)


@pytest.mark.parametrize("read", READS.values(), ids=[f"{k.__name__}.{d}" for k, d in READS])
async def test_looking_writes_no_event(story, read):
    before = await story.server.events()
    await read(story)
    assert await story.server.events() == before


@pytest.mark.parametrize("case", [c for c in CHANGES if c[4] is ADMIN], ids=lambda case: case[2].__name__)
async def test_what_was_refused_writes_no_event_and_changes_nothing(story, case):
    _, _, act, _, _, before = case
    for earlier in before:
        await earlier(story)
    story.admin, admin = await story.server.actor(story.zoe), story.admin
    if act is revoke_grant:
        [grant] = (await story.do(ListGrants, admin, GrantQuery((), user_id=story.zoe))).items
        attempt = story.do(RevokeGrant, story.admin, grant.id)
    elif act is revoke_key:
        attempt = story.do(RevokeKey, story.admin, (await Story(story.server, admin).signing_key()).id)
    else:
        attempt = act(story)
    already = await story.server.events()
    with pytest.raises(Forbidden):
        await attempt
    assert await story.server.events() == already


# --------------------------------------------------------------------------------------------------------- other actors


async def test_the_operator_is_named_and_so_is_the_user_whose_rights_were_used(story):
    facts, rules, now = story.admin.facts, story.admin.rules, story.server.clock.now()
    for as_user in (None, facts):
        actor = Actor.operator("zoë", rules, now, Origin(door="command"), as_user)
        await story.do(UpdateUser, actor, story.zoe, None, UserChanges({"locale"}, locale="fr" if as_user else "de"))
    plain, acting = (await story.server.events())[-2:]
    assert {plain.actor, acting.actor} == {"operator:zoë"}
    assert "as_user" not in plain.details
    assert acting.details["as_user"] == str(story.server.root)


async def test_an_account_made_with_roles_tells_of_each(story):
    already = len(await story.server.events())
    made = await story.do(CreateUser, story.admin, NewUser("li@example.org", roles=("user", "writer", "user")))
    events = (await story.server.events())[already:]
    assert [e.action for e in events] == [Action.USER_CREATED, Action.GRANT_CREATED, Action.GRANT_CREATED]
    assert {e.subject for e in events} == {f"user:{made.user.id}"}
    assert [e.details.get("role") for e in events] == [None, "user", "writer"]


async def test_events_lie_at_the_scope_of_the_account(story):
    inside = (await story.do(CreateUser, story.admin, NewUser("in@example.org", scope="org/acme/team"))).user.id
    await story.do(SuspendUser, story.admin, inside)
    assert {e.scope for e in await story.server.events(subject=f"user:{inside}")} == {Scope("org/acme/team")}
    await story.do(DefineRole, story.admin, "auditor", RoleChanges({"permissions"}, permissions=["audit:read"]))
    await story.do(GrantRole, story.admin, story.zoe, "auditor", ACME)
    seen = await story.do(ListAuditEvents, await story.server.actor(story.zoe), AuditQuery(()))
    assert [e.action for e in seen.items] == [Action.USER_SUSPENDED, Action.USER_CREATED]
    with pytest.raises(Forbidden, match="audit:read"):
        await story.do(ListAuditEvents, await story.server.actor(inside), AuditQuery(()))


# ---------------------------------------------------------------------------------------------------------------- dates


async def test_R14_events_are_found_by_dates_on_every_database(anywhere):
    """Around the hour that the test servers' time zone has twice, and to the microsecond."""
    twice = datetime(2027, 4, 3, 14, 0, tzinfo=UTC)
    moments = [twice + n * timedelta(minutes=30) for n in range(-3, 4)]
    events = [an_event(at, id=EventId(new_id(at)), subject="user:x") for at in moments]
    async with anywhere.store.transaction():
        for event in events:
            await anywhere.store.audit.append(event)
    listing, operator = await anywhere.get(ListAuditEvents), await anywhere.operator()
    tick = timedelta(microseconds=1)
    for since in (None, moments[1], moments[1] + tick):
        for until in (None, moments[5], moments[5] + tick):
            page = await listing(operator, AuditQuery((), subject="user:x", since=since, until=until))
            expected = [e for e in events if (not since or e.at >= since) and (not until or e.at < until)]
            assert list(reversed(page.items)) == expected
    assert (await listing(operator, AuditQuery((), since=twice + 9 * DAY))).items == []


async def test_pages_continue_where_they_ended_while_new_events_come(anywhere):
    listing, operator = await anywhere.get(ListAuditEvents), await anywhere.operator()
    for n in range(5):
        anywhere.clock.move(SECOND)
        await anywhere.a_user(f"user{n}@example.org")
    before = await anywhere.events()
    seen, after = [], None
    while True:
        page = await listing(operator, AuditQuery((), limit=2, after=after))
        seen += page.items
        await anywhere.sign_in(ROOT)
        if (after := page.after) is None:
            break
    assert list(reversed(seen)) == before
