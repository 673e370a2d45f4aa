"""What the command says by itself: help, usage errors, completion, and how it prints. No database is touched."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from domain.errors import DomainError, Invalid
from domain.keys import KeyUse
from domain.upkeep import Upkept
from entrypoints.cli import checks
from entrypoints.cli.checks import Level
from entrypoints.cli.clients import Duration
from entrypoints.cli.desk import is_id
from entrypoints.cli.frame import Command, confirm, visible
from entrypoints.cli.kinds import Moment
from entrypoints.cli.main import COMMANDS, root
from entrypoints.cli.output import put_table
from entrypoints.cli.reference import reference_page
from entrypoints.cli.serve import as_data, as_text
from entrypoints.http.pages.cookies import Jar
from entrypoints.settings import load
from entrypoints.wiring.footing import ServerFacts

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def run(*arguments, **options):
    return CliRunner().invoke(root, [*arguments], prog_name="hexward", **options)


def all_commands(command=root, path=("hexward",)):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            yield from all_commands(command.get_command(context, name), (*path, name))


ALL = dict(all_commands())
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help(path):
    shown = run(*path[1:], "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: {' '.join(path)}")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_example_in_the_help_is_of_its_command(path):
    assert LEAVES[path].examples
    assert all(" ".join(path) in example for example in LEAVES[path].examples)
    assert all(example in run(*path[1:], "--help").output for example in LEAVES[path].examples)


def test_the_list_of_commands_says_what_each_of_them_says_itself():
    own = {path[1]: command.help.split("\n")[0] for path, command in ALL.items() if len(path) == 2}
    assert own == COMMANDS


def test_no_secret_can_be_given_as_an_argument():
    sources = {"--no-password", "--password-stdin", "--password-file"}
    named = {
        name: parameter
        for command in LEAVES.values()
        for parameter in command.params
        for name in (*parameter.opts, parameter.human_readable_name)
        if any(word in name.lower() for word in ("password", "secret", "token")) and name.startswith("-")
    }
    assert named.keys() == sources
    assert named["--no-password"].is_flag
    assert named["--password-stdin"].is_flag
    assert isinstance(named["--password-file"].type, click.Path)


@pytest.mark.parametrize(
    ("arguments", "completed"),
    [([], []), (["--help"], []), (["users", "--help"], []), ([""], ["users"]), (["users", ""], ["set-password"])],
)
def test_help_and_completion_import_nothing_slow(arguments, completed):
    script = f"""
import atexit, sys
def look():
    slow = {{"sqlalchemy", "litestar", "dishka", "asyncpg", "granian", "rich", "msgspec"}} & sys.modules.keys()
    if slow: print("SLOW", slow)
atexit.register(look)
sys.argv = ["hexward", *{arguments if not completed else []!r}]
from entrypoints.cli.main import main
main()
"""
    words = " ".join(["hexward", *arguments])
    completing = {"_HEXWARD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(arguments))}
    process = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **(completing if completed else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SLOW" not in process.stdout
    assert all(f"plain,{word}" in process.stdout for word in completed)


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_completion_is_printed_for_each_shell(shell):
    shown = run("completion", shell)
    assert shown.exit_code == 0
    assert f"_HEXWARD_COMPLETE={shell}_complete" in shown.output


def test_the_version_is_that_of_the_package():
    assert run("--version").output.startswith("hexward ")


def test_the_reference_page_is_what_the_commands_say():
    page = (ROOT / "docs/reference/commands.md").read_text()
    assert page == reference_page(), "out of date: python -m entrypoints.cli.reference > docs/reference/commands.md"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["users", "create"], "Missing argument 'EMAIL'"),
        (["users", "create", "a@b.example"], "--password-stdin or --password-file, or --no-password"),
        (["users", "create", "a@b.example", "--no-password", "--password-stdin"], "excludes"),
        (["users", "set-password", "a@b.example", "--password-file", "/nowhere"], "does not exist"),
        (["users", "delete", "a@b.example"], "add --yes"),
        (["users", "list", "--limit", "0"], "0 is not in the range"),
        (["users", "list", "--sort", "password"], "'password' is not one of"),
        (["roles", "delete", "lead"], "add --yes"),
        (["roles", "revoke", "zoe", "lead"], "add --yes"),
        (["roles", "grant", "zoe", "lead", "--expires", "soon"], "30d"),
        (["roles", "grant", "zoe", "lead", "--expires", "2030-01-01"], "with its zone"),
        (["clients", "create"], "Missing argument 'NAME'"),
        (["clients", "create", "Shop", "--grant", "password"], "'password' is not one of"),
        (["clients", "create", "Shop", "--access-lifetime", "5 minutes"], "5m"),
        (["clients", "create", "Shop", "--jwks-file", "/nowhere"], "No such file"),
        (["clients", "create", "Shop", "--jwks-file", "/proc/version"], "one JSON object"),
        (["clients", "update", "abc"], "say what is to be changed"),
        (["clients", "update", "abc", "--auth-method", "none"], "'none' is not one of"),
        (["clients", "update", "abc", "--clear", "scope", "--scope", "openid"], "exclude each other"),
        (["clients", "update", "abc", "--clear", "client_name"], "'client_name' is not one of"),
        (["clients", "rotate-secret", "abc", "--overlap", "-1"], "such as 90s"),
        (["clients", "delete", "abc"], "add --yes"),
        (["keys", "revoke", "abc"], "add --yes"),
        (["serve", "--port", "0"], "0 is not in the range"),
        (["--as", "zoe", "config", "show"], "--as makes no difference"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_would_be_right(arguments, said):
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert said in refused.output


@pytest.mark.parametrize(
    ("given", "said"), [("", "is empty"), ("\n", "is empty"), ("x" * 5000, "4096"), (b"\xff\n", "not UTF-8")]
)
def test_what_cannot_be_a_password_is_not_taken_from_standard_input(given, said):
    refused = run("users", "set-password", "zoe", "--password-stdin", input=given)
    assert refused.exit_code == 2
    assert said in refused.output


def test_two_sources_of_a_password_are_one_too_many(tmp_path):
    file = tmp_path / "password"
    file.touch()
    refused = run("users", "set-password", "zoe", "--password-stdin", "--password-file", str(file))
    assert refused.exit_code == 2
    assert "exclude each other" in refused.output


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31T12:00:00+02:00", datetime(2030, 1, 31, 10, tzinfo=UTC)),
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("2w", timedelta(weeks=2)),
    ],
)
@pytest.mark.parametrize(("side", "sign"), [("before", -1), ("after", 1)])
def test_a_moment_is_a_time_or_a_distance(text, moment, side, sign):
    read = Moment(side).convert(text, None, None)
    expected = moment if isinstance(moment, datetime) else datetime.now(UTC) + sign * moment
    assert abs(read - expected) < timedelta(seconds=30)


@pytest.mark.parametrize("text", ["", "d", "-3d", "3y", "999999999w", "yesterday", "2030-01-31T12:00:00"])
def test_anything_else_is_no_moment(text):
    with pytest.raises(click.BadParameter):
        Moment("after").convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000), ("2w", 1_209_600), (60, 60)],
)
def test_a_duration_is_so_many_seconds(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "5m\n", "1y", "٥m", "9999999999s"])
def test_anything_else_is_no_duration(text):
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_only_what_hexward_writes_as_an_id_is_one():
    assert is_id("01a20bb0-cc47-7278-9f88-4cfbbfa47586")
    assert is_id("01A20BB0-CC47-7278-9F88-4CFBBFA47586")
    assert not is_id("01a20bb0cc4772789f884cfbbfa47586")
    assert not is_id("zoe@example.org")


def test_columns_are_aligned_in_any_script(capsys):
    put_table(("NAME", "STATUS"), [("李小龍", "active"), ("Zoë", None), (None, "x")])
    assert capsys.readouterr().out == "NAME    STATUS\n李小龍  active\nZoë     -\n-       x\n"


def test_rows_are_not_broken_when_they_go_into_a_file(capsys):
    put_table(("A", "B"), [("a" * 300, "[bold]b[/bold]")])
    assert capsys.readouterr().out.splitlines()[1] == f"{'a' * 300}  [bold]b[/bold]"


def test_nothing_stored_can_command_the_terminal():
    assert visible("\x1b[31mred\x07 \u202eabc") == r"\x1b[31mred\x07 \u202eabc"
    assert visible("می‌خواهم\nZoë") == "می‌خواهم\nZoë"


def refusing(error):
    @click.command(cls=Command, examples=("x",))
    def refuse():
        raise error

    return refuse


def test_a_refusal_is_one_sentence_and_what_is_wrong_where():
    refused = CliRunner().invoke(refusing(DomainError("no \x1b such thing")))
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", "error: no \\x1b such thing\n")
    refused = CliRunner().invoke(refusing(Invalid.field("/email", "not an address")))
    assert refused.stderr == "error: email: not an address\n"
    refused = CliRunner().invoke(refusing(Invalid("no", fields=Invalid.field("/a", "b").fields)))
    assert refused.stderr == "error: no\n  a: b\n"


def test_a_refusal_can_be_read_by_machines():
    refused = CliRunner().invoke(refusing(Invalid.field("/name", "zu kurz für Zoë", code="short")), ["--json"])
    assert refused.stdout == ""
    field = '{"pointer": "/name", "code": "short", "message": "zu kurz für Zoë"}'
    assert refused.stderr == f'{{"code": "invalid", "message": "zu kurz für Zoë", "errors": [{field}]}}\n'


def test_a_file_that_cannot_be_used_is_named():
    refused = CliRunner().invoke(refusing(PermissionError(13, "Permission denied", "/srv/data")))
    assert (refused.exit_code, refused.stderr) == (1, "error: /srv/data: Permission denied\n")


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("n", False), ("", False)])
def test_what_cannot_be_undone_is_asked_first(monkeypatch, answer, goes_on):
    done = []

    @click.command()
    def remove():
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        confirm("Remove it?", yes=False)
        done.append(True)

    asked = CliRunner().invoke(remove, input=f"{answer}\n")
    assert bool(done) is goes_on
    assert asked.exit_code == (0 if goes_on else 1)
    assert ("Nothing was changed." in asked.stderr) is not goes_on


def a_ground(first_url="", **environ):
    settings = load({"HEXWARD_DATA_DIR": "/srv/data", **environ}, Path("/"))
    return SimpleNamespace(settings=settings, place=SimpleNamespace(database_url=first_url))


def test_the_summary_of_a_first_start_shows_the_password_and_a_line_to_sign_in():
    first = SimpleNamespace(email="zoë@example.org", password="abc-def")
    shown = as_text(as_data(a_ground(HEXWARD_PORT="9000"), first, 1.25), elsewhere=True)
    assert "http://127.0.0.1:9000/docs" in shown
    assert "abc-def  (shown once" in shown
    assert "export HEXWARD_DATA_DIR=/srv/data" in shown
    assert "curl -s --json @- http://127.0.0.1:9000/api/v1/auth/login" in shown


def test_the_line_to_sign_in_sends_what_it_should(tmp_path):
    """As pasted into bash, by standard input; `curl` only shows what it got, and a chosen password is asked for."""
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\ncase "$*" in *abc-def*) exit 1;; esac; exec cat\n')
    curl.chmod(0o755)
    for password, typed in (("abc-def", ""), (None, "abc-def\n")):
        first = SimpleNamespace(email="z$oe`'\"@example.org", password=password)
        shown = as_text(as_data(a_ground(), first, 1), elsewhere=False)
        line = next(line for line in shown.splitlines() if "curl" in line)
        sent = subprocess.run(
            ["bash", "-c", line],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            input=typed,
            capture_output=True,
            text=True,
            check=True,
        )
        body = '{"email": "z$oe`\'\\"@example.org", "password": "abc-def"}'
        assert sent.stdout.removeprefix("Password: ") == body


def test_the_summary_of_a_later_start_on_another_database_shows_no_secret():
    url = "postgresql://hexward:geheim@db.example.org:5433/id"
    ground = a_ground(url, HEXWARD_DATABASE_URL=url, HEXWARD_HOST="::", HEXWARD_PUBLIC_URL="https://id.example.org")
    shown = as_text(as_data(ground, None, 0.4), elsewhere=True)
    assert "geheim" not in shown
    assert "PostgreSQL at db.example.org:5433/id" in shown
    assert "https://id.example.org" in shown
    assert "curl -s 'http://[::1]:8000/health/ready'" in shown


def told(**facts):
    given = {
        "version": 180004,
        "version_text": "18.4",
        "login": "me",
        "ahead": timedelta(),
        "service_may": [],
        "login_may": [],
    }
    return ServerFacts(**{**given, **facts})


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (checks.server_version(told()), Level.OK),
        (checks.server_version(told(version=140012, version_text="14.12")), Level.PROBLEM),
        (checks.clock(told(ahead=timedelta(seconds=1))), Level.OK),
        (checks.clock(told(ahead=timedelta(seconds=-5))), Level.WARNING),
        (checks.clock(told(ahead=timedelta(minutes=5))), Level.PROBLEM),
        (checks.audit_trail(told()), Level.OK),
        (checks.audit_trail(told(login_may=["DELETE"])), Level.WARNING),
        (checks.audit_trail(told(service_may=["DELETE"], login_may=["DELETE"])), Level.PROBLEM),
    ],
)
def test_the_doctor_weighs_what_the_database_says(finding, level):
    assert finding.level is level
    assert (finding.remedy is None) is (level is Level.OK)


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("http://localhost:8000", Level.OK),
        ("http://127.0.0.1:8000", Level.OK),
        ("https://id.example.org", Level.OK),
        ("http://id.example.org", Level.WARNING),
    ],
)
def test_the_doctor_warns_of_a_public_address_without_encryption(url, level):
    settings = load({"HEXWARD_PUBLIC_URL": url}, Path("/"))
    assert checks.public_url(settings).level is level


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("https://id.example.org", Level.OK),
        ("https://localhost:8443", Level.OK),
        ("http://localhost:8000", Level.WARNING),
        ("http://127.0.0.1:8000", Level.WARNING),
        ("http://id.example.org", Level.WARNING),
    ],
)
def test_the_doctor_says_that_a_session_cookie_is_a_plain_one_and_what_helps(url, level):
    found = checks.session_cookie(load({"HEXWARD_PUBLIC_URL": url}, Path("/")))
    cookie = Jar(url).signed_in("x")
    assert (found.level, found.message.partition(",")[0]) == (level, cookie.key)
    assert cookie.secure is (level is Level.OK)
    assert ("set HEXWARD_PUBLIC_URL" in (found.remedy or "")) is (level is Level.WARNING)


@pytest.mark.parametrize(("free", "level"), [(10**7, Level.PROBLEM), (5 * 10**8, Level.WARNING), (10**12, Level.OK)])
def test_the_doctor_warns_before_the_disk_is_full(monkeypatch, free, level):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert checks.free_space(Path("/")).level is level


@pytest.fixture
def answering():
    """Something on a port that answers every question with what it is told to."""
    told = {}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(told["status"])
            self.end_headers()
            self.wfile.write(told["body"])

        def log_message(self, *_):
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, told
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "level", "said"),
    [
        (200, b'{"status": "ok", "failing": []}', Level.OK, "ready"),
        (503, b'{"status": "failing", "failing": ["change_feed"]}', Level.PROBLEM, "change_feed"),
        (200, b"<html>", Level.WARNING, "is not Hexward"),
        (404, b"[]", Level.WARNING, "is not Hexward"),
    ],
)
def test_the_doctor_asks_what_listens_on_the_port(answering, status, body, level, said):
    port, told = answering
    told.update(status=status, body=body)
    found = checks.server(load({"HEXWARD_PORT": str(port)}, Path("/")))
    assert found.level is level
    assert said in found.message


def test_the_doctor_misses_a_key_that_is_not_there():
    found = list(checks.ages([], NOW))
    assert [finding.level for finding in found] == [Level.PROBLEM] * len(KeyUse)


@pytest.mark.parametrize(
    ("upkept", "level"),
    [
        (Upkept(finished_at=NOW - timedelta(hours=2)), Level.OK),
        (Upkept(finished_at=NOW - timedelta(days=2)), Level.WARNING),
        (Upkept(finished_at=NOW, backlog=True), Level.WARNING),
        (Upkept(), Level.OK),
    ],
)
def test_the_doctor_says_when_upkeep_is_late_or_left_something(upkept, level):
    found = checks.upkeep(upkept, NOW - timedelta(minutes=1), NOW)
    assert found.level is level
    assert (found.remedy is None) is (level is Level.OK)


def test_upkeep_that_never_was_is_late_in_an_installation_of_long_ago():
    assert checks.upkeep(Upkept(), NOW - timedelta(days=2), NOW).level is Level.WARNING


def test_the_doctor_notices_modes_that_let_others_in(tmp_path):
    settings = load({"HEXWARD_DATA_DIR": str(tmp_path)}, Path("/"))
    tmp_path.chmod(0o755)
    key = tmp_path / "master.key"
    key.touch()
    key.chmod(0o640)
    assert next(checks.data_folder(settings)).level is Level.PROBLEM
    assert checks.master_key(settings).level is Level.PROBLEM
    tmp_path.chmod(0o700)
    key.chmod(0o600)
    assert next(checks.data_folder(settings)).level is Level.OK
    assert checks.master_key(settings).level is Level.OK
