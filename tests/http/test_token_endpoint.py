"""The token endpoint and what belongs to it: who asks, what they get, and how it ends (RFC 6749, 7523, 7662, 7009)."""

import asyncio
import base64
import json
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

from adapters.oauth.remote_keys import RemoteDocuments
from builders import SECOND
from domain.audit import Action
from domain.ports import ClientAssertions
from domain.sessions import GRACE
from http_world import ADMIN, a_world
from relying_party import a_person, an_application, claims
from tls_site import SHORT, a_site, document, http

ISSUER = "http://localhost:8000"
API = "https://orders.example.org"


@pytest.fixture
async def api(clock):
    async with a_world(clock) as world:
        yield world


@pytest.fixture
async def zoe(api):
    return await a_person(api)


async def a_service(api, **more):
    """An application without people."""
    metadata = {
        "redirect_uris": [], "grant_types": ["client_credentials"], "scope": "orders:read orders:write",
        "audiences": [API], **more,
    }  # fmt: skip
    return await an_application(api, **metadata)


async def for_itself(app, **more):
    return await app.post("/oauth2/token", {"grant_type": "client_credentials", **more})


def refused(answer, error, status=400):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json().keys() == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"


async def reasons(api, action):
    """Why, as the trail tells it, the latest first."""
    found = await api.call("GET", f"/api/v1/audit-events?action={action.value}", by=ADMIN)
    return [event["reason"] for event in found.json()["items"]]


# ------------------------------------------------------------------------------------------- authentication of clients


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_service_gets_a_token_for_itself_by_the_method_it_is_registered_for(api, method):
    app = await a_service(api, token_endpoint_auth_method=method)
    answer = await for_itself(app)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope"}
    told = claims(tokens["access_token"])
    assert (told["sub"], told["client_id"], told["aud"], told["scope"]) == (app.id, app.id, API, tokens["scope"])
    assert told.keys().isdisjoint({"sid", "auth_time", "roles", "amr"})
    other = {"client_secret_basic": "client_secret_post", "client_secret_post": "client_secret_basic"}[method]
    app.metadata["token_endpoint_auth_method"] = other
    refused(await for_itself(app), "invalid_client", 401)
    assert await reasons(api, Action.CLIENT_REFUSED) == ["method_not_registered"]


@pytest.mark.parametrize("secret", ["", "wrong", "hws_" + "A" * 43, "\x00", "ä"])
async def test_a_wrong_secret_and_an_unknown_client_get_the_same_answer(api, secret):
    app = await a_service(api)
    data = {"grant_type": "client_credentials"}
    wrong = await app.post("/oauth2/token", data, auth=(app.id, secret))
    unknown = await app.post("/oauth2/token", data, auth=("nobody", secret))
    for answer in (wrong, unknown):
        refused(answer, "invalid_client", 401)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert wrong.json() == unknown.json()
    assert await reasons(api, Action.CLIENT_REFUSED) == ["client_unknown", "secret_wrong"]


async def test_more_than_one_method_at_once_is_refused(api):
    app = await a_service(api)
    refused(await for_itself(app, client_secret=app.secret), "invalid_request")
    refused(await for_itself(app, client_id="another"), "invalid_request")
    header = {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}
    answer = await api.client.post("/oauth2/token", data={"grant_type": "client_credentials"}, headers=header)
    refused(answer, "invalid_client", 401)


async def test_two_secrets_are_good_while_one_replaces_the_other(api, clock):
    app = await a_service(api)
    old = app.secret
    path = f"/api/v1/clients/{app.id}/rotate-secret"
    app.metadata |= (await api.call("POST", path, by=ADMIN, json={"overlap_seconds": 60})).json()
    assert app.secret != old
    data = {"grant_type": "client_credentials"}
    for secret in (old, app.secret):
        assert (await app.post("/oauth2/token", data, auth=(app.id, secret))).status_code == 200
    clock.move(60 * SECOND)
    refused(await app.post("/oauth2/token", data, auth=(app.id, old)), "invalid_client", 401)
    assert (await for_itself(app)).status_code == 200


class Signer:
    """A client's key, and assertions signed with it."""

    def __init__(self, clock):
        self.clock, self.private, self.count = clock, generate_private_key(SECP256R1()), 0

    @property
    def jwks(self):
        public = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": "k1", "alg": "ES256"}]}

    def assertion(self, client_id, headers=None, key=None, algorithm="ES256", **changes):
        self.count += 1
        now = int(self.clock.now().timestamp())
        content = {
            "iss": client_id, "sub": client_id, "aud": ISSUER, "jti": f"j{self.count}", "iat": now, "exp": now + 60,
            **changes,
        }  # fmt: skip
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(content, key or self.private, algorithm, headers={"kid": "k1", **(headers or {})})


@pytest.fixture
def signer(clock):
    return Signer(clock)


@pytest.fixture
async def signing(api, signer):
    return await a_service(api, token_endpoint_auth_method="private_key_jwt", jwks=signer.jwks)


async def by_assertion(app, assertion, **more):
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return await for_itself(app, client_assertion_type=kind, client_assertion=assertion, **more)


async def test_a_client_proves_itself_by_a_key_and_each_assertion_works_once(api, signing, signer):
    assertion = signer.assertion(signing.id)
    assert (await by_assertion(signing, assertion)).status_code == 200
    refused(await by_assertion(signing, assertion), "invalid_client", 401)
    assert await reasons(api, Action.CLIENT_REFUSED) == ["assertion_replayed"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": [ISSUER, "https://other.example"]}, "assertion_audience"),
        ({"aud": "https://other.example"}, "assertion_audience"),
        ({"aud": f"{ISSUER}/oauth2/token"}, "assertion_audience"),
        ({"iss": "another"}, "assertion_issuer"),
        ({"jti": None}, "assertion_without_id"),
        ({"jti": "x" * 300}, "assertion_without_id"),
        ({"exp": 1}, "assertion_time"),
        ({"exp": 253_402_300_799}, "assertion_time"),
        ({"iat": 1}, "assertion_time"),
        ({"nbf": 253_402_300_799}, "assertion_time"),
        ({"exp": None}, "client_unknown"),
        ({"exp": 10**30}, "client_unknown"),
        ({"headers": {"jku": "https://evil.example/keys"}}, "assertion_signature"),
        ({"headers": {"jwk": {"kty": "EC"}}}, "assertion_signature"),
        ({"headers": {"crit": ["x"], "x": 1}}, "assertion_signature"),
        ({"headers": {"kid": "../../etc/passwd"}}, "assertion_signature"),
        ({"headers": {"kid": "k1' OR '1'='1"}}, "assertion_signature"),
        ({"key": "secret" * 8, "algorithm": "HS256"}, "assertion_signature"),
        ({"key": generate_private_key(SECP256R1())}, "assertion_signature"),
    ],
)
async def test_an_assertion_that_is_not_exactly_right_is_refused(api, signing, signer, changes, reason):
    refused(await by_assertion(signing, signer.assertion(signing.id, **changes)), "invalid_client", 401)
    assert await reasons(api, Action.CLIENT_REFUSED) == [reason]


async def test_an_unsigned_assertion_is_refused(signing, signer):
    content = signer.assertion(signing.id).split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    for assertion in (f"{header}.{content}.", f"{header}.{content}.AA", "x", "a.b.c", "." * 10, "A" * 4000):
        refused(await by_assertion(signing, assertion), "invalid_client", 401)


async def test_the_token_url_is_an_audience_only_for_those_registered_so(api, signer):
    app = await a_service(
        api, token_endpoint_auth_method="private_key_jwt", jwks=signer.jwks, assertion_audience="issuer_or_token_url"
    )
    assert (await by_assertion(app, signer.assertion(app.id, aud=f"{ISSUER}/oauth2/token"))).status_code == 200


@pytest.fixture
async def site(api):
    """Where a client publishes its keys."""
    async with a_site() as there:
        (await api.container.get(ClientAssertions)).fetch = there.documents(seconds=SHORT)
        yield there


async def test_keys_that_a_client_publishes_are_fetched_from_it(api, signer, site):
    site.answer = document(signer.jwks)
    app = await a_service(api, token_endpoint_auth_method="private_key_jwt", jwks_uri=site.url)
    for _ in range(3):
        assert (await by_assertion(app, signer.assertion(app.id))).status_code == 200
    assert site.connections == 1
    refused(await by_assertion(app, signer.assertion(app.id, headers={"kid": "k2"})), "invalid_client", 401)
    assert (site.connections, await reasons(api, Action.CLIENT_REFUSED)) == (1, ["assertion_signature"])


async def hangs(writer):
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "answer",
    [
        hangs, http(b"", "Location: https://127.0.0.1/", status="302 Found"), http(b"{}", status="500 Oops"),
        http(b"{}", "Content-Encoding: gzip"), http(b"<html>", kind="text/html"), http(b"no JSON"), document([]),
        document({"keys": 1}), http(b"[" * 60_000), http(b"x" * 100_000), http(b""),
    ],
)  # fmt: skip
async def test_a_site_that_has_no_keys_is_no_fault_of_ours_and_is_told_to_the_trail_alone(api, signer, site, answer):
    site.answer = answer
    app = await a_service(api, token_endpoint_auth_method="private_key_jwt", jwks_uri=site.url)
    unknown = await by_assertion(app, signer.assertion("nobody"))
    for _ in range(2):
        told = await by_assertion(app, signer.assertion(app.id))
        refused(told, "invalid_client", 401)
        assert told.json() == unknown.json()
    assert site.connections == 1
    assert await reasons(api, Action.CLIENT_REFUSED) == [*["client_keys_unavailable"] * 2, "client_unknown"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "169.254.169.254", "[::ffff:10.0.0.1]"])
async def test_keys_at_an_internal_address_are_never_asked_for(api, signer, site, host):
    (await api.container.get(ClientAssertions)).fetch = RemoteDocuments()
    uri = f"https://{host}:{site.port}/keys"
    app = await a_service(api, token_endpoint_auth_method="private_key_jwt", jwks_uri=uri)
    refused(await by_assertion(app, signer.assertion(app.id)), "invalid_client", 401)
    assert (site.connections, await reasons(api, Action.CLIENT_REFUSED)) == (0, ["client_keys_unavailable"])


# ---------------------------------------------------------------------------------------------------- grants and scopes


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unauthorized_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "unauthorized_client"),
        ({"scope": "orders:delete"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "hexward"}, "invalid_scope"),
        ({"resource": "https://other.example"}, "invalid_target"),
    ],
)
async def test_what_a_service_may_not_have_is_refused(api, data, error):
    refused(await for_itself(await a_service(api), **data), error)


async def test_a_service_may_ask_for_less(api):
    app = await a_service(api, audiences=[API, "https://mail.example.org"])
    token = (await for_itself(app, scope="orders:read", resource="https://mail.example.org")).json()["access_token"]
    assert (claims(token)["scope"], claims(token)["aud"]) == ("orders:read", "https://mail.example.org")


async def test_a_token_of_a_service_opens_nothing_of_ours(api):
    token = (await for_itself(await a_service(api, audiences=[ISSUER]))).json()["access_token"]
    answer = await api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_of_client")


async def test_a_token_without_our_scope_does_not_open_our_api(api, zoe):
    token = (await (await an_application(api)).tokens(zoe))["access_token"]
    answer = await api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    app = await an_application(api, scope="openid hexward")
    token = (await app.tokens(zoe, scope="openid hexward"))["access_token"]
    assert (await api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_a_refresh_token_moves_on_and_an_old_one_ends_everything(api, zoe, clock):
    app = await an_application(api)
    first = await app.tokens(zoe)
    second = (await app.refresh(first["refresh_token"])).json()
    assert second.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert "nonce" not in claims(second["id_token"])
    repeated = (await app.refresh(first["refresh_token"])).json()
    assert repeated["refresh_token"] == second["refresh_token"]
    clock.move(GRACE)
    refused(await app.refresh(first["refresh_token"]), "invalid_grant")
    refused(await app.refresh(second["refresh_token"]), "invalid_grant")


async def test_a_refresh_token_is_only_for_the_client_it_was_given_to(api, zoe):
    app, other = await an_application(api), await an_application(api)
    token = (await app.tokens(zoe))["refresh_token"]
    refused(await other.refresh(token), "invalid_grant")
    first_party = await api.client.post("/api/v1/auth/refresh", json={"refresh_token": token})
    assert first_party.status_code == 401
    ours = (await api.login(ADMIN))["refresh_token"]
    refused(await app.refresh(ours), "invalid_grant")
    assert (await app.refresh(token)).status_code == 200


async def test_a_refresh_may_narrow_the_scope_and_never_widen_it(api, zoe):
    app = await an_application(api, audiences=[API])
    token = (await app.tokens(zoe, scope="openid email"))["refresh_token"]
    refused(await app.refresh(token, scope="openid email profile"), "invalid_scope")
    refused(await app.refresh(token, resource="https://other.example"), "invalid_target")
    narrowed = (await app.refresh(token, scope="email", resource=API)).json()
    assert (narrowed["scope"], claims(narrowed["access_token"])["aud"]) == ("email", API)
    assert (await app.refresh(narrowed["refresh_token"])).json()["scope"] == "openid email"


# ---------------------------------------------------------------------------------------- introspection and revocation


async def introspected(app, token):
    answer = await app.post("/oauth2/introspect", {"token": token})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_introspection_tells_what_a_good_token_stands_for_and_nothing_of_others(api, zoe, clock):
    app = await an_application(api, audiences=[API])
    keeper = await a_service(api, introspection=True)
    stranger = await a_service(api, introspection=True, audiences=["https://mail.example.org"])
    tokens = await app.tokens(zoe)
    told = await introspected(keeper, tokens["access_token"])
    assert told["active"] is True
    assert (told["client_id"], told["scope"], told["token_type"]) == (app.id, "openid profile email", "Bearer")
    assert told["sub"] == claims(tokens["id_token"])["sub"]
    for other, token in ((stranger, tokens["access_token"]), (keeper, tokens["refresh_token"]), (keeper, "x")):
        assert await introspected(other, token) == {"active": False}
    clock.move(timedelta(minutes=6))
    assert await introspected(keeper, tokens["access_token"]) == {"active": False}


async def test_introspection_is_only_for_clients_that_may(api, zoe):
    app = await an_application(api)
    token = (await app.tokens(zoe))["access_token"]
    refused(await app.post("/oauth2/introspect", {"token": token}), "unauthorized_client")
    refused(await app.post("/oauth2/introspect", {"token": token}, auth=(app.id, "x")), "invalid_client", 401)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_revoked_token_takes_all_that_came_with_it_along(api, zoe, kind):
    app, other = await an_application(api), await an_application(api)
    tokens, others = await app.tokens(zoe), await other.tokens(zoe)
    assert (await other.post("/oauth2/revoke", {"token": tokens[kind]})).status_code == 200  # not its own: no error
    assert (await app.userinfo(tokens["access_token"])).status_code == 200
    for _ in range(2):
        revoked = await app.post("/oauth2/revoke", {"token": tokens[kind]})
        assert (revoked.status_code, revoked.content) == (200, b"")
    assert (await app.userinfo(tokens["access_token"])).status_code == 401
    refused(await app.refresh(tokens["refresh_token"]), "invalid_grant")
    assert (await other.userinfo(others["access_token"])).status_code == 200
    assert await reasons(api, Action.TOKEN_REVOKED) == [None]


async def test_a_token_of_a_service_cannot_be_revoked_and_says_so(api):
    app = await a_service(api)
    token = (await for_itself(app)).json()["access_token"]
    refused(await app.post("/oauth2/revoke", {"token": token}), "unsupported_token_type")


# -------------------------------------------------------------------------------------------------- userinfo and logout


async def test_userinfo_tells_what_the_scopes_allow_as_of_now(api, zoe):
    app = await an_application(api)
    tokens = await app.tokens(zoe, scope="openid email roles")
    told = (await app.userinfo(tokens["access_token"])).json()
    assert told == {
        "sub": claims(tokens["id_token"])["sub"], "email": "zoe@example.org", "email_verified": False, "roles": [],
    }  # fmt: skip


async def test_userinfo_takes_the_token_from_the_header_only(api, zoe):
    app = await an_application(api)
    token = (await app.tokens(zoe))["access_token"]
    answer = await api.client.get("/oauth2/userinfo", params={"access_token": token})
    refused(answer, "invalid_request")
    refused(await api.client.post("/oauth2/userinfo", data={"access_token": token}), "invalid_request")
    for wrong in (token[:-2], "x", (await app.tokens(zoe))["id_token"], (await app.tokens(zoe))["refresh_token"]):
        answer = await app.userinfo(wrong)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_an_application_signs_its_person_out_and_gets_them_back(api, zoe):
    app = await an_application(api, post_logout_redirect_uris=["https://app.example.org/bye"])
    tokens = await app.tokens(zoe)
    asked = {
        "id_token_hint": tokens["id_token"], "post_logout_redirect_uri": "https://app.example.org/bye", "state": "s",
    }  # fmt: skip
    answer = await zoe.browser.get("/oauth2/logout", params=asked)
    assert (answer.status_code, answer.headers["location"]) == (303, "https://app.example.org/bye?state=s")
    assert (await zoe.browser.get("/account")).headers["location"] == "/login"
    assert (await app.userinfo(tokens["access_token"])).status_code == 401


async def test_without_a_hint_the_person_is_asked_before_they_are_signed_out(api, zoe):
    await zoe.sign_in()
    shown = await zoe.browser.get("/oauth2/logout")
    assert shown.status_code == 200
    assert (await zoe.browser.get("/account")).status_code == 200
    left = await zoe.send(shown, "/oauth2/logout-confirm")
    assert left.headers["location"] == "/logged-out"
    assert (await zoe.browser.get("/account")).headers["location"] == "/login"


async def test_logout_leads_to_no_address_that_is_not_registered(api, zoe):
    app = await an_application(api, post_logout_redirect_uris=["https://app.example.org/bye"])
    for asked in (
        {"client_id": app.id, "post_logout_redirect_uri": "https://evil.example/bye"},
        {"post_logout_redirect_uri": "https://app.example.org/bye"},
        {"id_token_hint": "e30.e30.e30", "post_logout_redirect_uri": "https://app.example.org/bye"},
    ):
        answer = await zoe.browser.get("/oauth2/logout", params=asked)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
