"""A relying party that is not ours: Authlib, given nothing but the issuer's URL, and a person with a browser."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from joserfc.jws import JWSRegistry
from playwright.sync_api import Browser, Page

from journeys.chromium import landings
from journeys.server_process import PASSWORD, Server, a_server

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.long]

ZOE = "zoe@example.org"
SCOPE = "openid profile email offline_access"
ORDERS = "https://orders.example.org"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_server(None, "--workers", "2") as running:
        with running.client() as client:
            headers = running.login(client)
            body = {"email": ZOE, "password": PASSWORD, "display_name": "Zoë 李"}
            assert client.post("/api/v1/users", headers=headers, json=body).status_code == 201
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A person's browser that has been nowhere yet."""
    with chromium.new_context(locale="en") as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """Where the pages of the application are."""
    with landings() as there:
        yield there.url


@pytest.fixture(scope="module")
def issuer(server: Server) -> str:
    return f"http://localhost:{server.port}"


@pytest.fixture(scope="module")
def metadata(issuer: str) -> dict[str, Any]:
    """All that the relying party knows: what stands behind the issuer's URL (OpenID Connect Discovery 4)."""
    told = httpx.get(f"{issuer}/.well-known/openid-configuration").json()
    assert told["issuer"] == issuer
    return told


@pytest.fixture
def register(server: Server) -> Any:
    """Registers an application by the administrator, as its owner would be told to."""

    def registered(**client: Any) -> dict[str, Any]:
        with server.client() as http:
            answer = http.post("/api/v1/clients", headers=server.login(http), json={"client_name": "Notes", **client})
            assert answer.status_code == 201, answer.text
            return answer.json()

    return registered


@dataclass
class RelyingParty:
    """An application built on Authlib."""

    metadata: Mapping[str, Any]
    session: OAuth2Session
    nonce: str = ""

    def sign_in(self, page: Page) -> dict[str, Any]:
        """Send the person to the server, and come back with tokens."""
        self.nonce, verifier = generate_token(), generate_token(48)
        url, state = self.session.create_authorization_url(
            self.metadata["authorization_endpoint"], nonce=self.nonce, code_verifier=verifier
        )
        self.came_back = through_the_pages(page, url, self.session.redirect_uri)
        query = parse_qs(urlsplit(self.came_back).query)
        assert query["iss"] == [self.metadata["issuer"]]  # RFC 9207
        return self.session.fetch_token(
            self.metadata["token_endpoint"],
            authorization_response=self.came_back,
            state=state,
            code_verifier=verifier,
        )

    def claims(self, tokens: Mapping[str, Any]) -> CodeIDToken:
        """The ID token, validated as Authlib does it (OpenID Connect Core 3.1.3.7)."""
        keys = KeySet.import_key_set(httpx.get(self.metadata["jwks_uri"]).json())
        algorithms = self.metadata["id_token_signing_alg_values_supported"]
        read = jwt.decode(tokens["id_token"], keys, registry=JWSRegistry(algorithms=algorithms))
        claims = CodeIDToken(
            read.claims,
            read.header,
            {"iss": {"essential": True, "value": self.metadata["issuer"]}},
            {"nonce": self.nonce, "client_id": self.session.client_id, "access_token": tokens["access_token"]},
        )
        claims.validate()
        return claims


def through_the_pages(page: Page, url: str, back: str) -> str:
    """The person signs in and allows what is asked; the address at which the application gets them back."""
    page.goto(url)
    page.get_by_label("E-mail").fill(ZOE)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    with page.expect_request(f"{back}?**") as came:
        page.get_by_role("button", name="Allow").click()
    return came.value.url


def test_a_web_application_signs_people_in_and_out(app, page, issuer, metadata, register):
    callback, goodbye = f"{app}/callback", f"{app}/goodbye"
    made = register(
        redirect_uris=[callback],
        post_logout_redirect_uris=[goodbye],
        grant_types=["authorization_code", "refresh_token"],
        scope=SCOPE,
    )
    with OAuth2Session(
        made["client_id"],
        made["client_secret"],
        scope=SCOPE,
        redirect_uri=callback,
        code_challenge_method="S256",
        **metadata,
    ) as session:
        party = RelyingParty(metadata, session)
        tokens = party.sign_in(page)
        claims = party.claims(tokens)
        assert (claims["auth_time"] <= claims["iat"], claims["amr"]) == (True, ["pwd"])

        told = session.get(metadata["userinfo_endpoint"]).json()
        assert (told["sub"], told["name"], told["email"]) == (claims["sub"], "Zoë 李", ZOE)

        fresh = session.refresh_token(metadata["token_endpoint"], refresh_token=tokens["refresh_token"])
        assert fresh["refresh_token"] != tokens["refresh_token"]
        assert session.get(metadata["userinfo_endpoint"]).status_code == 200

        assert session.revoke_token(
            metadata["revocation_endpoint"], token=fresh["refresh_token"], token_type_hint="refresh_token"
        ).ok
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.refresh_token(metadata["token_endpoint"], refresh_token=fresh["refresh_token"])
        assert felt(lambda: session.get(metadata["userinfo_endpoint"], withhold_token=False).status_code, 401)

        sign_out, _ = session.create_authorization_url(
            metadata["end_session_endpoint"], id_token_hint=tokens["id_token"], post_logout_redirect_uri=goodbye
        )
        with page.expect_request(f"{goodbye}?**"):
            page.goto(sign_out)
        page.goto(f"{issuer}/account")
        assert page.url == f"{issuer}/login"


def test_a_public_application_needs_no_secret_but_its_proof(app, page, metadata, register):
    made = register(redirect_uris=[app], token_endpoint_auth_method="none", scope="openid")
    with OAuth2Session(
        made["client_id"], scope="openid", redirect_uri=app, code_challenge_method="S256", **metadata
    ) as session:
        party = RelyingParty(metadata, session)
        tokens = party.sign_in(page)
        assert party.claims(tokens)["aud"] in (made["client_id"], [made["client_id"]])
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.fetch_token(
                metadata["token_endpoint"], authorization_response=party.came_back, code_verifier=generate_token(48)
            )


KEY = ECKey.generate_key("P-256", {"use": "sig", "kid": "orders-1"})


class Es256(PrivateKeyJWT):
    alg = "ES256"


@pytest.mark.parametrize(
    "method", ["client_secret_basic", "client_secret_post", "private_key_jwt", "private_key_jwt for the token URL"]
)
def test_a_service_gets_tokens_by_each_method_and_asks_about_them(metadata, issuer, register, method):
    by_key, for_url = method.startswith("private"), method.endswith("URL")
    own = {"jwks": {"keys": [KEY.as_dict(private=False)]}} if by_key else {}
    made = register(
        grant_types=["client_credentials"],
        token_endpoint_auth_method=method.partition(" ")[0],
        assertion_audience="issuer_or_token_url" if for_url else "issuer",
        scope="orders:read orders:write",
        audiences=[ORDERS],
        introspection=True,
        **own,
    )
    with OAuth2Session(
        made["client_id"],
        KEY if by_key else made["client_secret"],
        token_endpoint_auth_method=method.partition(" ")[0],
        revocation_endpoint_auth_method=method.partition(" ")[0],
    ) as session:
        if by_key:
            endpoint = metadata["token_endpoint"]
            session.register_client_auth_method(Es256(endpoint if for_url else issuer, headers={"kid": "orders-1"}))
        tokens = session.fetch_token(
            metadata["token_endpoint"], grant_type="client_credentials", scope="orders:read", resource=ORDERS
        )
        assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "orders:read")
        told = session.introspect_token(metadata["introspection_endpoint"], token=tokens["access_token"]).json()
        assert (told["active"], told["client_id"], told["aud"]) == (True, made["client_id"], ORDERS)
        for token in ("x", tokens["access_token"][:-8] + "AAAAAAAA"):
            other = session.introspect_token(metadata["introspection_endpoint"], token=token)
            assert json.loads(other.text) == {"active": False}


def felt(ask: Any, status: int) -> bool:
    """Whether every worker comes to answer so."""
    return any({ask() for _ in range(10)} == {status} for _ in range(200))
