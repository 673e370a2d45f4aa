"""The authorization code grant, from an application's request to its tokens (RFC 6749, 4.1; RFC 7636; RFC 9700, 2)."""

import asyncio
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import pytest

from builders import SECOND
from domain.audit import Action
from domain.authorization import CODE_LIFETIME, VALUE_MAX
from domain.sessions import SESSIONS_PER_USER
from http_world import ADMIN, a_world
from relying_party import CALLBACK, a_browser, a_person, an_application, claims, fields, parameters

ISSUER = "http://localhost:8000"


@pytest.fixture
async def api(clock):
    async with a_world(clock) as world:
        yield world


@pytest.fixture
async def zoe(api):
    return await a_person(api)


@pytest.fixture
async def app(api):
    return await an_application(api)


async def events(api, action):
    answer = await api.call("GET", f"/api/v1/audit-events?action={action.value}", by=ADMIN)
    return answer.json()["items"]


# ------------------------------------------------------------------------------------------------------ the whole way


async def test_a_person_signs_in_and_consents_and_the_application_gets_its_tokens(api, app, zoe):
    shown = await zoe.follow(await zoe.browser.get(app.request()))
    assert urlsplit(str(shown.request.url)).path == "/login"
    assert "Notes" in shown.text
    asked = await zoe.follow(await zoe.sign_in(shown))
    assert urlsplit(str(asked.request.url)).path == "/consent"
    back = await zoe.answer(asked)
    assert back.status_code == 303
    answered = parameters(back.headers["location"])
    assert back.headers["location"].startswith(CALLBACK + "?")
    assert answered.keys() == {"code", "state", "iss"}
    assert (answered["state"], answered["iss"]) == ("st-1", ISSUER)
    answer = await app.exchange(answered["code"])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 300, "openid profile email")
    told = claims(tokens["id_token"])
    assert (told["iss"], told["aud"], told["nonce"]) == (ISSUER, app.id, "no-1")
    assert told["sub"] == claims(tokens["access_token"])["sub"]


async def test_who_is_signed_in_and_has_consented_is_asked_nothing(app, zoe):
    await app.code(zoe)
    answer = await zoe.browser.get(app.request(state="again"))
    assert answer.status_code == 303
    assert parameters(answer.headers["location"])["state"] == "again"


async def test_more_scopes_than_were_allowed_are_asked_for_anew(app, zoe):
    await app.code(zoe, scope="openid")
    answer = await zoe.follow(await zoe.browser.get(app.request(scope="openid email")))
    assert urlsplit(str(answer.request.url)).path == "/consent"


async def test_a_trusted_application_needs_no_consent(api, zoe):
    app = await an_application(api, trusted=True)
    back = await zoe.follow(await zoe.sign_in(await zoe.follow(await zoe.browser.get(app.request()))))
    assert "code" in parameters(back.headers["location"])


async def test_a_request_by_post_goes_the_same_way(app, zoe):
    query = urlsplit(app.request()).query
    answer = await zoe.browser.post(
        "/oauth2/authorize", content=query, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    shown = await zoe.follow(answer)
    assert urlsplit(str(shown.request.url)).path == "/login"


async def test_who_denies_sends_the_application_a_refusal_and_is_asked_again(api, app, zoe):
    asked = await zoe.follow(await zoe.sign_in(await zoe.follow(await zoe.browser.get(app.request()))))
    back = await zoe.answer(asked, "deny")
    told = parameters(back.headers["location"])
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", "st-1", ISSUER)
    again = await zoe.follow(await zoe.browser.get(app.request()))
    assert urlsplit(str(again.request.url)).path == "/consent"
    assert [e["outcome"] for e in await events(api, Action.CONSENT_REFUSED)] == ["refused"]


async def test_a_public_application_needs_no_secret_but_its_verifier(api, zoe):
    app = await an_application(api, token_endpoint_auth_method="none")
    assert app.secret is None
    tokens = await app.tokens(zoe)
    assert tokens["refresh_token"]


async def test_a_loopback_redirect_may_have_any_port(api, zoe):
    app = await an_application(
        api, token_endpoint_auth_method="none", redirect_uris=["http://127.0.0.1/callback", "http://[::1]/callback"]
    )
    for uri in ("http://127.0.0.1:49152/callback", "http://[::1]:5/callback"):
        code = await app.code(zoe, redirect_uri=uri)
        assert (await app.exchange(code, redirect_uri=uri)).status_code == 200


async def test_a_redirect_uri_with_a_query_keeps_it(api, zoe):
    app = await an_application(api, redirect_uris=["https://app.example.org/cb?tenant=a"])
    location = await app.location(zoe)
    assert location.startswith("https://app.example.org/cb?tenant=a&")


# ----------------------------------------------------------------------- requests that are refused, and how it is told


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"client_id": "hexward-api"},
        {"client_id": "hexward-pages"},
        {"client_id": "\x00"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": None},
        {"redirect_uri": [CALLBACK, CALLBACK]},
        {"client_id": ["a", "b"]},
    ],
)
async def test_a_wrong_client_or_redirect_uri_is_told_on_a_page_and_never_by_a_redirect(app, zoe, changes):
    answer = await zoe.browser.get(app.request(**changes))
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")


LOOK_ALIKES = [
    CALLBACK + "/", CALLBACK + "?", CALLBACK + "?a=b", CALLBACK + "#", CALLBACK + "#x", CALLBACK + "/../callback",
    CALLBACK + "%20", CALLBACK + "%00", CALLBACK + ".evil.example", CALLBACK + "/x", CALLBACK.upper(),
    "HTTPS://app.example.org/callback", "https://APP.example.org/callback", "http://app.example.org/callback",
    "https://app.example.org:443/callback", "https://app.example.org:444/callback", "https://app.example.org/Callback",
    "https://app.example.org//callback", "https://app.example.org/./callback", "https://app.example.org/%63allback",
    "https://app.example.org./callback", "https://app.example.org@evil.example/callback",
    "https://evil.example@app.example.org/callback", "https://app.example.org.evil.example/callback",
    "https://evil.example/?https://app.example.org/callback", "https://sub.app.example.org/callback",
    "https://app.example.orɡ/callback", "https://app.example.org\\@evil.example/callback", "//app.example.org/callback",
    "/callback", "app.example.org/callback", "javascript:alert(1)", "data:text/html,x", " " + CALLBACK, CALLBACK + " ",
    CALLBACK + "\n", "https:app.example.org/callback", "https:/app.example.org/callback", "https://app.example.org",
]  # fmt: skip


@pytest.mark.parametrize("uri", LOOK_ALIKES)
async def test_R19_no_look_alike_of_a_redirect_uri_passes(app, zoe, uri):
    answer = await zoe.browser.get(app.request(redirect_uri=uri))
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "nothing"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "perhaps"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://app.example.org/r"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"claims": "nothing"}, "invalid_request"),
        ({"claims": "[" * 2000}, "invalid_request"),
        ({"claims": '{"userinfo": 1}'}, "invalid_request"),
        (
            {"claims": '{"id_token": {"acr": {"essential": true, "values": ["9"]}}}'},
            "unmet_authentication_requirements",
        ),
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"resource": "no uri"}, "invalid_target"),
        ({"prompt": "none"}, "login_required"),
        ({"id_token_hint": "e30.e30.e30"}, "invalid_request"),
    ],
)
async def test_what_else_is_wrong_is_told_to_the_application(app, zoe, changes, error):
    answer = await zoe.browser.get(app.request(**changes))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(CALLBACK + "?")
    told = parameters(answer.headers["location"])
    assert (told["error"], told["state"], told["iss"]) == (error, "st-1", ISSUER)
    assert told["error_description"]


@pytest.mark.parametrize("twice", ["scope", "nonce", "prompt", "state", "code_challenge", "response_type"])
async def test_a_parameter_that_is_sent_twice_is_told_to_the_application_however_it_was_sent(app, zoe, twice):
    request = f"{app.request()}&{twice}=a&{twice}=b"
    answers = [await zoe.browser.get(request)]
    kind = {"content-type": "application/x-www-form-urlencoded"}
    sent = await zoe.browser.post("/oauth2/authorize", content=urlsplit(request).query, headers=kind)
    answers.append(await zoe.browser.get(sent.headers["location"]))
    for answer in answers:
        assert answer.headers["location"].startswith(CALLBACK + "?")
        told = parameters(answer.headers["location"])
        assert (told["error"], told["iss"]) == ("invalid_request", ISSUER)
        assert told.get("state") == (None if twice == "state" else "st-1")


async def test_an_application_that_may_not_sign_people_in_is_told_so_on_a_page(api, zoe):
    app = await an_application(api, grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    answer = await zoe.browser.get(app.request(scope="orders:read"))
    assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_nothing_of_a_refused_request_is_echoed_on_the_page(app, zoe):
    answer = await zoe.browser.get(app.request(redirect_uri="https://evil.example/<script>zq7mark</script>"))
    assert "zq7mark" not in answer.text
    assert "evil.example" not in answer.text


# ----------------------------------------------------------------------------------- prompt, max_age, hints and claims


async def test_prompt_none_answers_at_once_or_says_what_is_missing(app, zoe):
    await zoe.sign_in()
    told = parameters((await zoe.browser.get(app.request(prompt="none"))).headers["location"])
    assert told["error"] == "consent_required"
    await app.code(zoe)
    assert "code" in parameters((await zoe.browser.get(app.request(prompt="none"))).headers["location"])


async def test_prompt_login_asks_for_the_password_again_once(app, zoe, clock):
    await app.code(zoe)
    clock.move(60 * SECOND)
    shown = await zoe.follow(await zoe.browser.get(app.request(prompt="login")))
    assert urlsplit(str(shown.request.url)).path == "/login"
    back = await zoe.follow(await zoe.sign_in(shown))
    token = claims((await app.exchange(parameters(back.headers["location"])["code"])).json()["id_token"])
    assert token["auth_time"] == int(clock.now().timestamp())


async def test_max_age_asks_again_when_the_sign_in_is_too_long_ago(app, zoe, clock):
    await app.code(zoe)
    clock.move(60 * SECOND)
    assert "code" in parameters((await zoe.browser.get(app.request(max_age="100"))).headers["location"])
    shown = await zoe.follow(await zoe.browser.get(app.request(max_age="30")))
    assert urlsplit(str(shown.request.url)).path == "/login"
    assert "code" in parameters((await zoe.follow(await zoe.sign_in(shown))).headers["location"])


@pytest.mark.parametrize("asked", [{"prompt": "login"}, {"max_age": "1"}])
async def test_a_sign_in_just_before_the_request_is_no_answer_to_it(app, zoe, clock, asked):
    await app.code(zoe)
    clock.move(2 * SECOND)
    shown = await zoe.follow(await zoe.browser.get(app.request(**asked)))
    assert urlsplit(str(shown.request.url)).path == "/login"
    back = await zoe.follow(await zoe.sign_in(shown))
    token = claims((await app.exchange(parameters(back.headers["location"])["code"])).json()["id_token"])
    assert token["auth_time"] == int(clock.now().timestamp())


async def test_prompt_consent_asks_although_nothing_is_new(app, zoe):
    await app.code(zoe)
    asked = await zoe.follow(await zoe.browser.get(app.request(prompt="consent")))
    assert urlsplit(str(asked.request.url)).path == "/consent"
    assert "code" in parameters((await zoe.answer(asked)).headers["location"])


async def test_select_account_lets_the_person_go_on_or_sign_in_as_somebody_else(api, app, zoe, clock):
    await app.code(zoe)
    clock.move(60 * SECOND)
    shown = await zoe.follow(await zoe.browser.get(app.request(prompt="select_account")))
    assert urlsplit(str(shown.request.url)).path == "/login"
    back = await zoe.follow(await zoe.send(shown, "/login", **{"continue": "yes"}))
    assert "code" in parameters(back.headers["location"])


async def test_an_id_token_hint_of_somebody_else_asks_them_to_sign_in(api, app, zoe):
    ada = await a_person(api, "ada@example.org")
    hint = (await app.tokens(ada))["id_token"]
    await app.code(zoe)
    told = parameters((await zoe.browser.get(app.request(prompt="none", id_token_hint=hint))).headers["location"])
    assert told["error"] == "login_required"
    own = (await app.tokens(zoe))["id_token"]
    answer = await zoe.browser.get(app.request(prompt="none", id_token_hint=own))
    assert "code" in parameters(answer.headers["location"])


async def test_claims_asked_for_by_name_are_told_and_consented_to(api, app, zoe):
    asked = '{"userinfo": {"email": {"essential": true}, "unknown": null}, "id_token": {"email_verified": null}}'
    tokens = await app.tokens(zoe, scope="openid", claims=asked)
    assert claims(tokens["id_token"])["email_verified"] is False
    assert "email" not in claims(tokens["id_token"])
    told = (await app.userinfo(tokens["access_token"])).json()
    assert told == {"sub": claims(tokens["id_token"])["sub"], "email": "zoe@example.org"}


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_claim_by_name_is_told_only_to_an_application_that_could_have_it_by_a_scope(api, trusted):
    app = await an_application(api, scope="openid profile", trusted=trusted)
    asked = '{"userinfo": {"email": null, "roles": null, "name": null}, "id_token": {"email": null, "locale": null}}'
    await api.a_user("ada@example.org", display_name="Ada", locale="de")
    tokens = await app.tokens(a_browser(api, "ada@example.org"), scope="openid", claims=asked)
    assert "email" not in claims(tokens["id_token"])
    assert claims(tokens["id_token"])["locale"] == "de"
    assert (await app.userinfo(tokens["access_token"])).json().keys() == {"sub", "name"}


async def test_a_long_request_finds_its_way_through_all_pages(app, zoe):
    state = "é" * VALUE_MAX  # the longest there is: written out it takes six characters each
    back = parameters(await app.location(zoe, state="s" * VALUE_MAX, ui_locales="de " * 1000))
    assert ("code" in back, back["state"]) == (True, "s" * VALUE_MAX)
    back = parameters(await app.location(zoe, state=state, prompt="login"))
    assert (back["error"], back["state"]) == ("invalid_request", state)


async def test_the_login_hint_is_filled_in_and_the_locales_are_heeded(app, zoe):
    shown = await zoe.follow(await zoe.browser.get(app.request(login_hint="zoe@example.org", ui_locales="xx de")))
    assert fields(shown.text)["identifier"] == "zoe@example.org"
    assert '<html lang="de"' in shown.text


# --------------------------------------------------------------------------------- codes: bound, short-lived, used once


async def refused(answer, error="invalid_grant"):
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text
    assert answer.json().keys() == {"error", "error_description"}


async def test_R03_a_code_is_no_bearer_token(api, app, zoe):
    code = await app.code(zoe)
    for path in ("/api/v1/me", "/oauth2/userinfo"):
        assert (await api.client.get(path, headers={"Authorization": f"Bearer {code}"})).status_code == 401
    await refused(await app.refresh(code))


async def test_R03_a_code_is_only_for_the_application_it_was_given_to(api, app, zoe):
    code = await app.code(zoe)
    other = await an_application(api)
    other.verifier = app.verifier
    await refused(await other.exchange(code))
    assert (await app.exchange(code)).status_code == 200  # somebody else's try has not used it up


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://app.example.org/other"},
        {"redirect_uri": None},
        {"code_verifier": None},
        {"code_verifier": "a" * 43},
        {"code_verifier": "short"},
        {"code_verifier": "ä" * 43},
    ],
)
async def test_R03_a_code_is_bound_to_redirect_uri_and_verifier(app, zoe, changes):
    code = await app.code(zoe)
    await refused(await app.exchange(code, **changes))
    await refused(await app.exchange(code))  # that was its one use


async def test_a_verifier_for_a_code_without_a_challenge_is_a_downgrade(api, zoe):
    app = await an_application(api, require_pkce=False)
    code = await app.code(zoe, code_challenge=None, code_challenge_method=None)
    await refused(await app.exchange(code))
    code = await app.code(zoe, code_challenge=None, code_challenge_method=None)
    assert (await app.exchange(code, code_verifier=None)).status_code == 200


async def test_without_pkce_there_has_to_be_a_nonce(api, zoe):
    app = await an_application(api, require_pkce=False)
    answer = await zoe.browser.get(app.request(code_challenge=None, code_challenge_method=None, nonce=None))
    assert parameters(answer.headers["location"])["error"] == "invalid_request"


async def test_a_code_is_good_for_a_minute(app, zoe, clock):
    code = await app.code(zoe)
    clock.move(CODE_LIFETIME - SECOND)
    assert (await app.exchange(code)).status_code == 200
    code = await app.code(zoe)
    clock.move(CODE_LIFETIME)
    await refused(await app.exchange(code))


async def test_R03_a_code_that_comes_again_ends_what_it_made(api, app, zoe):
    code = await app.code(zoe)
    tokens = (await app.exchange(code)).json()
    assert (await app.userinfo(tokens["access_token"])).status_code == 200
    await refused(await app.exchange(code))
    await api.caught_up()
    assert (await app.userinfo(tokens["access_token"])).status_code == 401
    await refused(await app.refresh(tokens["refresh_token"]))
    assert [e["reason"] for e in await events(api, Action.CODE_REFUSED)] == ["code_replayed"]
    assert "code" in parameters((await zoe.browser.get(app.request())).headers["location"])  # the browser's own goes on


async def test_a_code_raced_fifty_times_yields_one_token_set(app, zoe):
    code = await app.code(zoe)
    answers = await asyncio.gather(*(app.exchange(code) for _ in range(50)))
    assert sorted(a.status_code for a in answers) == [200] + [400] * 49
    tokens = next(a.json() for a in answers if a.status_code == 200)
    await refused(await app.refresh(tokens["refresh_token"]))  # 49 replays have ended it


async def test_a_code_is_refused_once_the_consent_is_withdrawn(api, app, zoe):
    code = await app.code(zoe)
    page = await zoe.browser.get("/account")
    await zoe.send(page, "/account/applications/revoke", client_id=app.id)
    await refused(await app.exchange(code))


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "openid"},
        {"audiences": []},
        {"redirect_uris": ["https://app.example.org/moved"]},
    ],
)
@pytest.mark.parametrize("asked", [{"scope": "openid email"}, {"claims": '{"userinfo": {"email": null}}'}])
async def test_a_code_brings_nothing_back_that_was_taken_from_its_application(api, zoe, change, asked):
    app = await an_application(api, scope="openid email", audiences=["https://orders.example.org"])
    code = await app.code(zoe, **{"scope": "openid", **asked})
    answer = await api.call("PATCH", f"/api/v1/clients/{app.id}", by=ADMIN, json=change, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    await refused(await app.exchange(code))
    assert [e["reason"] for e in await events(api, Action.CODE_REFUSED)] == ["registration_narrowed"]


async def test_the_second_sign_in_of_one_browser_at_an_application_shares_its_session(api, app, zoe):
    first, second = await app.tokens(zoe), await app.tokens(zoe)
    assert claims(first["id_token"])["sid"] == claims(second["id_token"])["sid"]
    other = await an_application(api)
    assert claims((await other.tokens(zoe))["id_token"])["sid"] != claims(first["id_token"])["sid"]


async def test_offline_access_outlives_the_browsers_session(api, app, zoe, clock):
    online = await app.tokens(zoe, scope="openid")
    offline = await app.tokens(zoe, scope="openid offline_access")
    await zoe.send(await zoe.browser.get("/account"), "/oauth2/logout-confirm")
    await refused(await app.refresh(online["refresh_token"]))
    answer = await app.refresh(offline["refresh_token"])
    assert answer.status_code == 200
    clock.move(timedelta(days=20))
    assert (await app.refresh(answer.json()["refresh_token"])).status_code == 200


async def test_what_applications_have_offline_is_bounded_and_ends_nobodys_devices(api, app, zoe):
    first = await app.tokens(zoe, scope="openid offline_access")
    other = await (await an_application(api)).tokens(zoe, scope="openid offline_access")
    for _ in range(SESSIONS_PER_USER):
        last = await app.tokens(zoe, scope="openid offline_access")
    await refused(await app.refresh(first["refresh_token"]))
    assert (await app.refresh(last["refresh_token"])).status_code == 200
    await api.login(zoe.email)
    assert (await zoe.browser.get("/account")).status_code == 200  # still signed in
    await api.caught_up()
    assert (await app.userinfo(other["access_token"])).status_code == 200


async def test_a_form_that_is_not_of_this_browser_signs_nobody_in_and_is_shown_anew(app, zoe):
    shown = await zoe.follow(await zoe.browser.get(app.request()))
    ticket = fields(shown.text)["ticket"]
    for token in ("", "forged"):
        data = {"ticket": ticket, "form_token": token, "identifier": zoe.email, "password": zoe.password}
        answer = await zoe.browser.post("/login", data=data)
        assert answer.status_code == 400
        assert not any("session" in cookie for cookie in zoe.browser.cookies)
        assert "open for too long" in answer.text
    again = await zoe.send(answer, "/login", identifier=zoe.email, password=zoe.password)
    assert (await zoe.follow(again)).request.url.path == "/consent"


async def test_a_form_of_before_another_tab_signed_in_leads_on(app, zoe):
    shown = await zoe.follow(await zoe.browser.get(app.request()))
    await zoe.sign_in()
    stale = await zoe.follow(await zoe.sign_in(shown))
    assert stale.request.url.path == "/consent"


async def test_a_form_from_the_page_of_another_site_is_refused(app, zoe):
    shown = await zoe.browser.get("/login")
    data = {**fields(shown.text), "identifier": zoe.email, "password": zoe.password}
    answer = await zoe.browser.post("/login", data=data, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 400


@pytest.mark.parametrize("ticket", ["", "x", "e30", "A" * 200])
async def test_a_forged_ticket_is_a_page_that_is_too_old(zoe, ticket):
    for path in ("/login", "/consent"):
        answer = await zoe.browser.get(f"{path}?{urlencode({'ticket': ticket})}")
        assert answer.status_code == (200 if not ticket and path == "/login" else 400)


async def test_a_ticket_ends_after_half_an_hour(app, zoe, clock):
    shown = await zoe.follow(await zoe.browser.get(app.request()))
    clock.move(timedelta(minutes=31))
    answer = await zoe.sign_in(shown)
    assert answer.status_code == 400
    assert "location" not in answer.headers
