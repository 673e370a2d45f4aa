"""What the specifications demand and no other test shows; docs/reference/conformance.md tells which clause is where."""

import base64
import hashlib
import json
from datetime import timedelta
from urllib.parse import urlsplit

import jwt
import pytest

from builders import SECOND
from http_world import ADMIN, PASSWORD
from relying_party import CALLBACK, a_browser, a_person, an_application, claims, fields, parameters

ISSUER = "http://localhost:8000"
ORDERS = "https://orders.example.org"
NO_PKCE = {"code_challenge": None, "code_challenge_method": None}


@pytest.fixture
async def zoe(api):
    return await a_person(api)


@pytest.fixture
async def app(api):
    return await an_application(api)


async def told(app, person, **changes):
    """What the application hears at once, without a page in between."""
    answer = await person.browser.get(app.request(**changes))
    assert answer.headers["location"].startswith(CALLBACK + "?"), answer.headers["location"]
    return parameters(answer.headers["location"])


async def shown(app, person, **changes):
    """The page that the person's browser ends at."""
    answer = await person.follow(await person.browser.get(app.request(**changes)))
    return urlsplit(str(answer.request.url)).path


# ------------------------------------------------------------------------------------------------------------- RFC 9700


async def test_no_redirect_takes_the_password_or_the_decision_along(app, zoe):
    page = await zoe.follow(await zoe.browser.get(app.request()))
    signed_in = await zoe.sign_in(page)
    decided = await zoe.answer(await zoe.follow(signed_in))
    assert [answer.status_code for answer in (signed_in, decided)] == [303, 303]
    for answer in (signed_in, decided):
        assert PASSWORD not in answer.headers["location"]


async def test_a_password_sent_to_another_name_of_the_server_is_not_sent_on(api):
    person = a_browser(api)
    person.browser.base_url = "http://127.0.0.1:8000"
    answer = await person.browser.post("/login", data={"identifier": ADMIN, "password": PASSWORD})
    assert answer.status_code not in (307, 308)
    assert "location" not in answer.headers


async def test_a_public_application_gets_no_code_without_pkce_whatever_else_it_sends(api, zoe):
    app = await an_application(api, token_endpoint_auth_method="none")
    for changes in (NO_PKCE, {**NO_PKCE, "nonce": None}, {"code_challenge_method": "plain"}):
        assert (await told(app, zoe, **changes))["error"] == "invalid_request"


async def test_a_refresh_token_of_a_public_application_moves_on_and_a_stolen_one_ends_the_session(api, zoe, clock):
    app = await an_application(api, token_endpoint_auth_method="none")
    first = (await app.tokens(zoe))["refresh_token"]
    second = (await app.refresh(first)).json()["refresh_token"]
    assert second != first
    clock.move(60 * SECOND)
    for token in (first, second):
        answer = await app.refresh(token)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_token_for_another_service_opens_nothing_here(api, zoe):
    app = await an_application(api, scope="openid orders:read", audiences=[ORDERS])
    token = (await app.tokens(zoe, scope="orders:read", nonce=None))["access_token"]
    assert claims(token)["aud"] == ORDERS
    for path in ("/api/v1/me", "/oauth2/userinfo"):
        answer = await api.client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


async def test_an_application_neither_chooses_its_id_nor_is_taken_for_a_person(api):
    metadata = {"client_name": "Notes", "grant_types": ["client_credentials"], "scope": "orders:read"}
    body = {**metadata, "client_id": claims(api.tokens[ADMIN]["access_token"])["sub"]}
    assert (await api.call("POST", "/api/v1/clients", by=ADMIN, json=body)).status_code == 422
    app = await an_application(api, **metadata, redirect_uris=[])
    token = (await app.post("/oauth2/token", {"grant_type": "client_credentials"})).json()["access_token"]
    assert claims(token)["sub"] == claims(token)["client_id"] == app.id
    assert "sid" not in claims(token)
    answer = await app.userinfo(token)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


# ------------------------------------------------------------------------------------------ OpenID Connect Core 3.1.2.1


async def test_without_openid_it_is_plain_oauth_without_an_id_token(app, zoe):
    tokens = await app.tokens(zoe, scope="email", nonce=None)
    assert tokens["scope"] == "email"
    assert "id_token" not in tokens
    answer = await app.userinfo(tokens["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


async def test_scopes_and_parameters_that_are_not_known_are_ignored(app, zoe):
    unknown = {"display": "popup", "acr_values": "9 8", "claims_locales": "xx", "nothing": "of ours"}
    tokens = await app.tokens(zoe, scope="openid nothing:here email", **unknown)
    assert tokens["scope"] == "openid email"


@pytest.mark.parametrize("text", ["plain", "a b+c&d=e%20#ü", "<script>", "x" * 1000, '{"a": [1]}'])
async def test_state_and_nonce_come_back_as_they_were_sent(app, zoe, text):
    answered = parameters(await app.location(zoe, state=text, nonce=text))
    assert answered["state"] == text
    assert claims((await app.exchange(answered["code"])).json()["id_token"])["nonce"] == text


async def test_what_was_not_sent_does_not_come_back(app, zoe):
    answered = parameters(await app.location(zoe, state=None, nonce=None))
    assert answered.keys() == {"code", "iss"}
    assert "nonce" not in claims((await app.exchange(answered["code"])).json()["id_token"])
    assert "state" not in await told(app, zoe, state=None, response_type="token")


async def test_prompt_none_never_shows_a_page(app, zoe, clock):
    assert (await told(app, zoe, prompt="none"))["error"] == "login_required"
    await zoe.sign_in()
    assert (await told(app, zoe, prompt="none"))["error"] == "consent_required"
    await app.code(zoe)
    clock.move(60 * SECOND)
    assert (await told(app, zoe, prompt="none", max_age="30"))["error"] == "login_required"
    assert (await told(app, zoe, prompt="none", max_age="90")).keys() == {"code", "state", "iss"}


@pytest.mark.parametrize("max_age", ["0", "5", "100000"])
async def test_whoever_names_a_max_age_hears_when_the_person_signed_in(app, zoe, clock, max_age):
    await app.code(zoe)
    clock.move(10 * SECOND)
    token = claims((await app.tokens(zoe, max_age=max_age))["id_token"])
    assert int(clock.now().timestamp()) - token["auth_time"] == (10 if max_age == "100000" else 0)


async def test_an_id_token_is_a_hint_although_it_has_expired_and_was_another_applications(api, app, zoe, clock):
    hint = (await (await an_application(api)).tokens(zoe))["id_token"]
    await app.code(zoe)
    clock.move(timedelta(hours=2))
    assert claims(hint)["exp"] < clock.now().timestamp()
    assert "code" in await told(app, zoe, prompt="none", id_token_hint=hint)


async def test_what_we_did_not_sign_as_an_id_token_is_no_hint(app, zoe):
    tokens = await app.tokens(zoe)
    kid = jwt.get_unverified_header(tokens["id_token"])["kid"]
    forged = jwt.encode(claims(tokens["id_token"]), "x" * 32, "HS256", headers={"kid": kid})
    for hint in (tokens["access_token"], forged, tokens["id_token"][:-4] + "AAAA", "x"):
        assert (await told(app, zoe, prompt="none", id_token_hint=hint))["error"] == "invalid_request"


# ------------------------------------------------------------------------------ 3.1.2.2 to 3.1.2.6: sign-in and answers


@pytest.mark.parametrize("by", ["hint", "claim"])
async def test_nobody_gets_a_code_in_the_place_of_the_person_who_is_meant(api, app, zoe, by):
    ada = await a_person(api, "ada@example.org")
    meant = (await app.tokens(ada))["id_token"]
    subject = claims(meant)["sub"]
    asked = {
        "hint": {"id_token_hint": meant},
        "claim": {"claims": json.dumps({"id_token": {"sub": {"value": subject}}})},
    }[by]
    await app.code(zoe)
    assert (await told(app, zoe, prompt="none", **asked))["error"] == "login_required"
    page = await zoe.follow(await zoe.browser.get(app.request(**asked)))
    assert urlsplit(str(page.request.url)).path == "/login"
    still = await zoe.follow(await zoe.sign_in(page))  # once more as the wrong person
    assert urlsplit(str(still.request.url)).path == "/login"
    back = await zoe.follow(await zoe.sign_in(still, identifier=ada.email))
    tokens = (await app.exchange(parameters(back.headers["location"])["code"])).json()
    assert claims(tokens["id_token"])["sub"] == subject


async def test_a_decision_counts_only_for_the_person_who_is_meant(api, app, zoe):
    ada = await a_person(api, "ada@example.org")
    hint = (await app.tokens(ada))["id_token"]
    page = await ada.follow(await ada.browser.get(app.request(id_token_hint=hint, prompt="consent")))
    await zoe.sign_in()
    asked = await zoe.browser.get("/account")
    ticket = fields(page.text)["ticket"]
    token = fields(asked.text)["form_token"]
    answer = await zoe.browser.post("/consent", data={"ticket": ticket, "form_token": token, "decision": "allow"})
    assert (await zoe.follow(answer)).request.url.path == "/login"


async def test_errors_say_no_more_than_they_have_to(app, zoe):
    heard = await told(app, zoe, response_type="token")
    assert heard.keys() == {"error", "error_description", "state", "iss"}


# -------------------------------------------------------------------------------------------- 3.1.3: the token endpoint


async def test_the_token_endpoint_takes_forms_by_post_and_nothing_else(api, app, zoe):
    code = await app.code(zoe)
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": app.verifier}
    auth = (app.id, app.secret)
    assert (await api.client.get("/oauth2/token", params=sent, auth=auth)).status_code == 405
    for wrong in ({"json": sent}, {"params": sent}, {"params": sent, "data": sent}):
        answer = await api.client.post("/oauth2/token", auth=auth, **wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await app.exchange(code)).status_code == 200, "none of that has used it up"


async def test_answers_of_the_token_endpoint_are_json_that_nobody_keeps(app, zoe):
    code = await app.code(zoe)
    good, bad = await app.exchange(code), await app.exchange(code)
    assert (good.status_code, bad.status_code) == (200, 400)
    for answer in (good, bad):
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
    assert bad.json().keys() == {"error", "error_description"}


async def test_a_code_is_for_applications_that_prove_themselves(api, app, zoe):
    code = await app.code(zoe)
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": app.verifier}
    for wrong in ({"data": {**data, "client_id": app.id}}, {"data": data, "auth": (app.id, "wrong")}, {"data": data}):
        answer = await api.client.post("/oauth2/token", **wrong)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (await app.exchange(code)).status_code == 200, "who did not prove itself has not used it up"


async def test_an_id_token_has_what_it_must_have_and_fits_its_access_token(app, zoe, clock):
    tokens = await app.tokens(zoe)
    token = claims(tokens["id_token"])
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert token["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert (token["iss"], token["aud"], token["azp"]) == (ISSUER, app.id, app.id)
    now = int(clock.now().timestamp())
    assert token["iat"] <= now < token["exp"]
    assert token["sub"].isascii()
    assert 0 < len(token["sub"]) <= 255
