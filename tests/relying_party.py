"""An application that signs people in with Hexward, and a person with a browser, for tests of the real application."""

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import jwt

from http_world import ADMIN, PASSWORD, Api

CALLBACK = "https://app.example.org/callback"
_INPUT = re.compile(r"<input\b[^>]*>")
_ATTRIBUTE = re.compile(r'([a-z_-]+)="([^"]*)"')


def challenge_of(verifier: str) -> str:
    """RFC 7636, 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def fields(page: str) -> dict[str, str]:
    """The inputs of all forms of a page."""
    found = {}
    for tag in _INPUT.findall(page):
        attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(tag)}
        if "name" in attributes:
            found[attributes["name"]] = attributes.get("value", "")
    return found


def parameters(location: str) -> dict[str, str]:
    """The query of a redirect."""
    return dict(parse_qsl(urlsplit(location).query))


@dataclass
class Person:
    """Somebody with a browser of their own."""

    email: str
    browser: httpx.AsyncClient
    password: str = PASSWORD

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """Go where the answer leads, as long as that is on this server."""
        for _ in range(10):
            location = answer.headers.get("location", "")
            if answer.status_code != 303 or not location.startswith("/"):
                return answer
            answer = await self.browser.get(location)
        raise AssertionError("the redirects never end")

    async def send(self, page: httpx.Response, path: str, **more: str) -> httpx.Response:
        """Send the form of a page."""
        hidden = {
            name: value for name, value in fields(page.text).items() if name in ("form_token", "ticket", "request")
        }
        return await self.browser.post(path, data={**hidden, **more})

    async def sign_in(self, page: httpx.Response | None = None, **more: str) -> httpx.Response:
        """Fill in the sign-in page, that of the account if none is given."""
        shown = await self.browser.get("/login") if page is None else page
        assert shown.status_code == 200, shown.text
        return await self.send(shown, "/login", **{"identifier": self.email, "password": self.password, **more})

    async def answer(self, page: httpx.Response, decision: str = "allow") -> httpx.Response:
        """Allow or deny."""
        return await self.send(page, "/consent", decision=decision)


@dataclass
class Application:
    """A registered client, with what it knows of itself."""

    api: Api
    metadata: dict[str, Any]
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def id(self) -> str:
        return self.metadata["client_id"]

    @property
    def secret(self) -> str | None:
        return self.metadata.get("client_secret")

    def request(self, **changes: Any) -> str:
        """The address of an authorization request; a change to None leaves a parameter out."""
        asked = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": (self.metadata["redirect_uris"] or [CALLBACK])[0],
            "scope": "openid profile email",
            "state": "st-1",
            "nonce": "no-1",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            **changes,
        }
        return f"/oauth2/authorize?{urlencode({k: v for k, v in asked.items() if v is not None}, doseq=True)}"

    async def location(self, person: Person, **changes: Any) -> str:
        """Where the person's browser is sent in the end, having signed in and allowed whatever was asked."""
        answer = await person.follow(await person.browser.get(self.request(**changes)))
        for _ in range(3):
            if answer.status_code == 303:
                break
            path = urlsplit(str(answer.request.url)).path
            step = person.sign_in(answer) if path == "/login" else person.answer(answer)
            answer = await person.follow(await step)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def code(self, person: Person, **changes: Any) -> str:
        """A code of that person."""
        location = await self.location(person, **changes)
        found = parse_qs(urlsplit(location).query)
        assert "code" in found, location
        return found["code"][0]

    async def post(self, path: str, data: dict[str, Any], **options: Any) -> httpx.Response:
        """A request in the application's own name, by the method it is registered for."""
        data = {k: v for k, v in data.items() if v is not None}
        method = self.metadata["token_endpoint_auth_method"]
        if method == "client_secret_basic":
            options.setdefault("auth", (self.id, self.secret))
        elif method == "client_secret_post":
            data = {"client_id": self.id, "client_secret": self.secret, **data}
        elif method == "none":
            data = {"client_id": self.id, **data}
        return await self.api.client.post(path, data=data, **options)

    async def exchange(self, code: str, **changes: Any) -> httpx.Response:
        """The code for tokens."""
        data = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": (self.metadata["redirect_uris"] or [CALLBACK])[0],
            "code_verifier": self.verifier,
            **changes,
        }
        return await self.post("/oauth2/token", data)

    async def tokens(self, person: Person, **changes: Any) -> dict[str, Any]:
        """Tokens of that person."""
        answer = await self.exchange(await self.code(person, **changes))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str, **more: Any) -> httpx.Response:
        """The refresh token for its successor."""
        return await self.post("/oauth2/token", {"grant_type": "refresh_token", "refresh_token": token, **more})

    async def userinfo(self, access_token: str) -> httpx.Response:
        """What is told of the token's person."""
        return await self.api.client.get("/oauth2/userinfo", headers={"Authorization": f"Bearer {access_token}"})


async def an_application(api: Api, **metadata: Any) -> Application:
    """Registered by the administrator."""
    body = {
        "client_name": "Notes",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "openid profile email roles offline_access",
        **metadata,
    }
    answer = await api.call("POST", "/api/v1/clients", by=ADMIN, json=body)
    assert answer.status_code == 201, answer.text
    return Application(api, answer.json())


def a_browser(api: Api, email: str = ADMIN, **headers: str) -> Person:
    """A person with a browser that has been nowhere yet."""
    client = httpx.AsyncClient(transport=api.client._transport, base_url="http://localhost:8000", headers=headers)
    return Person(email, client)


async def a_person(api: Api, email: str = "zoe@example.org", *roles: str, **more: Any) -> Person:
    """A new account, and its browser."""
    await api.a_user(email, *roles, **more)
    return a_browser(api, email)


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    return jwt.decode(token, options={"verify_signature": False})
