"""The account page: what people can do about their own account in a browser."""

import pytest

from http_world import ADMIN, PASSWORD, a_world
from relying_party import a_browser, a_person, an_application, fields

NEW = "another long enough pass phrase"


@pytest.fixture
async def api(clock):
    async with a_world(clock) as world:
        yield world


@pytest.fixture
async def zoe(api):
    person = await a_person(api)
    await person.sign_in()
    return person


async def done(zoe, path, **given):
    return await zoe.send(await zoe.browser.get("/account"), path, **given)


async def test_whoever_is_not_signed_in_is_led_to_the_sign_in_page(api):
    nobody = a_browser(api)
    assert (await nobody.browser.get("/account")).headers["location"] == "/login"


async def test_a_wrong_password_shows_the_form_again_and_tells_nothing(api):
    zoe = await a_person(api)
    known = await zoe.sign_in(password="not the right pass phrase")
    unknown = await a_browser(api, "nobody@example.org").sign_in()
    assert known.status_code == unknown.status_code == 401
    assert 'role="alert"' in known.text
    assert fields(known.text)["identifier"] == "zoe@example.org"
    assert not any("session" in cookie for cookie in zoe.browser.cookies)


async def test_a_session_cookie_is_for_http_only_and_lax_and_no_forgery_passes(api, zoe):
    [cookie] = [c for c in zoe.browser.cookies.jar if c.name == "hexward_session"]
    assert cookie.has_nonstandard_attr("HttpOnly")
    zoe.browser.cookies.set("hexward_session", (cookie.value or "")[:-4] + "AAAA", domain=cookie.domain)
    zoe.browser.cookies.jar.clear(cookie.domain, "/", "hexward_session")
    assert (await zoe.browser.get("/account", headers={"Cookie": "hexward_session=" + "A" * 64})).status_code == 303


async def test_behind_https_cookies_belong_to_the_host_alone(clock):
    async with a_world(clock, PUBLIC_URL="https://id.example.org") as api:
        answer = await api.client.get("/login", headers={"Host": "id.example.org"})
        [cookie] = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-hexward_browser=")
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= {p.strip().lower() for p in cookie.split(";")}
        assert answer.headers["strict-transport-security"]


async def test_whoever_comes_by_another_name_is_led_to_the_public_address(api):
    answer = await api.client.get("/login?ticket=x", headers={"Host": "127.0.0.1:8000"})
    assert (answer.status_code, answer.headers["location"]) == (307, "http://localhost:8000/login?ticket=x")


async def test_the_profile_can_be_changed_and_a_mistake_stays_to_be_mended(zoe):
    answer = await done(zoe, "/account/profile", display_name="Zoë 李", username="zoe", locale="de")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=profile")
    page = await zoe.browser.get("/account?done=profile")
    assert "Zoë 李" in page.text
    wrong = await done(zoe, "/account/profile", display_name="Zoë", username="not a name", locale="de")
    assert wrong.status_code == 422
    assert 'role="alert"' in wrong.text
    assert fields(wrong.text)["username"] == "not a name"


async def test_a_new_password_needs_the_old_one_and_ends_other_devices(api, zoe):
    other = a_browser(api, zoe.email)
    await other.sign_in()
    wrong = await done(zoe, "/account/password", current_password="not the right pass phrase", new_password=NEW)
    assert wrong.status_code == 422
    right = await done(zoe, "/account/password", current_password=PASSWORD, new_password=NEW)
    assert right.headers["location"] == "/account?done=password"
    assert (await zoe.browser.get("/account")).status_code == 200
    assert (await other.browser.get("/account")).status_code == 303


async def test_another_device_can_be_signed_out_and_all_of_them(api, zoe):
    other = a_browser(api, zoe.email)
    await other.sign_in()
    page = await zoe.browser.get("/account")
    await zoe.send(page, "/account/sessions/end", session=fields(page.text)["session"])
    assert (await other.browser.get("/account")).status_code == 303
    assert (await zoe.browser.get("/account")).status_code == 200
    assert (await done(zoe, "/account/sessions/end-all")).headers["location"] == "/logged-out"
    assert (await zoe.browser.get("/account")).status_code == 303


async def test_a_connected_application_is_shown_and_can_be_disconnected(api, zoe):
    app = await an_application(api)
    tokens = await app.tokens(zoe, scope="openid offline_access")
    assert "Notes" in (await zoe.browser.get("/account")).text
    answer = await done(zoe, "/account/applications/revoke", client_id=app.id)
    assert answer.headers["location"] == "/account?done=application"
    assert (await app.userinfo(tokens["access_token"])).status_code == 401
    assert (await app.refresh(tokens["refresh_token"])).status_code == 400
    assert (await zoe.follow(await zoe.browser.get(app.request()))).request.url.path == "/consent"


async def test_this_device_comes_first_and_the_others_say_by_which_application_they_are(api, zoe):
    app = await an_application(api, client_name="Our own", trusted=True)  # of which nothing else on the page tells
    await app.tokens(zoe, scope="openid offline_access")
    await a_browser(api, zoe.email).sign_in()
    page = (await zoe.browser.get("/account")).text
    assert "by <bdi>Our own</bdi>" in page
    assert page.index("This device") < page.index("Our own")
    assert page.count("<h3>") == 3
    assert page.index("This device") < page.index('name="session"')


FORMS = (
    "/account/profile", "/account/password", "/account/sessions/end", "/account/sessions/end-all",
    "/account/applications/revoke", "/oauth2/logout-confirm", "/consent",
)  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
async def test_no_form_is_taken_without_its_token_or_with_one_of_another_browser(api, zoe, path):
    other = a_browser(api, ADMIN)
    stolen = fields((await other.browser.get("/login")).text)["form_token"]
    for token in ("", "x", stolen):
        answer = await zoe.browser.post(path, data={"form_token": token, "session": "x"})
        assert answer.status_code == 400
        assert (await zoe.browser.get("/account")).status_code == 200


async def test_pages_may_not_be_framed_and_run_no_script(zoe):
    answer = await zoe.browser.get("/account")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "<script" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


# -------------------------------------------------------------------------------------------------------- old pages


async def test_whoever_signs_in_in_one_tab_may_still_send_the_sign_in_form_of_another(api):
    zoe, max_ = await a_person(api), await a_person(api, "max@example.org")
    shown = await zoe.browser.get("/login")
    await zoe.sign_in()
    as_max = await zoe.sign_in(shown, identifier=max_.email)
    assert as_max.headers["location"] == "/account"
    assert max_.email in (await zoe.browser.get("/account")).text


@pytest.mark.parametrize(
    ("cookies", "told"), [(True, "This page was open for too long."), (False, "Your browser keeps no cookies.")]
)
async def test_a_sign_in_form_that_is_too_old_is_shown_afresh_with_the_name_in_it(api, cookies, told):
    zoe = await a_person(api)
    shown = await zoe.browser.get("/login")
    zoe.browser.cookies.clear()
    if cookies:
        await zoe.browser.get("/login")
    again = await zoe.sign_in(shown)
    assert again.status_code == 400
    assert told in again.text
    assert fields(again.text)["identifier"] == zoe.email
    fresh = await zoe.send(again, "/login", identifier=zoe.email, password=PASSWORD)
    assert fresh.headers["location"] == "/account"


async def test_a_sign_in_form_of_another_site_signs_nobody_in_though_its_token_is_right(api):
    zoe = await a_person(api)
    shown = fields((await zoe.browser.get("/login")).text)
    given = {"form_token": shown["form_token"], "identifier": zoe.email, "password": PASSWORD}
    answer = await zoe.browser.post("/login", data=given, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 400
    assert (await zoe.browser.get("/account")).status_code == 303


@pytest.mark.parametrize(
    ("path", "given", "again"),
    [
        ("/account/profile", {}, "/account"),
        ("/account/password", {}, "/account"),
        ("/consent", {"ticket": "a&b"}, "/consent?ticket=a%26b"),
        ("/consent", {}, "/account"),
        ("/oauth2/logout-confirm", {"request": "state=a%26b"}, "/oauth2/logout?state=a%26b"),
    ],
)
async def test_a_form_that_is_too_old_says_where_there_is_a_fresh_one(zoe, path, given, again):
    answer = await zoe.browser.post(path, data={"form_token": "x", **given})
    assert answer.status_code == 400
    assert "This page has expired" in answer.text
    assert f'<a class="button main" href="{again}">Try again</a>' in answer.text
    assert "Go back to the application" not in answer.text
