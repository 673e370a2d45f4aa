"""The fixture of all HTTP tests."""

import pytest

from http_world import a_world


@pytest.fixture
async def api(clock):
    async with a_world(clock) as world:
        yield world
