"""The page on single-page apps, followed to the letter in a browser, but for the ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from journeys.follow import HOW_TO, Reader, a_reader, unmet
from journeys.server_process import ADMIN, PASSWORD, Server, a_place, free_port, gone

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.slow]

PAGE = HOW_TO / "single-page-app.md"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Who starts Hexward as well, with what the page sets."""
    own = {port: str(free_port()) for port in ("8000", "3000")}
    with a_place() as data_dir:
        settings = {
            "HEXWARD_PORT": own["8000"],
            "HEXWARD_DATA_DIR": str(data_dir),
            "HEXWARD_ADMIN_EMAIL": ADMIN,
            "HEXWARD_ADMIN_PASSWORD": PASSWORD,
        }
        with a_reader(tmp_path, own, **settings) as reader:
            yield reader
            server = Server(data_dir, int(own["8000"]), reader.servers[0], tmp_path / "server-0.log")
            family = server.family()
            server.stop()
            assert not gone(family, 10)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context() as context:
        context.set_default_timeout(15_000)
        yield context.new_page()


def test_people_sign_in_to_the_single_page_app_and_out_again(page: Page, reader: Reader):
    reader.follow(PAGE)
    app = reader.mine("http://localhost:3000/")
    seen: list[str] = []

    def sees(text: str) -> None:
        expect(page.locator("#who")).to_have_text(text, timeout=15_000)
        seen.append(text)

    page.goto(app)
    sees("Nobody is signed in.")
    page.get_by_role("button", name="Sign in").click()
    page.locator("[name=identifier]").fill(ADMIN)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=password]").press("Enter")
    page.locator("[value=deny]").click()
    sees("Not signed in: access_denied")
    page.get_by_role("button", name="Sign in").click()
    page.locator("[value=allow]").click()
    sees(f"Signed in: {ADMIN}")
    assert page.url == app
    page.reload()
    sees(f"Signed in: {ADMIN}")
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert page.evaluate("document.cookie") == ""
    token = page.evaluate("import('/app.js').then((app) => app.accessToken())")
    later = (
        "Date.now = () => 1e14; import('/app.js').then((app) => Promise.all([app.accessToken(), app.accessToken()]))"
    )
    assert token not in page.evaluate(later)
    page.get_by_role("button", name="Sign out").click()
    sees("Nobody is signed in.")
    page.goto(f"{app}?code=1&state=2")
    sees("Not signed in: not what was asked for")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[name=password]")).to_be_visible()  # signed out of Hexward as well
    page.goto(app.replace("localhost", "127.0.0.1"))
    sees("Not signed in: Failed to fetch")
    wrong = "client_id=85e181f9ed06f70123be076a&redirect_uri=http://localhost:3000"
    page.goto(reader.mine(f"http://localhost:8000/oauth2/authorize?{wrong}"))
    seen.append(page.inner_text("body"))
    assert unmet(PAGE, seen) == []
