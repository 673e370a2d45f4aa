"""The system's Chromium, driven by Playwright, for journeys through the real pages."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from journeys.follow import needed


@contextmanager
def a_browser() -> Iterator[Browser]:
    """One browser; each person takes a context of their own."""
    chromium = needed("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
