"""The command beside a running server: the users, roles, keys and events that the API shows, and its rules."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest
from click.testing import CliRunner

from entrypoints.cli.main import root
from journeys.server_process import ADMIN, HEXWARD, a_server, environment, run

pytestmark = [pytest.mark.server, pytest.mark.postgres]

PASSWORD = "correct horse 電池 staple"


@pytest.fixture(scope="module")
def server():
    with a_server() as server:
        yield server


@pytest.fixture(scope="module")
def settings(server):
    return {"HEXWARD_DATA_DIR": str(server.data_dir), "HEXWARD_PORT": str(server.port)}


@pytest.fixture(scope="module")
def hexward(settings):
    """Runs a command in this process; a process of its own costs most of a second."""

    def call(*arguments, **options):
        return CliRunner(env=settings).invoke(root, arguments, prog_name="hexward", **options)

    return call


@pytest.fixture(scope="module")
def told(hexward):
    """What a command answers to machines."""

    def call(*arguments, **options):
        done = hexward(*arguments, "--json", **options)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="module")
def refused(hexward):
    """With what code a command is refused."""

    def call(*arguments, **options):
        done = hexward(*arguments, "--json", **options)
        assert done.exit_code == 1, done.output
        assert done.stdout == ""
        return json.loads(done.stderr)["code"]

    return call


@pytest.fixture(scope="module")
def people(told):
    """A manager with a name that is not ASCII, and somebody invited."""
    li = ("li@example.org", "--username", "bruce", "--display-name", "李小龍", "--locale", "zh-Hant")
    return {
        "li": told("users", "create", *li, "--role", "manager", "--password-stdin", input=f"{PASSWORD}\n"),
        "zoe": told("users", "create", "zoe@example.org", "--display-name", "Zoë", "--no-password"),
    }


@pytest.fixture(scope="module")
def api(server):
    """Asks the REST API, as the administrator."""
    with server.client() as client:
        headers = server.login(client)
        yield lambda path: client.get(f"/api/v1{path}", headers=headers).raise_for_status().json()


def test_a_user_is_shown_as_the_api_shows_it(people, told, api):
    assert people["li"] == told("users", "show", "bruce") == api(f"/users/{people['li']['id']}")
    assert people["li"]["display_name"] == "李小龍"
    assert people["li"]["roles"] == ["manager"]
    assert people["zoe"]["status"] == "invited"


@pytest.mark.parametrize("name", ["li@example.org", "LI@Example.org", "bruce", "id"])
def test_a_user_has_several_names(people, told, name):
    assert told("users", "show", people["li"]["id"] if name == "id" else name) == people["li"]


def test_an_unknown_user_is_named_in_the_refusal(hexward):
    done = hexward("users", "show", "nobody")
    assert (done.exit_code, done.stderr) == (1, "error: there is no user nobody\n")


def test_lists_are_those_of_the_api_and_either_goes_on_where_the_other_ended(people, told, api):
    for command, path in (
        (("users", "list"), "/users"),
        (("users", "list", "--sort", "email", "--order", "desc"), "/users?sort=email&order=desc"),
        (("roles", "grants"), "/grants"),
        (("roles", "list"), "/roles"),
        (("keys", "list"), "/keys"),
    ):
        assert told(*command) == api(path)
    first = told("users", "list", "--limit", "1")
    assert len(first["items"]) == 1
    assert first == api("/users?limit=1")
    rest = told("users", "list", "--cursor", first["next_cursor"], "--all")
    assert first["items"] + rest["items"] == api("/users")["items"]
    assert rest["next_cursor"] is None


def test_a_list_for_people_is_aligned_and_says_that_it_goes_on(people, hexward):
    shown = hexward("users", "list", "--q", "li").stdout.splitlines()
    assert re.search(r"^E-MAIL +NAME +USERNAME", shown[0])
    assert re.search(r"^li@example\.org +李小龍  bruce +active  manager", shown[1])
    assert "the first 1; --limit or --all" in hexward("users", "list", "--limit", "1").stderr


def test_a_cursor_of_another_list_is_refused(people, refused, told):
    cursor = told("users", "list", "--limit", "1")["next_cursor"]
    assert refused("users", "list", "--sort", "email", "--cursor", cursor) == "invalid"


@pytest.mark.parametrize("name", ["li@example.org", "bruce", "id"])
def test_as_somebody_only_their_rights_count(people, refused, told, name):
    li = people["li"]["id"] if name == "id" else name
    assert len(told("--as", li, "users", "list")["items"]) >= 3
    assert refused("--as", li, "users", "suspend", ADMIN) == "forbidden"
    assert refused("users", "set-password", ADMIN, "--as", li, "--password-stdin", input=PASSWORD) == "forbidden"
    assert refused("--as", li, "roles", "grant", "zoe@example.org", "admin") == "forbidden"
    assert refused("--as", li, "keys", "list") == "forbidden"


def test_nobody_can_be_named_with_as_who_is_not_there(refused):
    assert refused("--as", "nobody", "users", "list") == "not_found"
    assert refused("--as", "01a20bb0-cc47-7278-9f88-4cfbbfa47586", "users", "list") == "not_found"


def test_the_last_administrator_stays_also_for_the_operator(refused):
    assert refused("users", "suspend", ADMIN) == "last_administrator"
    assert refused("users", "delete", ADMIN, "--yes") == "last_administrator"
    assert refused("roles", "revoke", ADMIN, "admin", "--yes") == "last_administrator"


def test_a_password_comes_from_a_file_and_works_at_once(people, hexward, server, tmp_path):
    file = tmp_path / "password"
    file.write_text("short\n")
    file.chmod(0o644)
    weak = hexward("users", "set-password", "zoe@example.org", "--password-file", str(file))
    assert weak.exit_code == 1
    assert "error: password:" in weak.stderr
    assert "chmod o-r" in weak.stderr
    file.write_text("another fine pass phrase\n")
    file.chmod(0o600)
    done = hexward("users", "set-password", "zoe@example.org", "--password-file", str(file))
    assert (done.exit_code, done.stderr) == (0, "")
    with server.client() as client:
        server.login(client, "zoe@example.org", "another fine pass phrase")


def test_a_password_is_asked_for_twice_and_never_shown(people, settings):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [HEXWARD, "users", "set-password", "zoe@example.org"],
        env=environment(**settings),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    for prompt in (b"New password", b"And again"):
        while prompt not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, b"yet another fine phrase\n")
    with contextlib.suppress(OSError):  # the other end is closed
        while more := os.read(ours, 1024):
            seen += more
    os.close(ours)
    assert process.wait(10) == 0
    assert b"zoe@example.org has a new password" in seen
    assert b"fine phrase" not in seen


def test_a_suspended_user_is_shut_out_until_reactivated(people, told, refused, server):
    told("users", "create", "kim@example.org", "--password-stdin", input=PASSWORD)
    with server.client() as client:
        headers = server.login(client, "kim@example.org", PASSWORD)
        assert told("users", "suspend", "kim@example.org")["status"] == "suspended"
        deadline = time.monotonic() + 5  # the change feed brings it to the worker
        while client.get("/api/v1/me", headers=headers).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert refused("users", "suspend", "kim@example.org") == "user_status"
        assert told("users", "reactivate", "kim@example.org")["status"] == "active"
        server.login(client, "kim@example.org", PASSWORD)


def test_the_sessions_of_a_user_are_those_of_the_api_and_end_for_good(people, told, hexward, refused, server):
    told("users", "create", "ada@example.org", "--password-stdin", input=PASSWORD)
    with server.client() as client:
        headers = server.login(client, "ada@example.org", PASSWORD)
        shown = client.get("/api/v1/me/sessions", headers=headers).json()
        assert shown["items"][0].pop("current") is True
        listed = told("users", "sessions", "ada@example.org")
        assert listed["items"][0].pop("current") is False  # the command is signed in nowhere
        assert listed == shown
        assert shown["items"][0]["id"] in hexward("users", "sessions", "ada@example.org").stdout
        assert refused("--as", "bruce", "users", "sessions", "ada@example.org") == "forbidden"
        assert refused("--as", "bruce", "users", "end-sessions", "ada@example.org") == "forbidden"
        ended = hexward("users", "end-sessions", "ada@example.org")
        assert ended.stdout == "ada@example.org is signed out everywhere; 1 session ended.\n"
        deadline = time.monotonic() + 5  # the change feed brings it to the worker
        while client.get("/api/v1/me", headers=headers).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert told("users", "sessions", "ada@example.org") == {"items": [], "next_cursor": None}
        server.login(client, "ada@example.org", PASSWORD)


def test_a_deleted_user_is_gone_and_their_trail_stays(people, told, hexward, refused):
    made = told("users", "create", "max@example.org", "--no-password")
    assert hexward("users", "delete", "max@example.org").exit_code == 2
    assert hexward("users", "delete", "max@example.org", "--yes").stdout == "Deleted max@example.org.\n"
    assert refused("users", "show", "max@example.org") == "not_found"
    actions = [event["action"] for event in told("audit", "list", "--subject", made["id"])["items"]]
    assert actions == ["user.deleted", "user.created"]


def test_a_role_is_defined_given_for_a_time_and_taken_away(people, told, hexward, refused, api):
    described = ("--permission", "reports:read", "--parent", "user", "--description", "Liest Berichte")
    role = told("roles", "create", "reader", *described)
    assert role == told("roles", "show", "reader") == api("/roles/reader")
    assert refused("roles", "create", "reader") == "role_exists"
    assert refused("roles", "create", "other", "--permission", "Not One") == "invalid"
    grant = told("roles", "grant", "bruce", "reader", "--scope", "org/acme", "--expires", "30d")
    assert grant == api(f"/grants/{grant['id']}")
    again = told("roles", "grant", "bruce", "reader", "--scope", "org/acme", "--expires", "2100-01-01T00:00:00Z")
    assert again["id"] == grant["id"]
    assert again["expires_at"] == "2100-01-01T00:00:00Z"
    listed = hexward("roles", "grants", "--user", "bruce", "--role", "reader").stdout.splitlines()
    assert re.search(r"^li@example\.org +reader +org/acme +- +2100-01-01 00:00:00Z", listed[1])
    assert refused("roles", "delete", "reader", "--yes") == "role_in_use"
    taken = hexward("roles", "revoke", "bruce", "reader", "--scope", "org/acme", "--yes")
    assert "does not hold reader at org/acme any more" in taken.stdout
    assert hexward("roles", "delete", "reader", "--yes").exit_code == 0
    assert refused("roles", "show", "reader") == "not_found"


def test_an_application_is_registered_changed_and_removed_as_the_api_shows_it(people, told, hexward, refused, api):
    given = ("--redirect-uri", "https://shop.example.org/cb", "--scope", "openid", "--scope", "shop:read")
    made = told("clients", "create", "Zoë’s 店", *given, "--grant", "authorization_code", "--grant", "refresh_token")
    secret = made.pop("client_secret")
    assert re.fullmatch(r"hws_[A-Za-z0-9_-]{43}", secret)
    assert made.pop("client_secret_expires_at") == 0
    id = made["client_id"]
    assert made == told("clients", "show", id) == api(f"/clients/{id}")
    assert (made["scope"], made["access_token_lifetime"]) == ("openid shop:read", 300)
    assert told("clients", "list", "--q", "ZOË") == api("/clients?q=zo%C3%AB") == {"items": [made], "next_cursor": None}
    changed = told("clients", "update", id, "--name", "Shop", "--access-lifetime", "10m", "--clear", "scope")
    assert (changed["client_name"], changed["access_token_lifetime"]) == ("Shop", 600)
    assert (changed["scope"], changed["redirect_uris"]) == ("openid profile email", made["redirect_uris"])
    rotated = told("clients", "rotate-secret", id, "--overlap", "0")
    assert rotated["client_secret"] != secret
    assert len(rotated["secrets"]) == 1
    assert [told("clients", done, id)["enabled"] for done in ("disable", "enable")] == [False, True]
    assert refused("clients", "update", id, "--redirect-uri", "http://shop.example.org/cb") == "invalid"
    assert refused("clients", "disable", "hexward-api") == "client_built_in"
    assert refused("clients", "create", "Strong", *given, "--trusted", "--as", "li@example.org") == "forbidden"
    assert hexward("clients", "delete", id, "--yes").stdout == f"Deleted the application {id}.\n"
    assert refused("clients", "show", id) == "not_found"
    events = told("audit", "list", "--action", "client.secret_rotated", "--limit", "1")["items"]
    assert [(e["subject"], e["details"]["overlap_seconds"]) for e in events] == [(f"client:{id}", 0)]


def test_an_application_proves_itself_by_keys_from_a_file_and_people_are_told_to_keep_a_secret(hexward, told, tmp_path):
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"kty": "EC", "crv": "P-256", "x": "AQ", "y": "Ag"}]}')
    machine = ("--grant", "client_credentials", "--audience", "urn:x")
    keyed = ("--auth-method", "private_key_jwt", "--jwks-file")
    for source, options in ((str(file), {}), ("-", {"input": file.read_text()})):
        made = told("clients", "create", "Gateway", *machine, *keyed, source, **options)
        assert made["jwks"]["keys"][0]["crv"] == "P-256"
        assert "client_secret" not in made
    shown = hexward("clients", "create", "Reports", *machine).stdout
    assert shown.startswith("Registered Reports.\n")
    assert re.search(r"\nSecret  hws_\S{43}\nKeep it now: .* never shown again.\n$", shown)
    assert "hws_" not in hexward("clients", "list").stdout


def test_what_is_shown_to_people_says_what_was_done(people, hexward):
    shown = hexward("roles", "create", "shown", "--permission", "a:b").stdout
    assert shown.startswith("Created the role shown.\n")
    assert re.search(r"^Permissions +a:b$", shown, re.MULTILINE)
    granted = hexward("roles", "grant", "bruce", "user", "--starts", "1h").stdout
    assert granted == "bruce holds user everywhere without an end.\n"
    assert re.search(r"^Name +李小龍$", hexward("users", "show", "bruce").stdout, re.MULTILINE)
    assert re.search(r"^admin +\*:\* +- +yes", hexward("roles", "list").stdout, re.MULTILINE)


def test_keys_are_rotated_and_revoked(people, told, hexward, refused):
    fresh = told("keys", "rotate", "--algorithm", "EdDSA")
    assert (fresh["algorithm"], fresh["state"]) == ("EdDSA", "next")
    assert refused("keys", "rotate") == "key_rotation_pending"
    assert refused("keys", "rotate", "--use", "refresh", "--algorithm", "none") == "invalid"
    assert "takes over at" in hexward("keys", "rotate", "--use", "refresh").stdout
    assert told("keys", "revoke", fresh["id"], "--yes")["state"] == "revoked"
    assert f"Key {fresh['id']} is revoked." in hexward("keys", "revoke", fresh["id"], "--yes").stdout
    assert refused("keys", "revoke", "unknown", "--yes") == "not_found"
    assert re.search(rf"^{fresh['id']} +sign +EdDSA +revoked", hexward("keys", "list").stdout, re.MULTILINE)


def test_the_trail_says_who_did_it_and_as_whom(people, told, hexward):
    told("--as", "bruce", "users", "create", "trail@example.org", "--no-password")
    event = told("audit", "list", "--subject", "trail@example.org", "--action", "user.created")["items"][0]
    assert event["actor"].startswith("operator:")
    assert event["details"]["as_user"] == people["li"]["id"]
    assert event["door"] == "command"
    assert event in told("audit", "list", "--actor", event["actor"], "--since", "1h", "--all")["items"]
    assert told("audit", "list", "--subject", "trail@example.org", "--until", "1h")["items"] == []
    assert told("audit", "list", "--actor", "anonymous", "--correlation-id", "x")["items"] == []
    shown = hexward("audit", "list", "--subject", "trail@example.org").stdout
    assert re.search(r"operator:\S+ +user\.created +user:\S+ +success +command", shown)


def test_an_unknown_action_is_refused_with_those_there_are(hexward):
    done = hexward("audit", "list", "--action", "user.vanished")
    assert done.exit_code == 1
    assert "user.suspended" in done.stderr


def test_the_doctor_finds_nothing_wrong(told, hexward):
    report = told("doctor")
    assert {check["level"] for check in report["checks"]} <= {"ok", "warning"}
    levels = {check["check"]: check["level"] for check in report["checks"]}
    assert levels["server"] == levels["schema"] == levels["audit trail"] == levels["keys"] == "ok"
    assert levels["sign key"] == levels["refresh key"] == levels["master key"] == "ok"
    assert hexward("doctor").exit_code == 0


def test_the_database_is_up_to_date_after_a_start(told):
    done = told("db", "upgrade")
    assert (done["from"], done["changed"]) == (done["to"], False)
    assert told("db", "check") == {"revision": done["to"], "problems": []}


def test_upkeep_is_done_to_the_end_and_the_doctor_says_when(told, hexward):
    done = told("db", "upkeep")
    assert done["removed"].keys() >= {"sign_in_failures", "sessions", "changes"}
    assert not done["backlog"]
    assert re.fullmatch(r"Removed .+ in \d+\.\d s\.\n", hexward("db", "upkeep").stdout)
    [found] = [check for check in told("doctor")["checks"] if check["check"] == "upkeep"]
    assert found["level"] == "ok"
    assert found["message"].startswith("last done at ")


def test_a_real_process_prints_json_and_ends_with_the_right_status(settings):
    env = environment(**settings, PYTHONIOENCODING="ascii")
    listed = run(["users", "list", "--json"], env)
    assert listed.returncode == 0
    assert ADMIN in [user["email"] for user in json.loads(listed.stdout)["items"]]
    gone = run(["users", "show", "nobody"], env)
    assert (gone.returncode, gone.stdout, gone.stderr) == (1, "", "error: there is no user nobody\n")
    wrong = run(["users", "show"], env)
    assert wrong.returncode == 2
    assert "Missing argument" in wrong.stderr


def test_an_interrupted_command_says_nothing(settings):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [HEXWARD, "users", "set-password", "zoe@example.org"],
        env=environment(**settings),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while b"New password" not in seen:
        seen += os.read(ours, 1024)
    for _ in range(10):  # one that arrives just before Python begins to read is noticed after reading, by the next
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
            break
    assert process.returncode == 130
    os.close(ours)
    assert b"Traceback" not in seen
