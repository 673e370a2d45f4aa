"""What was wrong in the baseline over HTTP, and cannot happen here: PARITY R05, R12, R17."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from application.installation import PrepareInstallation
from contracts.postgres_cluster import start_cluster
from entrypoints.http.app import create_app
from entrypoints.settings import load
from entrypoints.wiring.container import wire
from entrypoints.wiring.footing import Place
from http_world import ADMIN, PASSWORD, Api, running
from wired import MASTER_KEY

USERS = "/api/v1/users"
SECRET = "hunter2 and some more words"
INNER = (
    "INSERT",
    "SELECT",
    "uq_users",
    "users_email",
    "IntegrityError",
    "asyncpg",
    "DETAIL",
    "$argon2",
    "Traceback",
    ".py",
)


def tells_nothing(answer, *sent):
    assert answer.headers["content-type"] == "application/problem+json"
    for text in (*INNER, *sent):
        assert text not in answer.text, text


# ---------------------------------------------------------------------------------------------------------- R05: echoes


@pytest.fixture
async def api_on_postgres(clock):
    """The application on a database of its own, with one administrator, signed in."""
    cluster = start_cluster(18)
    name = await cluster.create_database()
    settings = load({"HEXWARD_HASHING_THREADS": "2"}, Path.cwd())
    container = wire(settings, Place(cluster.service_url(name), MASTER_KEY))
    await (await container.get(PrepareInstallation))(ADMIN, PASSWORD, generate=True)
    app = create_app(container, settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        world = Api(client, None, clock, container)
        await world.login(ADMIN)
        yield world
    await cluster.drop_database(name)


@pytest.mark.postgres
async def test_R05_of_many_creates_at_once_one_wins_and_the_rest_learn_nothing_but_that(api_on_postgres):
    api = api_on_postgres
    for name, code in (("email", "email_taken"), ("username", "username_taken")):
        bodies = [{"email": f"{name}{n}@example.org", "username": f"{name}{n}", "password": SECRET} for n in range(6)]
        for n, body in enumerate(bodies):
            body[name] = (
                "Racer@example.org" if name == "email" and n % 2 else f"racer{'@example.org' * (name == 'email')}"
            )
        answers = await asyncio.gather(*(api.call("POST", USERS, by=ADMIN, json=body) for body in bodies))
        assert sorted(a.status_code for a in answers) == [201] + [409] * 5
        for answer in answers:
            if answer.status_code == 409:
                tells_nothing(answer, SECRET, "acer")
                assert answer.json()["code"] == code
                assert answer.json().keys() <= {"type", "title", "status", "code", "detail", "correlation_id"}
            assert SECRET not in answer.text
            assert "$argon2" not in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (USERS, {"email": "no address", "password": SECRET}),
        (USERS, {"email": "zoe@example.org", "password": SECRET, "is_superuser": SECRET}),
        (USERS, {"email": "zoe@example.org", "password": [SECRET]}),
        (USERS, {"email": "zoe@example.org", "password": SECRET * 100}),
        (USERS, {"email": "zoe@example.org", "password": SECRET, "username": f"{SECRET}"}),
        (USERS, {"password": SECRET}),
        (USERS, SECRET),
        (f"{USERS}/{{me}}/password", {"password": {"value": SECRET}}),
        (f"{USERS}/{{me}}/password", {"password": "hunter2", "hunter2": "hunter2"}),
        ("/api/v1/auth/login", {"email": 5, "password": SECRET}),
        ("/api/v1/auth/login", {"email": "zoe@example.org", "password": SECRET, "otp": SECRET}),
        ("/api/v1/auth/refresh", {"refresh_token": [SECRET]}),
    ],
)
async def test_R05_what_does_not_fit_is_refused_and_never_echoed(api, path, body):
    me = (await api.call("GET", "/api/v1/me", by=ADMIN)).json()["id"]
    answer = await api.call("POST", path.replace("{me}", me), by=ADMIN, json=body)
    assert answer.status_code == 422, answer.text
    tells_nothing(answer, "hunter2", "no address", "superuser", "otp")
    torn = json.dumps(body).encode()[:-1]
    headers = {"Content-Type": "application/json"}
    answer = await api.call("POST", path.replace("{me}", me), by=ADMIN, content=torn, headers=headers)
    assert answer.status_code in {400, 422}
    tells_nothing(answer, "hunter2", "no address", "superuser", "otp")


# --------------------------------------------------------------------------------------------------------- R12: changes


async def test_R12_a_patch_changes_what_it_names_null_clears_and_the_last_writer_has_to_look_first(api):
    user = await api.a_user("zoe@example.org", username="zoe", display_name="Zoë", locale="fr")
    path = f"{USERS}/{user['id']}"

    async def patch(tag, **body):
        return await api.call("PATCH", path, by=ADMIN, json=body, headers={"If-Match": tag})

    first = await patch('"1"', display_name=None, locale=None)
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    changed = first.json()
    assert (changed["display_name"], changed["locale"], changed["username"]) == (None, None, "zoe")
    assert (await patch('"1"', username="other")).status_code == 412
    assert (await api.call("PATCH", path, by=ADMIN, json={"username": "other"})).status_code == 428
    shown = await api.call("GET", path, by=ADMIN)
    assert (shown.json()["username"], shown.headers["etag"]) == ("zoe", '"2"')
    assert (await patch('"2"', username=None)).json()["username"] is None
    assert (await api.call("PUT", path, by=ADMIN, json={"display_name": "Zoë"})).status_code == 405
    [email] = (await patch('"3"', email=None)).json()["errors"]
    assert (email["pointer"], email["code"]) == ("/email", "email_required")


async def test_R12_of_two_who_change_what_both_have_read_one_is_told(api):
    user = await api.a_user("zoe@example.org")
    headers = {"If-Match": '"1"'}
    answers = await asyncio.gather(
        *(
            api.call("PATCH", f"{USERS}/{user['id']}", by=ADMIN, json={"display_name": f"By {n}"}, headers=headers)
            for n in range(5)
        )
    )
    assert sorted(a.status_code for a in answers) == [200] + [412] * 4
    [won] = [a.json()["display_name"] for a in answers if a.status_code == 200]
    assert (await api.call("GET", f"{USERS}/{user['id']}", by=ADMIN)).json()["display_name"] == won


# ----------------------------------------------------------------------------------------------------------- R17: lists


@pytest.mark.postgres
async def test_R17_patterns_in_a_search_mean_themselves(api_on_postgres):
    api = api_on_postgres
    for name in ("100% sure", "1000 sure", "under_score", "underXscore", "back\\slash"):
        await api.a_user(f"{name.encode().hex()}@example.org", display_name=name)

    async def found(q):
        answer = await api.call("GET", USERS, by=ADMIN, params={"q": q})
        return {user["display_name"] for user in answer.json()["items"]}

    assert await found("100%") == {"100% sure"}
    assert await found("under_") == {"under_score"}
    assert await found("back\\") == {"back\\slash"}
    assert await found("%") == await found("_") == await found("*") == set()


async def test_R17_a_list_is_the_same_with_a_slash_and_sorted_by_what_is_meant_for_it_only(api):
    await api.a_user("zoe@example.org")
    for query in ("", "?q=zoe", "?sort=email&order=desc"):
        plain, slashed = [await api.call("GET", f"{USERS}{slash}{query}", by=ADMIN) for slash in ("", "/")]
        assert (plain.status_code, plain.content) == (200, slashed.content)
    for sort in (
        "password",
        "password_hash",
        "hash",
        "version",
        "id",
        "email,password",
        "email desc",
        "-email",
        "1",
        "",
    ):
        answer = await api.call("GET", USERS, by=ADMIN, params={"sort": sort})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), sort
    described = (await api.call("GET", "/openapi.json")).json()["components"]["schemas"]["UserSort"]
    assert set(described["enum"]) == {"created_at", "email"}
