"""The API described: complete, correct in form, and a page that loads nothing from anywhere."""

import json
import re
from html.parser import HTMLParser

import pytest

from entrypoints.http.app import create_app
from entrypoints.http.docs import page
from entrypoints.settings import Settings
from http_walk import OTHER_SHAPES, PEOPLE, UNDESCRIBED_ROUTES
from http_world import ADMIN

NOT_DESCRIBED = {*UNDESCRIBED_ROUTES, *PEOPLE}
"""Routes for people, and the description itself."""

VERBS = {"get", "post", "put", "patch", "delete"}
PROBLEM = "application/problem+json"
FOR_BROWSERS = {"/oauth2/authorize", "/oauth2/logout"}
NEEDS_A_VERSION = {
    ("patch", "/api/v1/me"),
    ("patch", "/api/v1/users/{user_id}"),
    ("delete", "/api/v1/users/{user_id}"),
    ("patch", "/api/v1/roles/{name}"),
    ("delete", "/api/v1/roles/{name}"),
    ("patch", "/api/v1/clients/{client_id}"),
    ("delete", "/api/v1/clients/{client_id}"),
}


@pytest.fixture
async def document(api):
    answer = await api.call("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    return answer.json()


def operations(document):
    for path, item in document["paths"].items():
        for verb in VERBS & item.keys():
            yield verb, path, item[verb]


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def templated(path):
    """A route's path in the words of OpenAPI: `/users/{user_id:uuid}` is `/users/{user_id}`."""
    return re.sub(r":\w+\}", "}", path)


async def test_every_route_is_described_and_nothing_else(api, document):
    app = create_app(api.container, await api.container.get(Settings))
    routed = {
        (method.lower(), templated(route.path_format))
        for route in app.routes
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    described = {(verb, path) for verb, path, _ in operations(document)}
    by_framework = {path for _, path in routed if path.startswith("/openapi") and path not in NOT_DESCRIBED}
    for path in by_framework:
        assert (await api.call("GET", path)).status_code == 404, path
    assert {(v, path) for v, path in routed if path not in NOT_DESCRIBED | by_framework} == described
    assert {path for _, path in routed} >= NOT_DESCRIBED


async def test_the_document_is_openapi_3_1_and_refers_to_nothing_that_is_not_there(document):
    assert document["openapi"].startswith("3.1")
    assert {"title", "version"} <= document["info"].keys()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for reference in set(references(document)):
        assert reference.startswith("#/"), reference
        found = document
        for step in reference[2:].split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
    identifiers = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(identifiers)) == len(identifiers)


async def test_every_operation_says_what_it_does_and_how_it_answers(document):
    for verb, path, operation in operations(document):
        where = f"{verb.upper()} {path}"
        assert operation.get("summary", "").strip(), where
        assert operation.get("description", "").strip(), where
        assert operation.get("tags"), where
        answers = operation["responses"]
        assert [s for s in answers if s.startswith("2") or (s == "303" and path in FOR_BROWSERS)], where
        for status, answer in answers.items():
            assert re.fullmatch(r"[1-5]\d\d", status), where
            assert answer["description"].strip(), f"{where} {status}"
            if status.startswith("4"):
                kind, shape = refusal(path, status)
                assert answer["content"][kind]["schema"] == shape, f"{where} {status}"


def refusal(path, status):
    """How an operation refuses: by a problem, unless an RFC wants it otherwise."""
    if path not in OTHER_SHAPES or status == "429":
        return PROBLEM, {"$ref": "#/components/schemas/Problem"}
    if path in FOR_BROWSERS:
        return "text/html", {"type": "string"}
    return "application/json", {"$ref": "#/components/schemas/OAuthProblem"}


async def test_every_operation_describes_its_parameters(document):
    for verb, path, operation in operations(document):
        where = f"{verb.upper()} {path}"
        parameters = operation.get("parameters", [])
        assert len({(p["name"], p["in"]) for p in parameters}) == len(parameters), where
        assert all("schema" in p for p in parameters), where
        in_path = {p["name"] for p in parameters if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), where
        assert all(p["required"] for p in parameters if p["in"] == "path"), where
        if_match = any(p["name"].lower() == "if-match" and p["in"] == "header" for p in parameters)
        assert if_match == ((verb, path) in NEEDS_A_VERSION), where
        assert {"412", "428"} <= operation["responses"].keys() or not if_match, where
        if verb == "get":
            assert "requestBody" not in operation, where


OPEN = {"/oauth2/jwks", *FOR_BROWSERS}


async def test_what_is_under_the_api_needs_a_token_except_to_get_one(document):
    for verb, path, operation in operations(document):
        security = operation.get("security", document.get("security"))
        open_to_all = path.startswith(("/api/v1/auth/", "/health/", "/.well-known/")) or path in OPEN
        assert (security in ([], [{}])) == open_to_all, f"{verb} {path}"
        assert open_to_all or "401" in operation["responses"], f"{verb} {path}"


async def test_a_body_is_required_exactly_where_leaving_it_out_is_refused(api, document):
    for verb, path, operation in operations(document):
        body = operation.get("requestBody")
        if body is None or "{" in path:
            continue
        options = {"headers": {"If-Match": "*"}, "by": ADMIN}
        answer = await api.call(verb.upper(), path, **options)
        assert (answer.status_code == 400) == body.get("required", False), f"{verb} {path}: {answer.status_code}"


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.ids, self.open = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in {"meta", "link", "br", "img", "input", "hr"}:
            self.open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in {"href", "src", "action", "srcset", "data"}:
                self.links.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


async def test_the_page_names_every_operation_and_loads_nothing(api, document):
    answer = await api.call("GET", "/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    reader = read(answer.text)
    assert not set(reader.tags) & {"script", "iframe", "object", "embed", "link", "img", "form", "base"}
    assert all(link.startswith(("#", "/")) and not link.startswith("//") for link in reader.links)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert not re.search(r"https?://|@import|url\(", answer.text)
    for verb, path, operation in operations(document):
        assert f'<span class="verb">{verb.upper()}</span><code>{path}</code>' in answer.text
        assert operation["summary"].replace("'", "&#x27;") in answer.text


def test_nothing_in_the_description_can_break_out_of_the_page():
    evil = "<script>alert(1)</script>\"'&"
    operation = {
        "tags": [evil], "summary": evil, "description": evil,
        "parameters": [{"name": evil, "in": evil, "description": evil}],
        "requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {
            evil: {"type": ["null", "string"]},
            "more": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/S"}]},
        }}}}},
        "responses": {evil: {"description": evil}},
    }  # fmt: skip
    schemas = {"S": {"type": "array", "items": {"$ref": "#/components/schemas/S"}}}
    api = {
        "info": {"title": evil, "version": evil, "description": evil},
        "paths": {f"/{evil}": {"post": operation}},
        "components": {"schemas": schemas},
    }
    text = page(api)
    assert "<script" not in text
    assert "script" not in set(read(text).tags)
    assert json.dumps(evil)[1:8] not in text


async def test_the_page_shows_how_an_application_asks_for_a_token(api):
    shown = (await api.call("GET", "/docs")).text
    token = shown[shown.index("<code>/oauth2/token</code>") :].partition("</details>")[0]
    for part in ("-u &quot;$CLIENT_ID:$CLIENT_SECRET&quot;", "-d &#x27;grant_type=", "<code>code_verifier</code>"):
        assert part in token
    assert "Bearer" not in token
    userinfo = shown[shown.index("<code>/oauth2/userinfo</code>") :].partition("</details>")[0]
    assert "Authorization: Bearer $TOKEN" in userinfo


async def test_the_document_says_how_clients_and_people_prove_themselves(document):
    schemes = {name: scheme["scheme"] for name, scheme in document["components"]["securitySchemes"].items()}
    assert schemes == {"bearer": "bearer", "client": "basic"}
    for path in ("token", "introspect", "revoke"):
        operation = document["paths"][f"/oauth2/{path}"]["post"]
        assert operation["security"] == [{"client": []}, {}]
        assert list(operation["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    assert document["paths"]["/oauth2/userinfo"]["get"]["security"] == [{"bearer": []}]


async def test_whoever_comes_with_a_browser_is_led_to_the_page(api):
    answer = await api.call("GET", "/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/docs")
