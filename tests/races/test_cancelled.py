"""Callers who hang up inside a use case: all of it is stored or nothing, and nothing is held."""

import asyncio
import random

import pytest

from application.keys import RotateKey
from application.roles import DefineRole, GrantRole, RoleChanges
from application.sessions import RefreshSession
from application.users import CreateUser, DeleteUser, NewUser, SetPassword, SuspendUser, UpdateUser, UserChanges
from contracts.steps import beside
from domain.errors import DomainError, Unavailable
from domain.keys import KeyUse
from http_world import PASSWORD
from use_cases.service import ORIGIN

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.usefixtures("again"), pytest.mark.long]

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"


async def hung_up(works, chance):
    """Do all of this at once, and cancel each at some moment."""
    tasks = [beside(work) for work in works]
    for task in tasks:
        asyncio.get_running_loop().call_later(chance.random() * 0.2, task.cancel)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    unexpected = [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, DomainError)]
    assert unexpected == []
    assert not any(isinstance(o, Unavailable) for o in outcomes)


async def nothing_is_held(pair):
    """Rolling back goes on when the caller is gone, and comes to its end."""
    for _ in range(100):
        if await pair.ask(OPEN) == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a transaction stays open")


async def test_whoever_hangs_up_leaves_all_or_nothing(pair):
    server, chance = pair.one, random.Random(3)  # noqa: S311  # when they hang up guards nothing
    operator = await server.operator()
    people = [(await server.a_user(f"person{n}@example.org")).user.id for n in range(12)]
    tokens = [(await server.sign_in(f"person{n}@example.org")).refresh_token for n in range(12)]
    create, update, refresh = [await server.get(kind) for kind in (CreateUser, UpdateUser, RefreshSession)]
    grant, define, rotate = [await server.get(kind) for kind in (GrantRole, DefineRole, RotateKey)]
    suspend, delete, set_password = [await server.get(kind) for kind in (SuspendUser, DeleteUser, SetPassword)]
    for number in range(6):
        works = [
            *(
                create(operator, NewUser(f"new{number}.{n}@example.org", password=PASSWORD, roles=("user",)))
                for n in range(10)
            ),
            *(update(operator, id, None, UserChanges({"locale"}, locale=f"x-{number}")) for id in people[:6]),
            *(refresh(token, ORIGIN) for token in tokens[:6]),
            *(grant(operator, id, "manager", replacing=True) for id in people[:6]),
            *(define(operator, f"role{number}.{n}", RoleChanges({"parents"}, parents=["user"])) for n in range(4)),
            rotate(operator, KeyUse.SIGN),
            suspend(operator, people[6 + number]),
            delete(operator, people[11 - number], None),
            set_password(operator, people[6], "another pass phrase"),
            server.sign_in("person1@example.org"),
        ]
        chance.shuffle(works)
        await hung_up(works, chance)
        await nothing_is_held(pair)
    for query in WHOLE:
        assert await pair.superuser.fetch(query) == []
    async with asyncio.timeout(20):
        for token in tokens[:6]:  # cut in the middle, a refresh can be repeated
            await refresh(token, ORIGIN)


def _events(action, subject="'user:' || u.id"):
    return f"(SELECT count(*) FROM hexward.audit_events e WHERE e.action = '{action}' AND e.subject = {subject})"


WHOLE = [
    f"SELECT u.id FROM hexward.users u WHERE {_events('user.created')} <> 1 AND u.email <> 'root@example.org'",
    f"SELECT u.id FROM hexward.users u WHERE (u.status = 'suspended') AND {_events('user.suspended')} <> 1",
    f"SELECT u.id FROM hexward.users u WHERE (u.status = 'deleted')::int <> {_events('user.deleted')}",
    (
        "SELECT u.id FROM hexward.users u WHERE u.status = 'active' AND NOT EXISTS"
        " (SELECT 1 FROM hexward.password_credentials p WHERE p.user_id = u.id)"
    ),
    (
        "SELECT u.id FROM hexward.users u WHERE u.email LIKE 'new%' AND NOT EXISTS"
        " (SELECT 1 FROM hexward.grants g WHERE g.user_id = u.id AND g.role = 'user')"
    ),
    (
        f"SELECT u.id FROM hexward.users u WHERE u.email LIKE 'person%' AND u.status <> 'deleted' AND u.version <> 1"
        f" + {_events('user.updated')} + {_events('grant.created')} + {_events('user.suspended')}"
    ),
    (
        f"SELECT r.name FROM hexward.roles r WHERE r.name LIKE 'role%' AND (NOT EXISTS"
        f" (SELECT 1 FROM hexward.role_parents p WHERE p.role = r.name)"
        f" OR {_events('role.created', subject="'role:' || r.name")} <> 1)"
    ),
    "SELECT s.id FROM hexward.sessions s WHERE NOT EXISTS (SELECT 1 FROM hexward.families f WHERE f.session_id = s.id)",
    (
        "SELECT 1 WHERE (SELECT sum(counter) FROM hexward.families) <> (SELECT count(*) FROM hexward.audit_events"
        " WHERE action = 'session.refreshed' AND reason IS NULL)"
    ),
    (
        "SELECT 1 WHERE (SELECT count(*) FROM hexward.keys WHERE use = 'sign') - 1 <> (SELECT count(*)"
        " FROM hexward.audit_events WHERE action = 'key.rotated')"
    ),
]
"""Each finds what was stored by halves."""
