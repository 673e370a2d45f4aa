"""What journeys through the pages share."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from journeys.chromium import a_chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser; each person takes a context of their own."""
    with a_chromium() as browser:
        yield browser
