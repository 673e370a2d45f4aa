"""People at the pages, in Chromium: what they see, what goes wrong, and how they get on."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page, expect

from journeys.server_process import PASSWORD, Server, a_server
from relying_party import challenge_of

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.long]

SIZES = {"desktop": (1280, 800), "phone": (390, 844), "small phone": (320, 568)}
NEW_PASSWORD = "another long enough pass phrase"
numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_server({"HEXWARD_LOG_LEVEL": "warning"}) as running:
        with running.client() as client:
            running.login(client)
        yield running


@dataclass
class Place:
    """The service, an application of it, and the people there are."""

    server: Server
    browser: Browser
    url: str
    callback: str

    def post(self, path: str, **body: Any) -> Any:
        with self.server.client() as client:
            answer = client.post(path, headers=self.server.login(client), json=body)
            assert answer.status_code == 201, answer.text
            return answer.json()

    def somebody(self, **more: Any) -> str:
        """A new account; its e-mail address."""
        email = f"person{next(numbers)}@example.org"
        self.post("/api/v1/users", email=email, password=PASSWORD, **more)
        return email

    def request(self, name: str = "Notes", scope: str = "openid profile email", **more: str) -> str:
        """The address to which a newly registered application sends people."""
        made = self.post(
            "/api/v1/clients",
            client_name=name,
            redirect_uris=[self.callback],
            post_logout_redirect_uris=[self.callback],
            scope=f"{scope} offline_access",
        )
        asked = {
            "response_type": "code",
            "client_id": made["client_id"],
            "redirect_uri": self.callback,
            "scope": scope,
            "state": secrets.token_urlsafe(8),
            "code_challenge": challenge_of("v" * 43),
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self.url}/oauth2/authorize?{urlencode(asked)}"

    @contextmanager
    def visitor(self, size: str = "desktop", **options: Any) -> Iterator[BrowserContext]:
        """A browser that has been nowhere yet; whatever it complains of, or loads from elsewhere, fails the test."""
        width, height = SIZES[size]
        given = {"locale": "en-GB", "viewport": {"width": width, "height": height}, **options}
        complaints: list[str] = []
        with self.browser.new_context(**given) as context:
            context.set_default_timeout(10_000)
            context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            context.on("weberror", lambda error: complaints.append(str(error.error)))
            context.on("request", lambda asked: complaints.extend(self._elsewhere(asked.url)))
            yield context
        assert [said for said in complaints if not _status_told(said)] == []

    def _elsewhere(self, url: str) -> list[str]:
        return [] if url.startswith((self.url, self.callback)) else [f"asked for {url}"]


def _status_told(said: str) -> bool:
    """Chromium calls it an error when a page comes with a status of 400 and above, which is meant to be."""
    return said.startswith("Failed to load resource: the server responded with a status of 4")


@pytest.fixture(scope="module")
def place(server: Server, browser: Browser, app: str) -> Place:
    return Place(server, browser, f"http://localhost:{server.port}", f"{app}/callback")


@pytest.fixture
def page(place: Place) -> Iterator[Page]:
    with place.visitor() as context:
        yield context.new_page()


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.get_by_label("E-mail or username").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def came_back(page: Page, place: Place) -> dict[str, str]:
    """What the application is told, once the browser is there."""
    page.wait_for_url(f"{place.callback}?**")
    return {name: value for name, [value] in parse_qs(urlsplit(page.url).query).items()}


# -------------------------------------------------------------------------------------------------- sign-in and consent
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_who_signs_in_and_allows_comes_back_with_a_code_and_is_not_asked_again(place, scripts):
    email, request = place.somebody(), place.request("Notes")
    with place.visitor(java_script_enabled=scripts) as context:
        page = context.new_page()
        page.goto(request)
        expect(page).to_have_title(re.compile("Sign in"))
        expect(page.get_by_text("to continue to Notes")).to_be_visible()
        sign_in(page, email)
        expect(page.get_by_role("listitem")).to_have_count(3)
        press(page, "Allow")
        told = came_back(page, place)
        assert set(told) == {"code", "state", "iss"}
        page.goto(request)
        assert came_back(page, place)["code"] != told["code"]


def test_a_wrong_password_is_announced_beside_the_fields_and_can_be_mended(place, page):
    email = place.somebody()
    page.goto(f"{place.url}/account")
    sign_in(page, email, "not the right pass phrase")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("E-mail, username or password is not right.")
    expect(page.get_by_label("E-mail or username")).to_have_value(email)
    password = page.get_by_label("Password", exact=True)
    expect(password).to_have_value("")
    expect(password).to_be_focused()
    expect(password).to_have_attribute("aria-describedby", alert.get_attribute("id") or "")
    sign_in(page, email)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")


def test_who_denies_goes_back_with_an_error_and_is_asked_again_next_time(place, page):
    request = place.request()
    page.goto(request)
    sign_in(page, place.somebody())
    press(page, "Deny")
    told = came_back(page, place)
    assert (told["error"], "code" in told) == ("access_denied", False)
    page.goto(request)
    press(page, "Allow")
    assert "code" in came_back(page, place)


def test_everything_can_be_done_with_the_keyboard(place, page):
    page.goto(place.request())
    expect(page.get_by_label("E-mail or username")).to_be_focused()
    page.keyboard.type(place.somebody())
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/consent?**")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "allow":
            break
    page.keyboard.press("Enter")
    assert "code" in came_back(page, place)


def test_the_browser_chooses_the_language(place):
    with place.visitor(locale="de-AT") as context:
        page = context.new_page()
        page.goto(place.request())
        expect(page.locator("html")).to_have_attribute("lang", "de")
        page.get_by_label("E-Mail oder Benutzername").fill(place.somebody())
        page.get_by_label("Passwort", exact=True).fill(PASSWORD)
        press(page, "Anmelden")
        press(page, "Erlauben")
        assert "code" in came_back(page, place)


# -------------------------------------------------------------------------------------------- what does not go straight
def test_a_page_that_has_expired_says_so_and_shows_the_way_back(place, page):
    page.goto(f"{place.url}/login?ticket=none-of-ours")
    expect(page.get_by_role("heading", level=1)).to_have_text("This page has expired")
    page.get_by_role("link", name="To your account").click()
    sign_in(page, place.somebody())
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")


def test_a_form_of_before_the_cookies_were_cleared_is_shown_again_and_then_works(place, page):
    email = place.somebody()
    page.goto(place.request())
    page.context.clear_cookies()
    sign_in(page, email)
    expect(page.get_by_role("alert")).to_contain_text("open for too long")
    sign_in(page, email)
    press(page, "Allow")
    assert "code" in came_back(page, place)


def test_the_back_button_leads_to_pages_that_still_work(place, page):
    email = place.somebody()
    page.goto(place.request())
    sign_in(page, email)
    page.wait_for_url("**/consent?**")
    page.go_back()  # where somebody who is signed in has nothing to do any more
    page.wait_for_url("**/consent?**")
    press(page, "Allow")
    first = came_back(page, place)["code"]
    page.go_back()  # to a question that has been answered
    page.wait_for_url(lambda url: first not in url and url.startswith(place.callback))
    assert came_back(page, place)["code"] != first


def test_two_tabs_sign_in_for_two_applications(place):
    email = place.somebody()
    with place.visitor() as context:
        one, other = context.new_page(), context.new_page()
        one.goto(place.request("Notes"))
        other.goto(place.request("Photos"))
        sign_in(one, email)
        sign_in(other, email)  # by a form of before the other tab signed in, which is why that is not needed any more
        for tab in (one, other):
            press(tab, "Allow")
            assert "code" in came_back(tab, place)


# ---------------------------------------------------------------------------------------------------------- the account
def at_the_account(page: Page, place: Place) -> str:
    email = place.somebody(display_name="Zoë 李")
    page.goto(f"{place.url}/account")
    sign_in(page, email)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    return email


def test_profile_and_password_are_changed_and_mistakes_lead_to_their_field(place, page):
    email = at_the_account(page, place)
    expect(page.get_by_label("Name", exact=True)).to_have_value("Zoë 李")
    page.get_by_label("Name", exact=True).fill("Zoë Müller")
    press(page, "Save profile")
    expect(page.get_by_role("status")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Zoë Müller")

    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("short")
    press(page, "Change password")
    page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_label("New password")).to_be_focused()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    press(page, "Change password")
    expect(page.get_by_role("status")).to_be_visible()
    press(page, "Sign out")
    page.goto(f"{place.url}/account")
    sign_in(page, email, NEW_PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")


def test_another_device_is_signed_out_from_here(place, page):
    email = at_the_account(page, place)
    with place.visitor() as elsewhere:
        other = elsewhere.new_page()
        other.goto(f"{place.url}/account")
        sign_in(other, email)
        expect(other.get_by_role("heading", level=1)).to_have_text("Your account")
        page.reload()
        sessions = page.get_by_role("region", name="Devices")
        sessions.get_by_role("button", name="Sign out Chrome on Linux").click()
        expect(page.get_by_role("status")).to_be_visible()
        other.reload()
        expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_connected_application_is_disconnected_and_asks_again(place, page):
    request = place.request("Calendar")
    page.goto(request)
    sign_in(page, place.somebody())
    press(page, "Allow")
    came_back(page, place)
    page.goto(f"{place.url}/account")
    applications = page.get_by_role("region", name="applications")
    expect(applications).to_contain_text("Calendar")
    applications.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_be_visible()
    expect(page.get_by_role("region", name="applications")).not_to_contain_text("Calendar")
    page.goto(request)
    expect(page.get_by_role("button", name="Allow")).to_be_visible()


def test_signing_out_shows_a_page_and_nothing_of_before(place, page):
    at_the_account(page, place)
    page.get_by_role("banner").get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_an_application_that_signs_people_out_has_to_ask_them(place, page):
    at_the_account(page, place)
    page.goto(f"{place.url}/oauth2/logout")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign out?")
    press(page, "Sign out")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")


# -------------------------------------------------------------------------------------------------------- for everybody
def sign_in_page(page: Page, place: Place) -> None:
    page.goto(place.request("Notes"))


def wrong_password(page: Page, place: Place) -> None:
    page.goto(place.request("Notes"))
    sign_in(page, place.somebody(), "not the right pass phrase")


def consent_page(page: Page, place: Place) -> None:
    name = "The Extraordinarily Long Name of a Notebook 📓 דפדפן"
    page.goto(place.request(name, "openid profile email roles offline_access"))
    sign_in(page, place.somebody())
    page.wait_for_url("**/consent?**")


def account_page(page: Page, place: Place) -> None:
    page.goto(place.request("Photos of the Family"))
    sign_in(page, place.somebody(display_name="Zoë " * 15))
    press(page, "Allow")
    came_back(page, place)
    page.goto(f"{place.url}/account")


def mistake_at_the_account(page: Page, place: Place) -> None:
    at_the_account(page, place)
    page.get_by_label("Username").fill("not a username")
    press(page, "Save profile")


def error_page(page: Page, place: Place) -> None:
    page.goto(f"{place.url}/oauth2/authorize?client_id=nobody")


def sign_out_page(page: Page, place: Place) -> None:
    at_the_account(page, place)
    page.goto(f"{place.url}/oauth2/logout")


def signed_out(page: Page, place: Place) -> None:
    sign_out_page(page, place)
    press(page, "Sign out")


SHOWN: list[Callable[[Page, Place], None]] = [
    sign_in_page, wrong_password, consent_page, account_page, mistake_at_the_account, error_page, sign_out_page,
    signed_out,
]  # fmt: skip


@pytest.mark.parametrize("show", SHOWN, ids=lambda show: show.__name__.replace("_", " "))
def test_every_page_is_accessible_and_fits_light_and_dark_wide_and_narrow(place, show):
    with place.visitor() as context:
        page = context.new_page()
        show(page, place)
        for width, height in SIZES.values():
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                assert violations(page) == []


def violations(page: Page) -> list[str]:
    """What axe finds (https://github.com/dequelabs/axe-core): rule, impact and place."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run().then(results => results.violations)")
    return [f"{v['id']} ({v['impact']}): {node['html']}" for v in found for node in v["nodes"]]
