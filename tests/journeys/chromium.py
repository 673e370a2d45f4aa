"""The system's Chromium, driven by Playwright, for journeys through the real pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def a_browser() -> Iterator[Browser]:
    """One browser; each person takes a context of their own. Skips where there is none, and fails so in CI."""
    if CHROMIUM is None:
        reason = "there is no Chromium here: apt-get install chromium (Debian's package)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
