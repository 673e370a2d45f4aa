"""The pages for those who use Hexward, followed to the letter against a real server, but for the ports."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.follow import HOW_TO, Reader, a_reader, done
from journeys.person import Person
from journeys.server_process import Server, a_server, free_port

WEB_APP = HOW_TO / "web-app.md"

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The Hexward that the pages ask for."""
    with a_server() as server:
        yield server


@pytest.fixture
def reader(tmp_path: Path, server: Server) -> Iterator[Reader]:
    own = {"8000": str(server.port), **{port: str(free_port()) for port in ("3000", "8080", "9000")}}
    with a_reader(tmp_path, own, HEXWARD_DATA_DIR=str(server.data_dir)) as reader:
        yield reader


@pytest.fixture
def person() -> Iterator[Person]:
    with Person() as person:
        yield person


def troubles(page: Path) -> list[str]:
    """What the page says that can be seen when something is wrong."""
    return re.findall(r"^\| [^|`]*`([^|`]+)` \|", page.read_text(), re.MULTILINE)


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
    assert troubles(WEB_APP)
    assert [trouble for trouble in troubles(WEB_APP) if not any(trouble in text for text in seen)] == []
