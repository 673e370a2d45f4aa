"""What people do on the pages, in a real browser, with an application that sends them there."""

import itertools
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, expect

from application.oauth.tickets import SKEW
from journeys.chromium import Landings, Watched, landings, shortcomings
from journeys.server_process import PASSWORD, Server, a_server
from relying_party import Application

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.long]

NEW = "another long enough pass phrase"
WRONG = "not the right pass phrase"
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftsvorstand"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass
class World:
    """The server, with the applications and people of these tests."""

    server: Server
    client: httpx.Client
    admin: dict[str, str]
    landings: Landings
    _people: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def home(self) -> str:
        return f"http://localhost:{self.server.port}"

    def person(self, **more: Any) -> str:
        """The e-mail address of a new account."""
        one = {"email": f"zoe{next(self._people)}@example.org", "password": PASSWORD, **more}
        return self._made("/api/v1/users", one)["email"]

    def application(self, name: str, **more: Any) -> Application:
        """A public client that lives at the landings."""
        metadata = {
            "client_name": name,
            "redirect_uris": [f"{self.landings.url}/callback"],
            "post_logout_redirect_uris": [f"{self.landings.url}/bye"],
            "token_endpoint_auth_method": "none",
            **more,
        }
        return Application(None, self._made("/api/v1/clients", metadata))  # only its requests

    def tokens(self, app: Application, code: str) -> dict[str, Any]:
        """What the application gets for a code."""
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": app.metadata["redirect_uris"][0],
            "client_id": app.id,
            "code_verifier": app.verifier,
        }
        answer = self.client.post("/oauth2/token", data=given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, headers=self.admin, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def world(chromium):
    """Only where there is a browser to see it."""
    with a_server({"HEXWARD_RATE_LIMITS": "off"}) as server, server.client() as client, landings() as theirs:
        yield World(server, client, server.login(client), theirs)


@pytest.fixture(scope="module")
def notes(world):
    return world.application("Notes")


@pytest.fixture(scope="module")
def backup(world):
    """An application that goes on while one is away, and so has a session of its own."""
    scope = "openid offline_access"
    return world.application("Backup", scope=scope, grant_types=["authorization_code", "refresh_token"])


@pytest.fixture
def browsers(chromium, world):
    """Whatever happens in them: no breach of the Content-Security-Policy, no error, nothing from another host."""
    watched = Watched(chromium, world.home, (world.landings.url,))
    yield watched
    watched.close()
    assert watched.complaints == []


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.get_by_label("E-mail or username").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def headed(page: Page, heading: str) -> None:
    """The page is the one of that heading."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)


def signed_in(browsers: Watched, email: str, **options: Any) -> Page:
    """The account page of somebody."""
    page = browsers.page(**options)
    page.goto("/login")
    sign_in(page, email)
    headed(page, "Your account")
    return page


# ----------------------------------------------------------------------------------------- from an application and back


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_somebody_signs_in_allows_and_the_application_gets_what_it_asked_for(world, browsers, notes, scripts):
    zoe = world.person()
    page = browsers.page(java_script_enabled=scripts)
    page.goto(notes.request())
    expect(page).to_have_title("Sign in · Hexward")
    expect(page.get_by_text("to continue to Notes")).to_be_visible()
    sign_in(page, zoe)
    headed(page, "Allow access?")
    expect(page.get_by_role("main")).to_contain_text(zoe)
    rights = page.get_by_role("list", name="It will be able to:").get_by_role("listitem")
    expect(rights).to_have_text(
        ["know who you are", "see your name, your username and your language", "see your e-mail address"]
    )
    press(page, "Allow")
    brought = world.landings.brought(page)
    assert (brought["state"], brought["iss"]) == ("st-1", world.home)
    assert world.tokens(notes, brought["code"])["scope"] == "openid profile email"
    page.goto(notes.request(state="st-2"))  # signed in, and asked before
    assert world.landings.brought(page)["state"] == "st-2"


def test_a_wrong_password_is_told_at_the_fields_and_mended_there(world, browsers, notes):
    zoe = world.person()
    page = browsers.page()
    page.goto(notes.request())
    sign_in(page, zoe, WRONG)
    told = "E-mail, username or password is not right."
    expect(page.get_by_role("alert")).to_have_text(told)
    expect(page).to_have_title("Problem: Sign in · Hexward")
    name, password = page.get_by_label("E-mail or username"), page.get_by_label("Password")
    expect(name).to_have_value(zoe)
    expect(password).to_have_value("")
    expect(password).to_be_focused()
    for wrong in (name, password):
        expect(wrong).to_have_accessible_description(told)
        expect(wrong).to_have_attribute("aria-invalid", "true")
    password.fill(PASSWORD)
    password.press("Enter")
    headed(page, "Allow access?")


def test_who_denies_goes_back_without_a_code_and_is_asked_again(world, browsers, notes):
    page = browsers.page()
    page.goto(notes.request())
    sign_in(page, world.person())
    press(page, "Deny")
    brought = world.landings.brought(page)
    assert (brought["error"], brought["state"]) == ("access_denied", "st-1")
    assert "code" not in brought
    page.goto(notes.request())
    headed(page, "Allow access?")


def test_another_account_can_be_used_instead(world, browsers, notes):
    zoe, mia = world.person(), world.person()
    page = browsers.page()
    page.goto(notes.request())
    sign_in(page, zoe)
    page.get_by_role("link", name="Use another account").click()
    sign_in(page, mia)
    headed(page, "Allow access?")
    expect(page.get_by_role("main")).to_contain_text(mia)


def test_who_is_signed_in_may_go_on_where_the_application_lets_them_choose(world, browsers, notes):
    zoe = world.person(display_name=LONG_WORD)
    page = signed_in(browsers, zoe)
    page.wait_for_timeout((SKEW.total_seconds() + 0.1) * 1000)  # a sign-in of just now would count as the choice
    page.goto(notes.request(prompt="select_account"))
    go_on = page.get_by_role("button", name=f"Continue as {LONG_WORD}")
    expect(go_on).to_contain_text(zoe)
    assert shortcomings(page) == []
    go_on.click()
    headed(page, "Allow access?")


def test_the_pages_speak_the_language_of_the_browser_and_the_application_may_know_better(world, browsers, notes):
    page = browsers.page(locale="de-AT")
    page.goto(notes.request())
    headed(page, "Anmelden")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_label("E-Mail oder Benutzername").fill(world.person())
    page.get_by_label("Passwort").fill(PASSWORD)
    press(page, "Anmelden")
    headed(page, "Zugriff erlauben?")
    page = browsers.page(locale="de-AT")
    page.goto(notes.request(ui_locales="fr en"))
    headed(page, "Sign in")


def test_everything_can_be_done_with_the_keyboard(world, browsers, notes):
    page = browsers.page()
    page.goto(notes.request())
    expect(page.get_by_label("E-mail or username")).to_be_focused()
    page.keyboard.type(world.person())
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    headed(page, "Allow access?")
    for role, name in (("link", "Use another account"), ("button", "Allow"), ("button", "Deny")):
        page.keyboard.press("Tab")
        expect(page.get_by_role(role, name=name)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert "code" in world.landings.brought(page)
    page.goto("/account")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("Zoë")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Your profile has been saved.")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Zoë")


# ---------------------------------------------------------------------------------------------------------- the account


def test_the_profile_is_saved_and_a_mistake_stays_where_it_can_be_mended(world, browsers):
    page = signed_in(browsers, world.person(display_name="Zoë"))
    page.get_by_label("Username").fill("not a name")
    press(page, "Save profile")
    username = page.get_by_label("Username")
    expect(username).to_have_value("not a name")
    expect(username).to_be_focused()
    expect(username).to_have_accessible_description(
        "A username has at most 64 characters, no spaces and no @. To sign in with, instead of the e-mail address."
    )
    expect(page.get_by_role("alert")).to_contain_text("That did not work")
    username.fill("zoe-of-the-journey")
    press(page, "Save profile")
    expect(page.get_by_role("status")).to_have_text("Your profile has been saved.")
    expect(page.get_by_role("status")).to_be_focused()
    expect(page.get_by_label("Username")).to_have_value("zoe-of-the-journey")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Zoë")


def test_a_new_password_signs_the_other_devices_out(world, browsers):
    zoe = world.person()
    page, other = signed_in(browsers, zoe), signed_in(browsers, zoe)
    page.get_by_label("Current password").fill(WRONG)
    page.get_by_label("New password").fill(NEW)
    press(page, "Change password")
    expect(page.get_by_label("Current password")).to_be_focused()
    expect(page.get_by_label("Current password")).to_have_accessible_description("The current password is not right.")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW)
    press(page, "Change password")
    expect(page.get_by_role("status")).to_contain_text("Your password has been changed.")
    other.reload()
    headed(other, "Sign in")
    sign_in(other, zoe, NEW)
    headed(other, "Your account")


def test_a_device_can_be_signed_out_from_another_one_and_all_of_them_at_once(world, browsers):
    zoe = world.person()
    other, page = signed_in(browsers, zoe, user_agent=FIREFOX), signed_in(browsers, zoe)
    expect(page.get_by_role("listitem").filter(has_text="This device")).to_have_count(1)
    press(page, "Sign out Firefox on Windows")
    expect(page.get_by_role("status")).to_have_text("The device has been signed out.")
    expect(page.get_by_text("Firefox on Windows")).to_have_count(0)
    other.reload()
    headed(other, "Sign in")
    press(page, "Sign out everywhere")
    headed(page, "You are signed out")
    page.goto("/account")
    headed(page, "Sign in")


def test_an_application_can_be_disconnected_and_has_to_ask_again(world, browsers, backup):
    asking = backup.request(scope="openid offline_access")
    page = signed_in(browsers, world.person())
    page.goto(asking)
    press(page, "Allow")
    world.tokens(backup, world.landings.brought(page)["code"])
    page.goto("/account")
    expect(page.get_by_text("by Backup")).to_be_visible()
    press(page, "Disconnect Backup")
    expect(page.get_by_role("status")).to_have_text("The application has been disconnected.")
    expect(page.get_by_text("No application is connected to your account.")).to_be_visible()
    expect(page.get_by_text("by Backup")).to_have_count(0)
    page.goto(asking)
    headed(page, "Allow access?")


# ---------------------------------------------------------------------------------------------------------- signing out


def test_signing_out_on_the_account_page_leads_to_a_page_that_leads_back(world, browsers):
    page = signed_in(browsers, world.person())
    press(page, "Sign out")
    headed(page, "You are signed out")
    page.get_by_role("link", name="Sign in again").click()
    headed(page, "Sign in")


def test_an_application_that_knows_who_it_is_signs_out_and_gets_the_browser_back(world, browsers, notes):
    page = signed_in(browsers, world.person())
    page.goto(notes.request())
    press(page, "Allow")
    id_token = world.tokens(notes, world.landings.brought(page)["code"])["id_token"]
    back = {"post_logout_redirect_uri": f"{world.landings.url}/bye", "state": "so long"}
    page.goto(f"/oauth2/logout?{urlencode({'id_token_hint': id_token, **back})}")
    assert world.landings.brought(page, "/bye") == {"state": "so long"}
    page.goto("/account")
    headed(page, "Sign in")


def test_an_application_that_does_not_is_answered_with_a_question(world, browsers, notes):
    page = signed_in(browsers, world.person())
    back = {"post_logout_redirect_uri": f"{world.landings.url}/bye", "state": "so long"}
    asking = f"/oauth2/logout?{urlencode({'client_id': notes.id, **back})}"
    page.goto(asking)
    headed(page, "Sign out?")
    page.get_by_role("link", name="Stay signed in").click()
    headed(page, "Your account")
    page.goto(asking)
    press(page, "Sign out")
    assert world.landings.brought(page, "/bye") == {"state": "so long"}
    page.goto("/account")
    headed(page, "Sign in")


# ------------------------------------------------------------------------------------ old pages, back, and several tabs


def test_a_page_that_is_too_old_says_so_and_leads_on(world, browsers):
    zoe = world.person()
    page = signed_in(browsers, zoe)
    elsewhere = page.context.new_page()
    elsewhere.goto("/account")
    press(elsewhere, "Sign out")
    headed(elsewhere, "You are signed out")
    press(page, "Save profile")
    headed(page, "This page has expired")
    page.get_by_role("link", name="Try again").click()
    sign_in(page, zoe)
    headed(page, "Your account")


def test_a_sign_in_page_that_is_too_old_is_shown_again_and_works(world, browsers, notes):
    zoe = world.person()
    page = signed_in(browsers, zoe)
    page.goto(notes.request())
    page.get_by_role("link", name="Use another account").click()
    headed(page, "Sign in")
    elsewhere = page.context.new_page()
    elsewhere.goto("/account")
    press(elsewhere, "Sign out")
    headed(elsewhere, "You are signed out")
    sign_in(page, zoe)
    expect(page.get_by_role("alert")).to_have_text("This page was open for too long. Please sign in again.")
    expect(page.get_by_label("E-mail or username")).to_have_value(zoe)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign in")
    headed(page, "Allow access?")


def test_a_browser_that_keeps_no_cookies_is_told_so(world, browsers, notes):
    page = browsers.page()
    page.goto(notes.request())
    page.context.clear_cookies()
    sign_in(page, world.person())
    expect(page.get_by_role("alert")).to_contain_text("Your browser keeps no cookies.")


def test_pressing_twice_does_no_harm(world, browsers, notes):
    page = browsers.page()
    page.goto(notes.request())
    page.get_by_label("E-mail or username").fill(world.person())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").dblclick()
    headed(page, "Allow access?")
    page.get_by_role("button", name="Allow").dblclick()
    assert "code" in world.landings.brought(page)


def test_a_request_that_is_too_old_or_none_of_ours_leads_to_the_account(world, browsers):
    page = browsers.page()
    for path in ("/login", "/consent"):
        page.goto(f"{path}?ticket=x")
        headed(page, "This page has expired")
        expect(page.get_by_text("Go back to the application")).to_be_visible()
        page.get_by_role("link", name="To your account").click()
        headed(page, "Sign in")


def test_a_request_that_is_wrong_is_told_to_the_person_and_never_by_a_redirect(world, browsers, notes):
    page = browsers.page()
    before = len(world.landings.seen)
    page.goto(notes.request(redirect_uri=f"{world.landings.url}/elsewhere"))
    headed(page, "This request cannot be answered")
    assert len(world.landings.seen) == before


def test_going_back_after_signing_in_shows_no_form_again(world, browsers):
    page = signed_in(browsers, world.person())
    page.go_back()
    headed(page, "Your account")


def test_going_back_after_consent_leads_to_the_application_again_and_makes_nothing_twice(world, browsers, notes):
    page = browsers.page()
    page.goto(notes.request())
    sign_in(page, world.person())
    press(page, "Allow")
    first = world.landings.brought(page)
    world.tokens(notes, first["code"])
    page.go_back()
    again = world.landings.brought(page)
    assert again.keys() == first.keys()
    assert again["code"] != first["code"]
    page.goto("/account")
    connected = page.get_by_role("region", name="Connected applications").get_by_role("heading", level=3)
    expect(connected).to_have_text(["Notes"])
    expect(page.get_by_role("region", name="Devices").get_by_role("heading", level=3)).to_have_count(1)


def test_signing_in_in_two_tabs_serves_both_applications(world, browsers, notes):
    zoe, other = world.person(), world.application("Calendar")
    one = browsers.page()
    two = one.context.new_page()
    one.goto(notes.request(state="one"))
    two.goto(other.request(state="two"))
    for page in (one, two):
        sign_in(page, zoe)
        headed(page, "Allow access?")
    for page, app, state in ((one, notes, "one"), (two, other, "two")):
        press(page, "Allow")
        brought = world.landings.brought(page)
        assert brought["state"] == state
        assert world.tokens(app, brought["code"])["access_token"]


def test_nobody_allows_in_one_tab_for_whoever_has_signed_in_in_another(world, browsers, notes):
    zoe, mia = world.person(), world.person()
    one = browsers.page()
    two = one.context.new_page()
    for page in (one, two):
        page.goto(notes.request())
    sign_in(one, zoe)
    sign_in(two, mia)
    headed(two, "Allow access?")
    press(one, "Allow")
    headed(one, "This page has expired")
    one.get_by_role("link", name="Try again").click()
    headed(one, "Allow access?")
    expect(one.get_by_role("main")).to_contain_text(mia)
    press(one, "Allow")
    assert "code" in world.landings.brought(one)


# -------------------------------------------------------------------------------------------------------- for everybody

EVERYTHING = "openid profile email roles offline_access hexward files:read:everything-in-this-organisation-and-below"


def asking_for_everything(world: World, name: str) -> tuple[Application, str]:
    """An application that asks for all there is, and how."""
    app = world.application(name, scope=EVERYTHING, grant_types=["authorization_code", "refresh_token"])
    return app, app.request(scope=EVERYTHING)


def test_every_page_can_be_seen_read_and_touched_by_everybody(world, browsers):
    zoe, (app, asking) = world.person(display_name="Zoë Müller"), asking_for_everything(world, "Calendar")
    page = browsers.page()
    found: dict[str, list[str]] = {}

    def look(name: str, heading: str) -> None:
        headed(page, heading)
        found[name] = shortcomings(page)

    page.goto(asking)
    look("sign-in", "Sign in")
    sign_in(page, zoe, WRONG)
    look("sign-in, wrong", "Sign in")
    sign_in(page, zoe)
    look("consent", "Allow access?")
    press(page, "Allow")
    world.tokens(app, world.landings.brought(page)["code"])
    signed_in(browsers, zoe, user_agent=FIREFOX)
    page.goto("/account?done=profile")
    look("account", "Your account")
    page.get_by_label("Username").fill("not a name")
    press(page, "Save profile")
    look("account, wrong", "Your account")
    page.goto(f"/oauth2/logout?client_id={app.id}")
    look("sign-out", "Sign out?")
    page.goto("/login?ticket=x")
    look("expired", "This page has expired")
    page.goto(app.request(redirect_uri="https://elsewhere.example.org/"))
    look("error", "This request cannot be answered")
    page.goto("/logged-out")
    look("signed out", "You are signed out")
    assert {name: seen for name, seen in found.items() if seen} == {}


@pytest.mark.parametrize(
    ("application", "person"),
    [
        ("The Comprehensive Scheduling and Collaboration Suite for Teams of All Sizes 📆", LONG_WORD),
        ("تطبيق الملاحظات 📝", "زوي"),
    ],
    ids=["long", "right to left"],
)
def test_whatever_people_and_applications_are_called_their_pages_stay_in_shape(world, browsers, application, person):
    app, asking = asking_for_everything(world, application)
    zoe = world.person(email=f"{'zoe.' * 14}{len(person)}@{'department.' * 8}example.org", display_name=person)
    page = browsers.page()
    page.goto(asking)
    assert shortcomings(page) == []
    sign_in(page, zoe)
    headed(page, "Allow access?")
    assert shortcomings(page) == []
    press(page, "Allow")
    world.tokens(app, world.landings.brought(page)["code"])
    page.goto("/account")
    expect(page.get_by_role("heading", name=application)).to_be_visible()
    assert shortcomings(page) == []
