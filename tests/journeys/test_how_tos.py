"""The pages for those who use Hexward, followed to the letter against a real server, but for the ports."""

import re
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from journeys.follow import HOW_TO, ROOT, Reader, a_reader, done, needed, steps, unmet, write
from journeys.person import Person
from journeys.server_process import Server, a_server, free_port

COMMAND_LINE_TOOL = HOW_TO / "command-line-tool.md"
PROTECT_AN_API = HOW_TO / "protect-an-api.md"
SERVICE_TO_SERVICE = HOW_TO / "service-to-service.md"
WEB_APP = HOW_TO / "web-app.md"

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The Hexward that the pages ask for."""
    with a_server() as server:
        yield server


@pytest.fixture
def reader(tmp_path: Path, server: Server) -> Iterator[Reader]:
    own = {"8000": str(server.port), **{port: str(free_port()) for port in ("3000", "8080", "9000", "9001")}}
    settings = {"HOME": str(tmp_path), "HEXWARD_DATA_DIR": str(server.data_dir), "BROWSER": browser()}
    with a_reader(tmp_path, own, **settings) as reader:
        yield reader


@pytest.fixture
def person() -> Iterator[Person]:
    with Person() as person:
        yield person


def browser(*more: str) -> str:
    """A command that goes where it is told, as a person would."""
    return f"env -C {ROOT / 'tests'} {sys.executable} -m journeys.person %s {' '.join(more)} &"


def test_people_sign_in_to_the_web_app_and_out_again(reader: Reader, person: Person):
    reader.follow(WEB_APP)
    app = reader.mine("http://localhost:3000")
    assert "Nobody is signed in" in person.visit(app).text
    assert "Signed in: root@example.org" in person.visit(f"{app}/login").text
    assert "Signed in: root@example.org" in person.visit(app).text
    left = person.send(f"{app}/logout")
    assert str(left.url).startswith(f"{app}/?state=")
    assert "Nobody is signed in" in left.text
    assert 'name="password"' in person.browser.get(f"{app}/login").text  # signed out of Hexward as well


def test_every_trouble_that_the_page_of_the_web_app_names_is_met(reader: Reader, person: Person):
    reader.follow(WEB_APP)
    app, client = reader.mine("http://localhost:3000"), reader.mine("9e1f4764db9737705ef3e0c8")
    asked = person.browser.get(f"{app}/login", follow_redirects=False).headers["location"]
    seen = [
        person.visit(asked.replace("callback", "callback/")).text,
        person.visit(asked.replace(client, client[::-1])).text,
        person.visit(f"{app}/login", decision="deny").text,
        person.visit(f"{app}/callback?code=1&state=2").text,
    ]
    done(f"hexward clients rotate-secret {client} --overlap 0", reader.folder, reader.shell)
    seen.append(person.visit(f"{app}/login").text)
    assert unmet(WEB_APP, seen) == []


def test_the_command_line_tool_signs_in_by_the_browser_once_and_refreshes_and_signs_out(reader: Reader):
    reader.follow(COMMAND_LINE_TOOL)


def test_every_trouble_that_the_page_of_the_tool_names_is_met(reader: Reader, person: Person):
    for step in steps(COMMAND_LINE_TOOL)[:2]:  # registered and written, and nobody has allowed it yet
        reader.do(step)
    client = reader.mine("85e181f9ed06f70123be076a")

    def said(opened: str = browser()) -> str:
        return done("python whoami.py || true", reader.folder, {**reader.shell, "BROWSER": opened})

    seen = [said(browser("deny"))]
    [asked] = re.findall(r"http\S+", seen[0])
    seen.append(person.visit(asked.replace("127.0.0.1", "localhost")).text)
    assert "You are root@example.org" in said()
    done(f"hexward clients disable {client}", reader.folder, reader.shell)
    seen.append(said())
    done(f"hexward clients enable {client}", reader.folder, reader.shell)
    assert "Sign in at" in said()  # what was stored has ended
    assert unmet(COMMAND_LINE_TOOL, seen) == []


def test_a_service_gets_tokens_with_either_of_two_secrets_and_with_a_key(reader: Reader):
    reader.follow(SERVICE_TO_SERVICE)
    assert (reader.folder / "key.pem").stat().st_mode & 0o777 == 0o600
    early = "import tokens; tokens.EARLY = 300; print(tokens.reports.get() == tokens.reports.get())"
    said = done(f"python -c '{early}'", reader.folder, reader.shell)
    assert said == "False\n", "a token that is about to expire is asked for anew"


def test_an_api_accepts_tokens_that_are_for_it_by_itself_and_behind_nginx(reader: Reader):
    needed("nginx", "/usr/sbin/nginx")
    reader.follow(PROTECT_AN_API)


def test_the_verifier_of_the_page_refuses_whatever_is_not_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for step in steps(PROTECT_AN_API):
        if step.file == "verifier.py":
            write(step, tmp_path)
    verifier = runpy.run_path(str(tmp_path / "verifier.py"))
    verified, refused = verifier["verified"], verifier["Refused"]
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    public = jwt.PyJWK({**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "alg": "ES256"})
    # Where the page has its keys from is followed above, with a server; here it is only what it makes of tokens.
    monkeypatch.setattr(verifier["keys"], "get_signing_key_from_jwt", lambda token: public)
    now = int(time.time())
    good = {
        "iss": "http://localhost:8000", "aud": "https://reports.example.org", "exp": now + 60, "iat": now,
        "sub": "s", "client_id": "c", "jti": "j", "scope": "reports:read",
    }  # fmt: skip

    def bearer(typ: str = "at+jwt", signed_with: Any = key, algorithm: str = "ES256", **changes: Any) -> str:
        claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return f"Bearer {jwt.encode(claims, signed_with, algorithm=algorithm, headers={'typ': typ})}"

    assert verified(bearer(), "reports:read")["sub"] == "s"
    for wrong in (
        bearer(typ="JWT"), bearer(signed_with=other), bearer(signed_with=None, algorithm="none"),
        bearer(signed_with="a secret of thirty-two bytes or more", algorithm="HS256"),
        bearer(iss="https://other.example.org"), bearer(aud="https://other.example.org"), bearer(aud=None),
        bearer(exp=now - 6), bearer(exp=None), bearer(client_id=None), "Bearer x", "Bearer ", "Basic x", "",
    ):  # fmt: skip
        with pytest.raises(refused) as told:
            verified(wrong, "reports:read")
        assert told.value.status == 401, wrong
    for scope in ("reports:rea", "reports", "", None):
        with pytest.raises(refused) as told:
            verified(bearer(scope=scope), "reports:read")
        assert told.value.status == 403, scope
