"""The environment becomes one checked value, or a start refused with a remedy."""

import base64
import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from adapters.processes import identity
from domain.credentials import PASSWORD_MAX, PASSWORD_MIN
from domain.errors import StartRefused
from entrypoints.secret_sources import Secret, Unusable, read
from entrypoints.settings import Settings, describe, load, reference_page, show

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("/srv/hexward")

KEY_BYTES = bytes.fromhex("8f1d5c02e97b44a6b3c81f60d2957ae4150bcd3e6f98a27741ec09b5d6308fa2")
KEY = base64.b64encode(KEY_BYTES).decode()
DATABASE = "postgresql://hexward:Zufall-4711@db.internal/hexward"
PASSWORD = "Quarz-Vogel/Tinte 29"
PRODUCTION = {
    "HEXWARD_ENVIRONMENT": "production",
    "HEXWARD_DATABASE_URL": DATABASE,
    "HEXWARD_MASTER_KEY": KEY,
    "HEXWARD_PUBLIC_URL": "https://id.example.com",
}


def loaded(**variables: str) -> Settings:
    return load({f"HEXWARD_{name}": value for name, value in variables.items()}, HERE)


def refusal(environ: Mapping[str, str], cwd: Path = HERE) -> str:
    with pytest.raises(StartRefused) as refused:
        load(environ, cwd)
    return refused.value.message


def refused(**variables: str) -> str:
    return refusal({f"HEXWARD_{name}": value for name, value in variables.items()})


def a_file(folder: Path, content: str | bytes, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


# A laptop needs nothing


def test_a_laptop_starts_with_an_empty_environment():
    settings = load({"PATH": "/usr/bin"}, HERE)
    assert (settings.environment, settings.host, settings.port, settings.workers) == ("laptop", "127.0.0.1", 8000, 1)
    assert settings.public_url == "http://localhost:8000"
    assert settings.data_dir == HERE / ".hexward"
    assert settings.database_url is settings.database_owner_url is settings.master_key is None
    assert settings.admin_password is None
    assert settings.max_staleness == 1.0
    assert settings.first_party_sign_in
    assert settings.trusted_proxies == settings.extensions == settings.warnings == ()


def test_the_address_of_a_laptop_follows_its_port():
    assert loaded(PORT="9123").public_url == "http://localhost:9123"


def test_the_default_data_folder_is_chosen_by_whoever_starts_hexward():
    assert load({}, HERE, lambda cwd: Path("/var/lib") / cwd.name).data_dir == Path("/var/lib/hexward")


def test_a_data_folder_that_is_set_is_not_asked_for_and_counts_from_the_working_folder():
    def unexpected(cwd: Path) -> Path:
        raise AssertionError(cwd)

    assert load({"HEXWARD_DATA_DIR": "data"}, HERE, unexpected).data_dir == HERE / "data"
    assert load({"HEXWARD_DATA_DIR": "/data"}, HERE, unexpected).data_dir == Path("/data")


def test_blank_variables_count_as_unset_unless_they_are_secrets():
    settings = loaded(PORT="", EXTENSIONS=" ", PUBLIC_URL="", ADMIN_EMAIL_FILE="")
    assert (settings.port, settings.extensions) == (8000, ())
    assert "HEXWARD_ADMIN_PASSWORD is empty" in refused(ADMIN_PASSWORD="")
    assert "HEXWARD_MASTER_KEY_FILE is empty" in refused(MASTER_KEY_FILE="")


def test_defaults_satisfy_their_own_rules():
    for setting in describe():
        if setting.default is not None:
            setting.kind.parse(setting.default)
        assert (setting.default is None) == bool(setting.unset), setting.name


# Registration


def test_nobody_registers_unless_that_is_opened():
    assert (loaded().registration, loaded().registration_domains) == ("closed", ())
    assert loaded(REGISTRATION="OPEN").registration == "open"


def test_domains_that_may_register_are_kept_as_addresses_are_compared():
    settings = loaded(REGISTRATION="domains", REGISTRATION_DOMAINS="Example.org, BÜRO.example,example.ORG")
    assert settings.registration_domains == ("example.org", "büro.example")


def test_domains_are_needed_exactly_where_they_decide():
    assert "without HEXWARD_REGISTRATION_DOMAINS" in refused(REGISTRATION="domains")
    for mode in ({}, {"REGISTRATION": "open"}, {"REGISTRATION": "closed"}):
        assert "without HEXWARD_REGISTRATION=domains" in refused(**mode, REGISTRATION_DOMAINS="example.org")


@pytest.mark.parametrize(
    "value", ["*.example.org", "@example.org", "zoe@example.org", "a..b", "https://a", ".org", ","]
)
def test_what_can_be_no_domain_of_an_address_is_refused(value):
    assert "HEXWARD_REGISTRATION_DOMAINS must be" in refused(REGISTRATION="domains", REGISTRATION_DOMAINS=value)


# Values


def test_values_are_parsed():
    settings = loaded(
        HOST="::",
        PORT="443",
        WORKERS="4",
        LOG_LEVEL="DEBUG",
        MAX_STALENESS="0.25",
        TRUSTED_PROXIES="10.0.0.0/8, ::1",
        EXTENSIONS="acme.hexward:provider, other:Names.provider",
        FIRST_PARTY_SIGN_IN="off",
        ADMIN_EMAIL="zoë@example.com",
        DATABASE_URL="postgres://db/hexward",
    )
    assert (settings.host, settings.port, settings.workers, settings.log_level) == ("::", 443, 4, "debug")
    assert settings.max_staleness == 0.25
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert settings.extensions == ("acme.hexward:provider", "other:Names.provider")
    assert not settings.first_party_sign_in
    assert settings.admin_email == "zoë@example.com"
    assert settings.database_url is not None
    assert settings.database_url.reveal() == "postgresql://db/hexward"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "8_000"),
        ("PORT", "٨٠٠٠"),
        ("PORT", "9" * 5000),
        ("WORKERS", "0"),
        ("WORKERS", "65"),
        ("WORKERS", "two"),
        ("MAX_STALENESS", "0.05"),
        ("MAX_STALENESS", "61"),
        ("MAX_STALENESS", "nan"),
        ("MAX_STALENESS", "inf"),
        ("ENVIRONMENT", "prod"),
        ("LOG_LEVEL", "loud"),
        ("FIRST_PARTY_SIGN_IN", "yes please"),
        ("HOST", "http://localhost"),
        ("HOST", "localhost:80"),
        ("DATA_DIR", "~/hexward"),
        ("ADMIN_EMAIL", "nobody"),
        ("EXTENSIONS", "acme.hexward"),
        ("EXTENSIONS", "acme.hexward:"),
        ("EXTENSIONS", ":provider"),
        ("EXTENSIONS", "acme:a,,acme:b"),
        ("EXTENSIONS", "acme/hexward:provider"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("DATABASE_URL", "mysql://db/hexward"),
        ("DATABASE_URL", "postgresql+asyncpg://db/hexward"),
        ("DATABASE_URL", "postgresql://"),
        ("DATABASE_URL", "sqlite:///hexward.db"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name, value):
    message = refused(**{name: value})
    assert message.startswith(f"HEXWARD_{name} must be ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("https://id.example.com", "https://id.example.com"),
        ("HTTPS://ID.Example.com:443/", "https://id.example.com"),
        ("http://10.1.2.3:8080", "http://10.1.2.3:8080"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_the_public_address_is_kept_as_browsers_would_send_it(typed, origin):
    assert loaded(PUBLIC_URL=typed).public_url == origin


@pytest.mark.parametrize(
    "value",
    [
        "id.example.com",
        "ftp://id.example.com",
        "https://",
        "https://id.example.com/auth",
        "https://id.example.com?x=1",
        "https://id.example.com/#x",
        "https://me:pw@id.example.com",
        "https://id.example.com:0",
        "https://id.example.com:99999",
        "https://[::1",
        "https://id example.com",
        "https://-id.example.com",
    ],
)
def test_a_public_address_is_a_scheme_and_a_host_and_no_more(value):
    assert refused(PUBLIC_URL=value).startswith("HEXWARD_PUBLIC_URL must be an `http://` or `https://` address")


# The brand

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (300).to_bytes(4, "big") + (100).to_bytes(4, "big") + bytes(40)
SVG = '<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 10"/>'


def a_webp(chunk: bytes, head: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + chunk + bytes(4) + head + bytes(40)


def test_the_pages_have_a_look_without_any_setting():
    settings = loaded()
    assert (settings.brand_name, settings.brand_logo, settings.brand_color) == ("Hexward", None, "#6d28d9")


def test_a_name_in_any_script_and_a_colour_in_any_case():
    settings = loaded(BRAND_NAME=" Stadtwerke Köln – می\u200cخواهم ", BRAND_COLOR="#FFD500")
    assert settings.brand_name == "Stadtwerke Köln – می\u200cخواهم"
    assert settings.brand_color == "#ffd500"


@pytest.mark.parametrize("name", ["x" * 61, "two\nlines", "bell\a", "turned \u202earound"])
def test_a_name_that_cannot_be_shown_is_refused(name):
    assert refused(BRAND_NAME=name) == "HEXWARD_BRAND_NAME must be a name of 1 to 60 printable characters"


@pytest.mark.parametrize("color", ["red", "#fff", "6d28d9", "#6d28d9ff", "#6d28dg", "#٦٦٦٦٦٦", "#000000;}body{"])
def test_a_colour_has_six_hexadecimal_digits(color):
    assert refused(BRAND_COLOR=color) == "HEXWARD_BRAND_COLOR must be a colour as `#rrggbb`"


@pytest.mark.parametrize(
    ("content", "media_type", "ratio"),
    [
        (PNG, "image/png", 3),
        (SVG, "image/svg+xml", 3),
        ("\ufeff<svg width='50px' height=\"20\">", "image/svg+xml", 2.5),
        ("<svg>", "image/svg+xml", 1),
        (a_webp(b"VP8 ", bytes(6) + bytes([200, 0, 50, 0])), "image/webp", 4),
        (a_webp(b"VP8L", b"\x2f" + (99 | 49 << 14).to_bytes(4, "little")), "image/webp", 2),
        (a_webp(b"VP8X", bytes(4) + bytes([99, 0, 0, 24, 0, 0])), "image/webp", 4),
    ],
)
def test_a_logo_is_told_by_what_it_holds(tmp_path, content, media_type, ratio):
    path = a_file(tmp_path, content)
    logo = load({"HEXWARD_BRAND_LOGO": Path(path).name}, tmp_path).brand_logo
    assert logo is not None
    assert (str(logo), logo.media_type, logo.ratio) == (path, media_type, ratio)
    assert logo.content == Path(path).read_bytes()
    assert repr(logo.content) not in repr(logo)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "neither SVG nor PNG nor WebP"),
        (b"\xff\xd8\xff\xe0 a JPEG", "neither SVG nor PNG nor WebP"),
        ("<html><svg></html>", "neither SVG nor PNG nor WebP"),
        (PNG[:20], "neither SVG nor PNG nor WebP"),
        (PNG.replace((100).to_bytes(4, "big"), bytes(4)), "no size"),
        (PNG.replace((100).to_bytes(4, "big"), (1).to_bytes(4, "big")), "no size"),
        (a_webp(b"VP9 ", bytes(10)), "no size"),
        ('<svg viewBox="0 0 1.2.3 4">', "no size"),
        (PNG + bytes(262_144), "larger than 256 KiB"),
    ],
)
def test_what_is_no_logo_stops_the_start(tmp_path, content, why):
    message = refused(BRAND_LOGO=a_file(tmp_path, content))
    assert message.startswith("HEXWARD_BRAND_LOGO must be the path of an SVG, PNG or WebP file of at most 256 KiB (")
    assert why in message


def test_a_logo_that_is_not_there_stops_the_start(tmp_path):
    assert "(cannot read the file: No such file" in refused(BRAND_LOGO=str(tmp_path / "none.svg"))
    assert "(cannot read the file: Is a directory)" in refused(BRAND_LOGO=str(tmp_path))
    assert "(~ has no meaning here)" in refused(BRAND_LOGO="~/logo.svg")


def test_the_logo_is_shown_by_its_path(tmp_path):
    path = a_file(tmp_path, SVG)
    shown = {row.name: row.value for row in show(load({"HEXWARD_BRAND_LOGO": path}, HERE))}
    assert shown["HEXWARD_BRAND_LOGO"] == path


# Unknown variables


def test_an_unknown_variable_stops_the_start_with_a_suggestion():
    assert refused(PROT="80") == "HEXWARD_PROT is not a setting of Hexward: did you mean HEXWARD_PORT?"
    assert "did you mean HEXWARD_MASTER_KEY_FILE?" in refused(MASTERKEY_FILE="/run/key")
    assert "did you mean HEXWARD_PORT?" in refusal({"hexward_port": "80"})
    assert refused(REDIS_URL="redis://r").endswith("is not a setting of Hexward: correct its name, or remove it")


def test_only_secrets_and_the_first_administrator_come_from_files():
    assert "HEXWARD_PORT_FILE is not a setting" in refused(PORT_FILE="/run/port")
    assert {s.name for s in describe() if len(s.forms) > 1 and not s.secret} == {"HEXWARD_ADMIN_EMAIL"}


def test_other_variables_are_nobodys_business():
    assert load({"HEXWARDEN": "1", "MY_HEXWARD_PROT": "1"}, HERE).warnings == ()


def test_what_kubernetes_injects_is_ignored_with_a_warning():
    injected = {
        "HEXWARD_SERVICE_HOST": "10.96.0.7",
        "HEXWARD_SERVICE_PORT": "80",
        "HEXWARD_SERVICE_PORT_HTTP": "80",
        "HEXWARD_PORT": "tcp://10.96.0.7:80",
        "HEXWARD_PORT_80_TCP": "tcp://10.96.0.7:80",
        "HEXWARD_PORT_80_TCP_ADDR": "10.96.0.7",
        "HEXWARD_DB_SERVICE_HOST": "10.96.0.8",
        "HEXWARD_DB_PORT": "tcp://10.96.0.8:5432",
        "HEXWARD_DB_PORT_5432_TCP_PROTO": "tcp",
    }
    settings = load(injected, HERE)
    assert settings.port == 8000
    [warning] = settings.warnings
    assert all(name in warning for name in injected)


def test_a_likeness_to_kubernetes_is_no_excuse():
    assert "HEXWARD_DB_PORT is not a setting" in refused(DB_PORT="5432")
    assert "HEXWARD_SERVICE is not a setting" in refused(SERVICE="x")


# Production: no secret has a default (PARITY R04)


def test_production_starts_when_all_it_needs_is_set():
    settings = load(PRODUCTION, HERE)
    assert settings.public_url == "https://id.example.com"
    assert settings.master_key is not None
    assert settings.master_key.reveal() == KEY_BYTES


def test_r04_production_names_everything_that_is_missing_with_its_remedy():
    message = refused(ENVIRONMENT="production")
    first, *rest = message.splitlines()
    assert "3 of its settings" in first
    assert len(rest) == 3
    assert "HEXWARD_DATABASE_URL is required" in message
    assert "HEXWARD_PUBLIC_URL is required" in message
    assert "HEXWARD_MASTER_KEY is required in production: set it to what `openssl rand -base64 32` prints" in message


@pytest.mark.parametrize("name", ["HEXWARD_DATABASE_URL", "HEXWARD_MASTER_KEY", "HEXWARD_PUBLIC_URL"])
def test_r04_production_does_without_none_of_them(name):
    message = refusal({key: value for key, value in PRODUCTION.items() if key != name})
    assert message.startswith(f"{name} is required in production: set it to ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "key",
    [
        b"\0" * 32,
        b"\xa5" * 32,
        bytes(range(32)),
        bytes(range(255, 223, -1)),
        bytes([0x13, 0xF8] * 16),
        KEY_BYTES[:16] * 2,
        b"changeme-changeme-changeme-chang",
        b"0123456789abcdefghijklmnopqrstuv",
        b"this is a secret, do not tell it",
    ],
)
@pytest.mark.parametrize("environment", ["laptop", "production"])
def test_r04_a_master_key_that_can_be_guessed_is_refused(key, environment):
    text = base64.b64encode(key).decode()
    message = refusal(PRODUCTION | {"HEXWARD_ENVIRONMENT": environment, "HEXWARD_MASTER_KEY": text})
    assert message.startswith("HEXWARD_MASTER_KEY must be the base64 of exactly 32 random bytes")
    assert "openssl rand -base64 32" in message
    assert "can be guessed" in message
    assert text not in message


@pytest.mark.parametrize("text", ["changeme", "?", "not base64 at all!", KEY[:-8], KEY + KEY, KEY_BYTES.hex(), "ключ"])
def test_r04_a_master_key_is_the_base64_of_32_bytes(text):
    message = refused(MASTER_KEY=text)
    assert message.startswith("HEXWARD_MASTER_KEY must be the base64 of exactly 32 random bytes")
    assert text not in message


def test_a_master_key_may_use_either_alphabet_with_or_without_padding():
    key = KEY_BYTES[:-3] + b"\xfb\xff\xbf"
    for text in (base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()):
        for form in (text, text.rstrip("="), f" {text}\n"):
            settings = loaded(MASTER_KEY=form)
            assert settings.master_key is not None
            assert settings.master_key.reveal() == key


def test_random_master_keys_are_accepted():
    for _ in range(500):
        assert loaded(MASTER_KEY=base64.b64encode(os.urandom(32)).decode()).master_key


@pytest.mark.parametrize("password", ["x" * (PASSWORD_MIN - 1), "changeme", "changeme-changeme", "x" * 300])
def test_r04_the_first_administrator_gets_no_weak_password(password):
    message = refused(ADMIN_PASSWORD=password)
    assert message.startswith(
        f"HEXWARD_ADMIN_PASSWORD must be a password of {PASSWORD_MIN} to {PASSWORD_MAX} characters"
    )
    assert password not in message


def test_spaces_of_a_password_belong_to_it():
    settings = loaded(ADMIN_PASSWORD=f" {PASSWORD} ")
    assert settings.admin_password is not None
    assert settings.admin_password.reveal() == f" {PASSWORD} "


@pytest.mark.parametrize("url", ["http://id.example.com", "http://192.168.0.7:8000", "http://localhost.example.com"])
def test_production_asks_for_https(url):
    assert "must begin with https://" in refusal(PRODUCTION | {"HEXWARD_PUBLIC_URL": url})
    assert loaded(PUBLIC_URL=url).public_url == url


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://id.localhost", "http://127.0.0.9", "http://[::1]:8000"]
)
def test_production_on_the_machine_itself_may_do_without_https(url):
    assert load(PRODUCTION | {"HEXWARD_PUBLIC_URL": url}, HERE).public_url == url


def test_everything_wrong_is_told_at_once():
    message = refusal(PRODUCTION | {"HEXWARD_PORT": "x", "HEXWARD_PROT": "1", "HEXWARD_MASTER_KEY": "x"})
    assert len(message.splitlines()) == 4
    assert "is required" not in message  # it is there, only wrong


def test_migrations_use_the_database_url_unless_the_owner_has_one():
    settings = loaded(DATABASE_URL=DATABASE)
    assert settings.database_owner_url is settings.database_url
    owner = loaded(DATABASE_URL=DATABASE, DATABASE_OWNER_URL="postgresql://owner@db/hexward").database_owner_url
    assert owner is not None
    assert owner.reveal() == "postgresql://owner@db/hexward"
    assert "set both, or neither" in refused(DATABASE_OWNER_URL=DATABASE)


def test_trusting_every_address_is_doubtful():
    [warning] = loaded(TRUSTED_PROXIES="0.0.0.0/0").warnings
    assert warning.startswith("HEXWARD_TRUSTED_PROXIES trusts everyone")


# Secrets from files and commands


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_comes_from_a_file_without_the_line_end(tmp_path, end):
    settings = load({"HEXWARD_ADMIN_PASSWORD_FILE": a_file(tmp_path, PASSWORD + end)}, HERE)
    assert settings.admin_password is not None
    assert settings.admin_password.reveal() == PASSWORD
    assert settings.warnings == ()


def test_only_one_line_end_is_taken_off(tmp_path):
    settings = load({"HEXWARD_ADMIN_PASSWORD_FILE": a_file(tmp_path, f"{PASSWORD}\n\n")}, HERE)
    assert settings.admin_password is not None
    assert settings.admin_password.reveal() == f"{PASSWORD}\n"


def test_the_path_of_a_secret_counts_from_the_working_folder(tmp_path):
    a_file(tmp_path, KEY)
    assert load({"HEXWARD_MASTER_KEY_FILE": "secret"}, tmp_path).master_key


def test_a_secret_file_that_everyone_can_read_is_doubtful(tmp_path):
    path = a_file(tmp_path, KEY, mode=0o644)
    [warning] = load({"HEXWARD_MASTER_KEY_FILE": path}, HERE).warnings
    assert path in warning
    assert "HEXWARD_MASTER_KEY_FILE" in warning


def test_a_missing_secret_file_is_named(tmp_path):
    message = refusal({"HEXWARD_MASTER_KEY_FILE": f"{tmp_path}/nowhere"})
    assert message.startswith(f"HEXWARD_MASTER_KEY_FILE names {tmp_path}/nowhere, which does not exist")


def test_a_secret_file_has_to_be_a_readable_text_of_reasonable_size(tmp_path):
    assert "cannot be read" in refusal({"HEXWARD_MASTER_KEY_FILE": str(tmp_path)})
    assert "not UTF-8" in refusal({"HEXWARD_MASTER_KEY_FILE": a_file(tmp_path, KEY_BYTES)})
    assert "more than" in refusal({"HEXWARD_MASTER_KEY_FILE": a_file(tmp_path, "x" * 70_000)})
    assert "must be" in refusal({"HEXWARD_MASTER_KEY_FILE": a_file(tmp_path, "")})


def test_a_secret_from_a_file_satisfies_production(tmp_path):
    environ = PRODUCTION | {"HEXWARD_DATABASE_URL_FILE": a_file(tmp_path, f"{DATABASE}\n")}
    del environ["HEXWARD_DATABASE_URL"]
    settings = load(environ, HERE)
    assert settings.database_url is not None
    assert settings.database_url.reveal() == DATABASE


def test_a_secret_comes_from_a_command(tmp_path):
    environ = {
        "PATH": os.environ["PATH"],
        "KEY": KEY,
        "HEXWARD_MASTER_KEY_COMMAND": "sh -c 'echo \"$KEY\"; echo x >&2'",
    }
    settings = load(environ, tmp_path)
    assert settings.master_key is not None
    assert settings.master_key.reveal() == KEY_BYTES


def test_a_command_runs_without_a_shell_and_in_the_working_folder(tmp_path):
    a_file(tmp_path, f"{PASSWORD}; $HOME")
    settings = load({"PATH": os.environ["PATH"], "HEXWARD_ADMIN_PASSWORD_COMMAND": "cat secret"}, tmp_path)
    assert settings.admin_password is not None
    assert settings.admin_password.reveal() == f"{PASSWORD}; $HOME"
    assert "cannot be started" in refusal({"HEXWARD_ADMIN_PASSWORD_COMMAND": "KEY=hunter2 cat secret"}, tmp_path)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sh -c 'echo hunter2; echo hunter2 >&2; exit 3'", "failed with exit status 3"),
        ("/nonexistent/hunter2", "cannot be started"),
        ("sh -c 'echo hunter2", "a quote in it is not closed"),
        ("''", "cannot be started"),
        ("printf '\\377hunter2'", "not UTF-8"),
        ("sh -c 'kill -9 $$'", "failed with exit status -9"),
    ],
)
def test_a_command_that_fails_stops_the_start_and_its_words_stay_secret(command, why, tmp_path, capfd):
    message = refusal({"PATH": os.environ["PATH"], "HEXWARD_MASTER_KEY_COMMAND": command}, tmp_path)
    assert message.startswith("HEXWARD_MASTER_KEY_COMMAND ")
    assert why in message
    assert "hunter2" not in message
    assert capfd.readouterr() == ("", "")


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    command = "sh -c 'sleep 60 & echo $! >child; wait'"
    began = time.monotonic()
    with pytest.raises(Unusable, match=r"HEXWARD_MASTER_KEY_COMMAND gave no answer within 0\.5 s"):
        read("HEXWARD_MASTER_KEY", {"_COMMAND": command}, os.environ, tmp_path, patience=0.5)
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while identity(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert identity(child) is None


def test_two_forms_of_one_secret_are_refused(tmp_path):
    message = refused(MASTER_KEY=KEY, MASTER_KEY_FILE=a_file(tmp_path, KEY))
    assert message == "HEXWARD_MASTER_KEY and HEXWARD_MASTER_KEY_FILE are both set: keep one of them"
    assert "both set" in refused(MASTER_KEY_FILE="x", MASTER_KEY_COMMAND="x")


def test_a_command_has_words():
    with pytest.raises(Unusable, match="HEXWARD_MASTER_KEY_COMMAND is empty"):
        read("HEXWARD_MASTER_KEY", {"_COMMAND": " "}, {}, ROOT)


# Secrets stay secret


def test_what_was_read_does_not_show_itself():
    assert "hunter2" not in repr(read("HEXWARD_MASTER_KEY", {"": "hunter2"}, {}, ROOT))


@pytest.mark.parametrize("write", [repr, str, "{}".format, "{!r:>5}".format, "%s".__mod__, ascii])
def test_a_secret_does_not_show_itself(write: Callable[[object], str]):
    assert write(Secret("hunter2")).strip() == "***"
    assert Secret(b"hunter2").reveal() == b"hunter2"


@pytest.mark.parametrize("copies", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied_by_accident(copies: Callable[[object], object]):
    with pytest.raises(TypeError, match="reveal"):
        copies(Secret("hunter2"))


def test_neither_the_settings_nor_their_table_show_a_secret():
    settings = load(PRODUCTION | {"HEXWARD_ADMIN_PASSWORD": PASSWORD}, HERE)
    shown = f"{settings} {show(settings)}"
    for secret in (DATABASE, "Zufall", KEY, repr(KEY_BYTES), PASSWORD):
        assert secret not in shown


def test_a_refusal_does_not_carry_secrets_in_its_chain():
    bad = PRODUCTION | {"HEXWARD_MASTER_KEY": "hunter2-hunter2", "HEXWARD_ADMIN_PASSWORD": "hunter2"}
    with pytest.raises(StartRefused) as refused:
        load(bad, HERE)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_the_table_tells_where_each_value_came_from(tmp_path):
    environ = {
        "PATH": os.environ["PATH"],
        "HEXWARD_PORT": "8080",
        "HEXWARD_MASTER_KEY_FILE": a_file(tmp_path, KEY),
        "HEXWARD_ADMIN_PASSWORD_COMMAND": f"echo '{PASSWORD}'",
        "HEXWARD_TRUSTED_PROXIES": "10.0.0.0/8,::1",
        "HEXWARD_FIRST_PARTY_SIGN_IN": "OFF",
    }
    table = {row.name: (row.value, row.source) for row in show(load(environ, tmp_path))}
    assert list(table) == [setting.name for setting in describe()]
    assert table["HEXWARD_PORT"] == ("8080", "environment")
    assert table["HEXWARD_MASTER_KEY"] == ("***", "file")
    assert table["HEXWARD_ADMIN_PASSWORD"] == ("***", "command")
    assert table["HEXWARD_DATABASE_URL"] == (None, "default")
    assert table["HEXWARD_PUBLIC_URL"] == ("http://localhost:8080", "default")
    assert table["HEXWARD_TRUSTED_PROXIES"] == ("10.0.0.0/8,::1/128", "environment")
    assert table["HEXWARD_EXTENSIONS"] == (None, "default")
    assert table["HEXWARD_FIRST_PARTY_SIGN_IN"] == ("off", "environment")
    assert table["HEXWARD_MAX_STALENESS"] == ("1", "default")


# One declaration


def test_every_setting_is_named_after_its_field_and_described():
    names = [f"HEXWARD_{f.name.upper()}" for f in dataclasses.fields(Settings) if f.name not in {"warnings", "sources"}]
    assert names == [setting.name for setting in describe()]
    assert all(setting.meaning.endswith(".") and "|" not in setting.meaning for setting in describe())


def test_the_reference_page_is_what_the_declarations_say():
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert page == reference_page(), "docs/reference/settings.md is out of date: run `make docs`"


def test_the_module_prints_the_reference_page():
    printed = subprocess.run(
        [sys.executable, "-m", "entrypoints.settings"],
        env={"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == reference_page()


def test_reading_settings_loads_no_framework():
    code = (
        "import sys; from pathlib import Path; from entrypoints.settings import load; load({}, Path('/')); "
        "print(*(sys.modules.keys() & {'litestar', 'msgspec', 'sqlalchemy', 'adapters', 'subprocess', 'urllib.parse'}))"
    )
    environ = {"PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
