"""The life of maintenance beside the requests: it is told once what goes wrong, and ends when the server does."""

import asyncio
import logging

import pytest

from application.maintenance import Round
from builders import DAY, NOW, a_session, a_user
from contracts.steps import within
from domain.errors import Unavailable
from entrypoints.http.app import _maintain
from http_world import a_world


async def played(*acts):
    """What `_maintain` does while its rounds go like this: a Round, None, or an error."""
    acts, over = iter(acts), asyncio.Event()

    async def maintain():
        act = next(acts, None)
        if act is None:
            over.set()
            await asyncio.sleep(60)
        if isinstance(act, Exception):
            raise act
        return act or None

    task = asyncio.create_task(_maintain(maintain, 0.0))
    async with asyncio.timeout(10):
        await over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="entrypoints.http.app")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "entrypoints.http.app"]


NOT_DUE = False
AWAY = Unavailable("the database does not answer")


async def test_an_error_is_told_once_and_tried_again_until_it_is_over(lines):
    await played(AWAY, AWAY, NOT_DUE, AWAY, Round(), Round(), AWAY)
    assert [line.split(" ")[1] for line in lines()] == ["did", "finishes", "did"]


async def test_a_round_that_did_something_is_told_in_one_line(lines):
    await played(Round({"sessions": 3, "changes": 0}, 0.25), NOT_DUE, Round({"sessions": 0}))
    assert lines() == ["upkeep removed 3 sessions in 0.2 s; nothing is left"]


async def test_what_is_left_is_told_unless_another_server_goes_on_with_it(lines):
    await played(Round(backlog=True), Round(backlog=True, yielded=True))
    assert lines() == ["upkeep removed nothing in 0.0 s; more is left"]


async def test_a_running_server_removes_what_is_due(clock, monkeypatch):
    monkeypatch.setattr("entrypoints.http.app.LOOK", 0.01)
    async with a_world(clock) as api:
        user = a_user()
        session = a_session(user, expires_at=NOW - 100 * DAY)
        await within(api.store, api.store.users.add(user), api.store.sessions.add(session))
        clock.move(DAY)
        for _ in range(1_000):
            if await within(api.store, api.store.sessions.find(session.id)) is None:
                return
            await asyncio.sleep(0.01)
        pytest.fail("it is still there")
