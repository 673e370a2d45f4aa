"""What the metadata promises, the server does, and what it does not promise, it refuses.

Every member of the document is checked by a test that says so with `promises`; a member that nobody checks fails.
"""

import json
from functools import cache

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from adapters.oauth.assertions import ALGORITHMS as ASSERTION_ALGORITHMS
from builders import SECOND
from domain.authorization import ACR_SINGLE_FACTOR, CLAIMS_OF, SCOPE_OF
from domain.clients import API_SCOPE, IDENTITY_SCOPES, AuthMethod, GrantType, IdTokenAlgorithm
from entrypoints.http.oauth.discovery import metadata as published
from entrypoints.http.pages.texts import CATALOGS
from http_world import ADMIN
from relying_party import a_person, an_application, claims, fields, parameters

ISSUER = "http://localhost:8000"
PATHS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
DOCUMENT = published(ISSUER)
CHECKED: set[str] = set()
ALL_SCOPES = " ".join([*IDENTITY_SCOPES, API_SCOPE])


def promises(*members):
    """Marks what a test checks."""
    CHECKED.update(members)
    return lambda test: test


@pytest.fixture
async def zoe(api):
    """Of whom everything is known that can be told."""
    return await a_person(api, "zoe@example.org", "user", username="zoe", display_name="Zoë", locale="de")


async def landed(app, person, **changes):
    """Where the browser ends at: a path of ours, or what the application is told."""
    answer = await person.follow(await person.browser.get(app.request(**changes)))
    return parameters(answer.headers["location"]) if answer.status_code == 303 else answer.request.url.path


async def error(app, person, **changes):
    """What the application is told, at once."""
    answer = await person.browser.get(app.request(**changes))
    return parameters(answer.headers["location"]).get("error")


async def registered(api, **metadata):
    """The status of a registration."""
    body = {"client_name": "Notes", "redirect_uris": ["https://app.example.org/callback"], **metadata}
    return (await api.call("POST", "/api/v1/clients", by=ADMIN, json=body)).status_code


# --------------------------------------------------------------------------------------------------------- the document


def test_every_member_is_checked():
    assert set(DOCUMENT) == CHECKED


async def test_both_addresses_serve_the_same_document(api):
    for path in PATHS:
        answer = await api.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == DOCUMENT
        again = await api.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_what_every_document_must_have_is_there_and_no_list_is_empty():
    assert DOCUMENT.keys() >= {
        "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported",
        "subject_types_supported", "id_token_signing_alg_values_supported",
    }  # fmt: skip
    assert "RS256" in DOCUMENT["id_token_signing_alg_values_supported"]
    assert all(value not in (None, [], "") for value in DOCUMENT.values())
    for values in DOCUMENT.values():
        assert not isinstance(values, list) or len(set(values)) == len(values)


@promises("issuer", "authorization_response_iss_parameter_supported")
async def test_the_issuer_is_named_in_answers_and_tokens_alike(api, zoe):
    app = await an_application(api)
    answered = parameters(await app.location(zoe))
    tokens = (await app.exchange(answered["code"])).json()
    refused = parameters((await zoe.browser.get(app.request(response_type="token"))).headers["location"])
    assert DOCUMENT["issuer"] == ISSUER
    assert DOCUMENT["authorization_response_iss_parameter_supported"] is True
    for named in (answered, refused, claims(tokens["access_token"]), claims(tokens["id_token"])):
        assert named["iss"] == ISSUER


# -------------------------------------------------------------------------------------------------------- the endpoints

ENDPOINTS = {
    "authorization_endpoint": ("GET", 400),
    "token_endpoint": ("POST", 400),
    "userinfo_endpoint": ("GET", 401),
    "jwks_uri": ("GET", 200),
    "introspection_endpoint": ("POST", 400),
    "revocation_endpoint": ("POST", 400),
    "end_session_endpoint": ("GET", 303),
    "service_documentation": ("GET", 200),
}
"""How each is asked, and what it answers to a request that says nothing."""


@promises(*ENDPOINTS)
@pytest.mark.parametrize("member", ENDPOINTS)
async def test_every_endpoint_answers_where_it_is_said_to_be(api, member):
    method, status = ENDPOINTS[member]
    assert DOCUMENT[member].startswith(f"{ISSUER}/")
    answer = await api.client.request(method, DOCUMENT[member])
    assert answer.status_code == status


def test_every_endpoint_is_advertised():
    members = {name for name in DOCUMENT if name.endswith(("_endpoint", "_uri"))}
    assert members | {"service_documentation"} == ENDPOINTS.keys()


async def test_no_endpoint_is_hidden(api):
    routes = {route.path for route in api.client._transport.app.routes}
    ours = {f"{ISSUER}{path}" for path in routes if path.startswith("/oauth2/")}
    assert ours - {f"{ISSUER}/oauth2/logout-confirm"} == {DOCUMENT[name] for name in ENDPOINTS} & ours
    assert len(ours) == len(ENDPOINTS)  # the form of a page is no endpoint, and the documentation stands elsewhere


async def test_the_end_session_endpoint_signs_the_person_out(api, zoe):
    tokens = await (app := await an_application(api)).tokens(zoe)
    await zoe.browser.get(DOCUMENT["end_session_endpoint"], params={"id_token_hint": tokens["id_token"]})
    assert await error(app, zoe, prompt="none") == "login_required"


# ------------------------------------------------------------------------------------------------------ grants and PKCE


@promises("grant_types_supported")
async def test_every_grant_type_is_served_and_no_other(api, zoe):
    app = await an_application(api, grant_types=list(GrantType), scope="openid orders:read")
    tokens = await app.tokens(zoe, scope="openid")
    served = {
        "authorization_code": tokens,
        "refresh_token": (await app.refresh(tokens["refresh_token"])).json(),
        "client_credentials": (await app.post("/oauth2/token", {"grant_type": "client_credentials"})).json(),
    }
    assert all("access_token" in answer for answer in served.values())
    assert set(DOCUMENT["grant_types_supported"]) == served.keys() == {grant.value for grant in GrantType}
    for other in (
        "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange",
    ):  # fmt: skip
        answer = await app.post("/oauth2/token", {"grant_type": other})
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
        assert await registered(api, grant_types=[other]) == 422


@promises("response_types_supported", "response_modes_supported")
async def test_every_response_type_and_mode_is_served_and_no_other(api, zoe):
    app = await an_application(api)
    for kind in DOCUMENT["response_types_supported"]:
        for mode in DOCUMENT["response_modes_supported"]:
            assert kind in parameters(await app.location(zoe, response_type=kind, response_mode=mode))
    for other in ("token", "id_token", "code id_token", "code token", "id_token token", "none", "Code"):
        assert await error(app, zoe, response_type=other) == "unsupported_response_type"
    for other in ("fragment", "form_post", "jwt", "query.jwt", "web_message"):
        assert await error(app, zoe, response_mode=other) == "invalid_request"


@promises("code_challenge_methods_supported")
async def test_pkce_is_by_the_methods_that_are_advertised_and_never_plain(api, zoe):
    app = await an_application(api)
    assert DOCUMENT["code_challenge_methods_supported"] == ["S256"]
    assert (await app.tokens(zoe, code_challenge_method="S256"))["access_token"]
    for other in ("plain", "s256", "S512", None):  # none at all is plain (RFC 7636, 4.3)
        changes = {"code_challenge_method": other, "code_challenge": app.verifier}
        assert await error(app, zoe, **changes) == "invalid_request"


# ----------------------------------------------------------------------------------------------- how clients are proven

METHODS_AT = {
    "token_endpoint": "token_endpoint_auth_methods_supported",
    "introspection_endpoint": "introspection_endpoint_auth_methods_supported",
    "revocation_endpoint": "revocation_endpoint_auth_methods_supported",
}
ALGORITHMS_AT = {name: f"{name}_auth_signing_alg_values_supported" for name in METHODS_AT}


@cache
def keys():
    """A key of each kind, made once."""
    rsa, ec = rsa_key(65537, 2048), ec_key(SECP256R1())
    return {"RS256": rsa, "PS256": rsa, "ES256": ec, "EdDSA": Ed25519PrivateKey.generate()}


def jwks():
    kinds = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    return {"keys": [kind.to_jwk(keys()[name].public_key(), as_dict=True) for name, kind in kinds.items()]}


class Caller:
    """A client of one method, that can ask each endpoint for something."""

    def __init__(self, app, clock):
        self.app, self.clock, self.count = app, clock, 0

    async def ask(self, endpoint, algorithm="ES256", key=None):
        proof = {}
        if self.app.metadata["token_endpoint_auth_method"] == "private_key_jwt":
            proof = {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": self._assertion(algorithm, key or keys().get(algorithm)),
            }
        asked = (
            {"token": "x"} if endpoint != "token_endpoint" else {"grant_type": "refresh_token", "refresh_token": "x"}
        )
        return await self.app.post(DOCUMENT[endpoint], {**asked, **proof})

    def _assertion(self, algorithm, key):
        self.count += 1
        now = int(self.clock.now().timestamp())
        content = {
            "iss": self.app.id, "sub": self.app.id, "aud": ISSUER, "jti": f"j{self.count}", "exp": now + 60,
        }  # fmt: skip
        return jwt.encode(content, key, algorithm)


async def a_caller(api, clock, method):
    more = {"jwks": jwks()} if method == "private_key_jwt" else {}
    introspects = method != "none"
    app = await an_application(api, token_endpoint_auth_method=method, introspection=introspects, **more)
    return Caller(app, clock)


def proven(answer):
    """Whether the caller was taken for whom it says: then only what it asked about was no good."""
    if answer.status_code == 200:
        return True
    assert answer.json()["error"] in ("invalid_grant", "invalid_client", "unauthorized_client"), answer.text
    return answer.json()["error"] == "invalid_grant"


@promises(*METHODS_AT.values())
@pytest.mark.parametrize("endpoint", METHODS_AT)
async def test_clients_prove_themselves_by_every_method_that_is_advertised_and_no_other(api, clock, endpoint):
    accepted = {m.value for m in AuthMethod if proven(await (await a_caller(api, clock, m)).ask(endpoint))}
    assert set(DOCUMENT[METHODS_AT[endpoint]]) == accepted


async def test_no_client_is_registered_for_a_method_that_is_not_advertised(api):
    assert set(DOCUMENT["token_endpoint_auth_methods_supported"]) == {method.value for method in AuthMethod}
    for other in ("client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth", "password"):
        assert await registered(api, token_endpoint_auth_method=other) == 422


@promises(*ALGORITHMS_AT.values())
@pytest.mark.parametrize("endpoint", ALGORITHMS_AT)
async def test_assertions_are_signed_by_every_algorithm_that_is_advertised_and_no_other(api, clock, endpoint):
    caller = await a_caller(api, clock, "private_key_jwt")
    assert set(DOCUMENT[ALGORITHMS_AT[endpoint]]) == set(ASSERTION_ALGORITHMS) == keys().keys()
    for algorithm in DOCUMENT[ALGORITHMS_AT[endpoint]]:
        assert proven(await caller.ask(endpoint, algorithm)), algorithm
    rsa = keys()["RS256"]
    for other, key in (("RS384", rsa), ("RS512", rsa), ("PS384", rsa), ("HS256", "x" * 32), ("none", None)):
        assert not proven(await caller.ask(endpoint, other, key)), other


# ------------------------------------------------------------------------------------------------- ID tokens and claims


@promises("id_token_signing_alg_values_supported")
async def test_every_signing_algorithm_signs_id_tokens_that_verify_with_the_published_keys(api, zoe):
    algorithms = DOCUMENT["id_token_signing_alg_values_supported"]
    assert set(algorithms) == {algorithm.value for algorithm in IdTokenAlgorithm}
    ring = jwt.PyJWKSet.from_dict((await api.client.get(DOCUMENT["jwks_uri"])).json())
    for algorithm in algorithms:
        app = await an_application(api, id_token_signed_response_alg=algorithm)
        token = (await app.tokens(zoe))["id_token"]
        header = jwt.get_unverified_header(token)
        assert header["alg"] == algorithm
        anytime = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        key = ring[header["kid"]].key
        jwt.decode(token, key, algorithms=[algorithm], audience=app.id, issuer=ISSUER, options=anytime)
    for other in ("none", "HS256", "PS256", "EdDSA", "RS384"):
        assert await registered(api, id_token_signed_response_alg=other) == 422


@promises("scopes_supported")
async def test_every_scope_opens_what_it_stands_for(api, zoe):
    app = await an_application(api, scope=ALL_SCOPES)
    assert set(DOCUMENT["scopes_supported"]) == {*IDENTITY_SCOPES, API_SCOPE}
    nothing = (await app.userinfo((await app.tokens(zoe, scope="openid"))["access_token"])).json()
    assert nothing.keys() == {"sub"}
    for scope in DOCUMENT["scopes_supported"]:
        tokens = await app.tokens(zoe, scope=" ".join(dict.fromkeys(["openid", scope])))
        assert scope in tokens["scope"].split()
        told = (await app.userinfo(tokens["access_token"])).json()
        assert told.keys() == {"sub", *CLAIMS_OF.get(scope, ())}
        opened = await api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert opened.status_code == (200 if scope == API_SCOPE else 403)
    assert await error(app, zoe, scope="address phone") == "invalid_scope"


@promises("claims_supported", "claim_types_supported", "acr_values_supported")
async def test_every_claim_is_told_and_no_other(api, zoe):
    app = await an_application(api, scope=ALL_SCOPES)
    tokens = await app.tokens(zoe, scope=ALL_SCOPES)
    told, id_token = (await app.userinfo(tokens["access_token"])).json(), claims(tokens["id_token"])
    assert told.keys() | id_token.keys() == set(DOCUMENT["claims_supported"])
    assert DOCUMENT["claim_types_supported"] == ["normal"]
    assert DOCUMENT["acr_values_supported"] == [id_token["acr"]] == [ACR_SINGLE_FACTOR]
    for acr, expected in ((ACR_SINGLE_FACTOR, None), ("2", "unmet_authentication_requirements")):
        asked = json.dumps({"id_token": {"acr": {"essential": True, "values": [acr]}}})
        assert await error(app, zoe, scope=ALL_SCOPES, claims=asked) == expected


@promises("claims_parameter_supported")
async def test_claims_can_be_asked_for_by_name_in_either_place(api, zoe):
    assert DOCUMENT["claims_parameter_supported"] is True
    app = await an_application(api)
    for name in SCOPE_OF:
        for place in ("userinfo", "id_token"):
            tokens = await app.tokens(zoe, scope="openid", claims=json.dumps({place: {name: None}}))
            told = {
                "userinfo": (await app.userinfo(tokens["access_token"])).json(),
                "id_token": claims(tokens["id_token"]),
            }
            assert [where for where, members in told.items() if name in members] == [place]


@promises("subject_types_supported")
async def test_a_person_is_the_same_to_every_application(api, zoe):
    assert DOCUMENT["subject_types_supported"] == ["public"]
    seen = {claims((await (await an_application(api)).tokens(zoe))["id_token"])["sub"] for _ in range(2)}
    assert len(seen) == 1


# ---------------------------------------------------------------------------------------------- authorization requests


@promises("prompt_values_supported")
async def test_every_prompt_does_what_it_says_and_no_other_is_taken(api, zoe, clock):
    app = await an_application(api)
    await app.code(zoe)
    clock.move(60 * SECOND)
    done = {
        "none": "code" in await landed(app, zoe, prompt="none"),
        "login": await landed(app, zoe, prompt="login") == "/login",
        "consent": await landed(app, zoe, prompt="consent") == "/consent",
        "select_account": await landed(app, zoe, prompt="select_account") == "/login",
    }
    assert all(done.values()), done
    assert set(DOCUMENT["prompt_values_supported"]) == done.keys()
    for other in ("create", "Login", "none login"):
        assert await error(app, zoe, prompt=other) == "invalid_request"
    page = await zoe.follow(await zoe.browser.get(app.request(prompt="select_account")))
    assert "ticket" in fields(page.text)
    assert 'name="continue"' in page.text


@promises("request_parameter_supported", "request_uri_parameter_supported", "require_request_uri_registration")
async def test_what_is_not_supported_is_refused_by_its_name(api, zoe):
    app = await an_application(api)
    for name, sent in (("request", "e30.e30."), ("request_uri", "https://app.example.org/request.jwt")):
        assert DOCUMENT[f"{name}_parameter_supported"] is False
        assert await error(app, zoe, **{name: sent}) == f"{name}_not_supported"
    assert DOCUMENT["require_request_uri_registration"] is False


@promises("ui_locales_supported")
async def test_every_language_is_spoken(api, zoe):
    app = await an_application(api)
    assert set(DOCUMENT["ui_locales_supported"]) == CATALOGS.keys()
    for language in DOCUMENT["ui_locales_supported"]:
        page = await zoe.follow(await zoe.browser.get(app.request(ui_locales=language)))
        assert f'<html lang="{language}"' in page.text
