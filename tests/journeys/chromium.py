"""A real browser on the pages of a real server, an application for it to come from, and eyes for what goes wrong."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from journeys.follow import needed

WIDTHS = (1280, 390)
NARROW = 320
"""What 1280 pixels are at 400 % (WCAG 2.2, 1.4.10)."""
TOUCH = 44
"""Pixels that a finger needs (WCAG 2.2, 2.5.5)."""
PATIENCE = 15_000
"""Milliseconds until something is taken for missing: much, for a machine that does other things meanwhile."""
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
_TOO_SMALL = """least => [...document.querySelectorAll("a, button, input:not([type=hidden])")]
    .filter(e => e.checkVisibility() && Math.round(e.getBoundingClientRect().height) < least)
    .map(e => e.outerHTML)"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def a_chromium() -> Iterator[Browser]:
    """The system's own."""
    program = needed("chromium", "chromium-browser", "google-chrome")
    expect.set_options(timeout=PATIENCE)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()


class _Landing(BaseHTTPRequestHandler):
    """A page that says where one has landed."""

    def do_GET(self) -> None:
        """Takes whatever the browser brings."""
        self.server.seen.append(self.path)
        body = f"<!doctype html><title>Application</title><p>{urlsplit(self.path).path}</p>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@dataclass
class Landings:
    """The side of an application that browsers come back to."""

    url: str
    seen: list[str]

    def brought(self, page: Page, path: str = "/callback") -> dict[str, str]:
        """What the browser has brought there in the end."""
        page.wait_for_url(f"{self.url}{path}*")
        return dict(parse_qsl(urlsplit(page.url).query))


@contextmanager
def landings() -> Iterator[Landings]:
    """A web server on a port of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Landing) as server:
        server.seen = seen = []
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Landings(f"http://127.0.0.1:{server.server_port}", seen)
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Watched:
    """Browsers of several people, each with what its console said and whom it spoke to."""

    chromium: Browser
    home: str
    others: tuple[str, ...]
    complaints: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def page(self, **options: Any) -> Page:
        """The first tab of a browser that has been nowhere yet."""
        context = self.chromium.new_context(base_url=self.home, **{"locale": "en-GB", **options})
        context.set_default_timeout(PATIENCE)
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self._asked(request.url))
        self._contexts.append(context)
        return context.new_page()

    def close(self) -> None:
        """All of them."""
        for context in self._contexts:
            context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        """A refusal of ours with its page is no complaint; a breach of the Content-Security-Policy is one."""
        if message.type in ("error", "warning") and not _REFUSED.match(message.text):
            self.complaints.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith(tuple(f"{origin}/" for origin in (self.home, *self.others))):
            self.complaints.append(f"a request to {url}")


def shortcomings(page: Page) -> list[str]:
    """What would keep somebody from using the page as it is: seen by axe in both colour schemes and widths, anything to
    scroll sideways for, and on a phone whatever is too small to touch. Leaves the page wide and light."""
    found = []
    page.evaluate(f"{AXE_SCRIPT}; undefined")
    for width in (NARROW, *reversed(WIDTHS)):
        page.set_viewport_size({"width": width, "height": 844})
        if (sideways := page.evaluate(_OVERFLOW)) > 0:
            found.append(f"at {width} px it scrolls sideways by {sideways} px")
        if width != WIDTHS[0]:
            small = page.evaluate(_TOO_SMALL, TOUCH)
            found += [f"at {width} px it is too small to touch: {element}" for element in small]
        if width == NARROW:
            continue
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for violation in page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]:
                nodes = "; ".join(node["html"] for node in violation["nodes"])
                found.append(f"{width} px, {scheme}: {violation['impact']}, {violation['help']}: {nodes}")
    return found
