"""Settings: the environment, checked once at start-up and turned into one frozen value.

A setting is declared once, as a field of `Settings`; loading, `hexward config show` and the reference page follow from
that. `python -m entrypoints.settings` prints the page.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from domain.errors import StartRefused
from entrypoints.pictures import Picture, Unreadable, read_picture
from entrypoints.secret_sources import COMMAND_SECONDS, FORMS, Secret, Source, Unusable, read
from entrypoints.setting_kinds import (
    COLOR,
    DATABASE,
    DOMAINS,
    EMAIL,
    EXTENSIONS,
    FOLDER,
    HOST,
    HOSTS,
    MASTER_KEY,
    NETWORKS,
    ORIGIN_URL,
    ORIGINS,
    PASSWORD,
    PICTURE,
    SWITCH,
    TITLE,
    Kind,
    WrongValue,
    is_address,
    one_of,
    seconds,
    whole_number,
)

PREFIX = "HEXWARD_"

# Kubernetes describes each service of a namespace to every pod: HEXWARD_SERVICE_HOST, HEXWARD_PORT_8000_TCP_ADDR,
# HEXWARD_PORT=tcp://10.0.0.1:8000, and the same for services such as `hexward-db`.
_KUBERNETES_NAME = re.compile(r"HEXWARD_(?:\w+_)?(?:SERVICE_\w+|PORT_\d+_\w+)")
_KUBERNETES_PORT = re.compile(r"HEXWARD_(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field of `Settings` is set; the texts are Markdown. `default` is parsed like any other value."""

    name: str
    kind: Kind
    meaning: str
    default: str | None = None
    unset: str = ""
    """What happens when it is not set and has no default."""
    secret: bool = False
    elsewhere: bool = False
    """Not a secret, and may come from a file or a command all the same."""
    remedy: str = ""
    """Required in production: what to set it to."""

    @property
    def forms(self) -> tuple[str, ...]:
        """The names of the variables that can set it."""
        return tuple(self.name + form for form in FORMS) if self.secret or self.elsewhere else (self.name,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What Hexward was told at its start. `database_url` None means the embedded PostgreSQL in `data_dir`."""

    environment: Annotated[
        Literal["laptop", "production"],
        Setting(
            "HEXWARD_ENVIRONMENT",
            one_of("laptop", "production"),
            "In `production` nothing is made up: the database, the master key and the public address have to be set.",
            default="laptop",
        ),
    ]
    host: Annotated[
        str, Setting("HEXWARD_HOST", HOST, "Where to listen; `0.0.0.0` is every IPv4 address.", default="127.0.0.1")
    ]
    port: Annotated[int, Setting("HEXWARD_PORT", whole_number(1, 65535), "The TCP port.", default="8000")]
    workers: Annotated[
        int, Setting("HEXWARD_WORKERS", whole_number(1, 64), "Processes that answer requests.", default="1")
    ]
    public_url: Annotated[
        str,
        Setting(
            "HEXWARD_PUBLIC_URL",
            ORIGIN_URL,
            "The address that users and services see: the issuer of every token, and the host of every link. "
            "In production it begins with `https://`, unless its host is the machine itself.",
            unset="`http://localhost:PORT`",
            remedy="set it to the https:// address that users will see",
        ),
    ]
    database_url: Annotated[
        Secret[str] | None,
        Setting(
            "HEXWARD_DATABASE_URL",
            DATABASE,
            "The PostgreSQL to use, 15 or newer.",
            unset="an embedded PostgreSQL in the data folder",
            secret=True,
            remedy="set it to the postgresql:// URL of your server",
        ),
    ]
    database_owner_url: Annotated[
        Secret[str] | None,
        Setting(
            "HEXWARD_DATABASE_OWNER_URL",
            DATABASE,
            "The same database as a role that may change its schema; used for migrations only.",
            unset="the database URL",
            secret=True,
        ),
    ]
    database_pool_size: Annotated[
        int,
        Setting(
            "HEXWARD_DATABASE_POOL_SIZE", whole_number(1, 500), "Database connections of each worker.", default="10"
        ),
    ]
    data_dir: Annotated[
        Path,
        Setting(
            "HEXWARD_DATA_DIR",
            FOLDER,
            "Where the embedded PostgreSQL and the generated master key live. A relative path counts from where "
            "Hexward was started.",
            unset="`.hexward`; as root a folder in `/var/lib/hexward`",
        ),
    ]
    master_key: Annotated[
        Secret[bytes] | None,
        Setting(
            "HEXWARD_MASTER_KEY",
            MASTER_KEY,
            "The key that encrypts every other key and secret in the database. Without it they are lost.",
            unset="made at the first start, and kept in the data folder",
            secret=True,
            remedy="set it to what `openssl rand -base64 32` prints, and keep a copy in a safe place",
        ),
    ]
    admin_email: Annotated[
        str,
        Setting(
            "HEXWARD_ADMIN_EMAIL",
            EMAIL,
            "The first administrator; used at the first start only.",
            default="admin@localhost",
            elsewhere=True,
        ),
    ]
    admin_password: Annotated[
        Secret[str] | None,
        Setting(
            "HEXWARD_ADMIN_PASSWORD",
            PASSWORD,
            "The first administrator's password; used at the first start only.",
            unset="generated, and printed once",
            secret=True,
        ),
    ]
    first_party_sign_in: Annotated[
        bool,
        Setting(
            "HEXWARD_FIRST_PARTY_SIGN_IN",
            SWITCH,
            "Whether users may sign in with a password at `/api/v1/auth/login`.",
            default="on",
        ),
    ]
    registration: Annotated[
        Literal["closed", "open", "domains"],
        Setting(
            "HEXWARD_REGISTRATION",
            one_of("closed", "open", "domains"),
            "Who may make an account for themselves at `/api/v1/auth/register`: nobody, anybody, or whoever has an "
            "address at one of `HEXWARD_REGISTRATION_DOMAINS`.",
            default="closed",
        ),
    ]
    registration_domains: Annotated[
        tuple[str, ...],
        Setting(
            "HEXWARD_REGISTRATION_DOMAINS",
            DOMAINS,
            "The domains whose addresses may register, in any case; a subdomain is a domain of its own. Needed "
            "where `HEXWARD_REGISTRATION` is `domains`, and refused elsewhere.",
            unset="none",
        ),
    ]
    max_staleness: Annotated[
        float,
        Setting(
            "HEXWARD_MAX_STALENESS",
            seconds(0.1, 60),
            "How long decisions may rest on what a worker remembers when it cannot ask the database; then they "
            "are answered 503.",
            default="1",
        ),
    ]
    hashing_threads: Annotated[
        int,
        Setting(
            "HEXWARD_HASHING_THREADS",
            whole_number(0, 64),
            "Passwords that each worker hashes at once; 0 derives it from the processors and workers there are.",
            default="0",
        ),
    ]
    hashing_queue: Annotated[
        int,
        Setting(
            "HEXWARD_HASHING_QUEUE",
            whole_number(1, 10_000),
            "Passwords that may wait for their turn in each worker; the next sign-in is answered 503.",
            default="64",
        ),
    ]
    audit_retention_days: Annotated[
        int | None,
        Setting(
            "HEXWARD_AUDIT_RETENTION_DAYS",
            whole_number(30, 36_500),
            "How long audit events are kept; then they go by whole months.",
            unset="for ever",
        ),
    ]
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        Setting(
            "HEXWARD_TRUSTED_PROXIES",
            NETWORKS,
            "Reverse proxies that are believed about the address and the protocol of the caller.",
            unset="none",
        ),
    ]
    trusted_hosts: Annotated[
        tuple[str, ...],
        Setting(
            "HEXWARD_TRUSTED_HOSTS",
            HOSTS,
            "More names that this server answers to, such as the one other services call it by. The host of the public "
            "address, `localhost` and IP addresses always count; `*` is every name.",
            unset="none",
        ),
    ]
    cors_origins: Annotated[
        tuple[str, ...],
        Setting(
            "HEXWARD_CORS_ORIGINS",
            ORIGINS,
            "Web pages of other origins that may call the API from the browser, with a bearer token; `*` is every "
            "origin.",
            unset="none",
        ),
    ]
    brand_name: Annotated[
        str,
        Setting("HEXWARD_BRAND_NAME", TITLE, "What the pages for people call this service.", default="Hexward"),
    ]
    brand_logo: Annotated[
        Picture | None,
        Setting(
            "HEXWARD_BRAND_LOGO",
            PICTURE,
            "The logo of these pages, read at the start. A relative path counts from where Hexward was started. "
            "No script inside an SVG ever runs.",
            unset="the mark of Hexward in the colour of the brand",
        ),
    ]
    brand_color: Annotated[
        str,
        Setting(
            "HEXWARD_BRAND_COLOR",
            COLOR,
            "The colour of buttons and links. Where text in it would be hard to read, the pages use a darker or "
            "lighter shade of it.",
            default="#6d28d9",
        ),
    ]
    rate_limits: Annotated[
        bool,
        Setting(
            "HEXWARD_RATE_LIMITS",
            SWITCH,
            "Whether callers are bounded in how often they may ask.",
            default="on",
        ),
    ]
    extensions: Annotated[
        tuple[str, ...],
        Setting("HEXWARD_EXTENSIONS", EXTENSIONS, "dishka providers that override ports of Hexward.", unset="none"),
    ]
    log_level: Annotated[
        str,
        Setting(
            "HEXWARD_LOG_LEVEL",
            one_of("debug", "info", "warning", "error", "critical"),
            "The least grave lines to log.",
            default="info",
        ),
    ]
    warnings: tuple[str, ...] = ()
    """Sentences for the operator about what was ignored or is doubtful."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Where the value of each field came from, by the name of its variable."""


def _declarations() -> Iterator[tuple[str, Setting]]:
    for declared in fields(Settings):
        for extra in get_args(declared.type)[1:]:
            if isinstance(extra, Setting):
                yield declared.name, extra


_DECLARED: Mapping[str, Setting] = dict(_declarations())


def describe() -> tuple[Setting, ...]:
    """Every setting there is, in the order to read them."""
    return tuple(_DECLARED.values())


def beside(cwd: Path) -> Path:
    """The data folder of whoever sets none."""
    return cwd / ".hexward"


def load(environ: Mapping[str, str], cwd: Path, default_data_dir: Callable[[Path], Path] = beside) -> Settings:
    """The settings in `environ`. Relative paths count from `cwd`; `default_data_dir` is asked when none is set.

    May read files and run commands, for secrets. Raises StartRefused with all that is wrong, and how to mend it.
    """
    ignored = {name for name, value in environ.items() if _is_from_kubernetes(name, value)}
    warnings = [_ignoring(ignored)] if ignored else []
    own = {name: value for name, value in environ.items() if name not in ignored}
    problems = list(_strangers(own))
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for name, setting in _DECLARED.items():
        try:
            values[name], sources[setting.name], warning = _value(setting, own, cwd)
        except Unusable as error:
            problems.append(str(error))
            continue
        if warning:
            warnings.append(warning)
    problems.extend(_contradictions(values))
    problems.extend(_unreadable_logo(values, cwd))
    if problems:
        raise StartRefused(_in_one_message(problems))
    _fill_in(values, cwd, default_data_dir)
    if any(network.prefixlen == 0 for network in values["trusted_proxies"]):
        warnings.append("HEXWARD_TRUSTED_PROXIES trusts everyone: any caller can choose the address it is seen from")
    return Settings(**values, warnings=tuple(warnings), sources=MappingProxyType(sources))


def _is_from_kubernetes(name: str, value: str) -> bool:
    return bool(_KUBERNETES_NAME.fullmatch(name) or _KUBERNETES_PORT.fullmatch(f"{name}={value}"))


def _ignoring(names: set[str]) -> str:
    return (
        f"Ignored what Kubernetes says of services ({', '.join(sorted(names))}); "
        "enableServiceLinks: false in the pod keeps it away"
    )


def _strangers(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that looks like a setting and is none; a typo must not be silent."""
    known = {form.removeprefix(PREFIX): form for setting in describe() for form in setting.forms}
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name not in known.values():
            import difflib  # only where it is needed

            close = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1, cutoff=0.7)
            remedy = f"did you mean {known[close[0]]}?" if close else "correct its name, or remove it"
            yield f"{name} is not a setting of Hexward: {remedy}"


def _value(setting: Setting, environ: Mapping[str, str], cwd: Path) -> tuple[object, Source, str | None]:
    """The value of one setting, its source, and what is doubtful about that. Raises Unusable."""
    given = {form.removeprefix(setting.name): environ[form] for form in setting.forms if form in environ}
    blank = [form for form, text in given.items() if not text.strip()]
    if blank and setting.secret:
        raise Unusable(f"{setting.name}{blank[0]} is empty: set it to a value, or remove it")
    reading = read(setting.name, {form: given[form] for form in given if form not in blank}, environ, cwd)
    if reading is None:
        return None if setting.default is None else setting.kind.parse(setting.default), "default", None
    try:
        value = setting.kind.parse(reading.text if setting.secret else reading.text.strip())
    except WrongValue as error:
        detail = f" ({error})" if str(error) else ""
        raise Unusable(f"{setting.name} must be {setting.kind.label}{detail}") from None
    return value, reading.source, reading.warning


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with settings that are right one by one. What could not be read is not in `values`."""
    if "registration" in values and "registration_domains" in values:
        if values["registration"] == "domains" and not values["registration_domains"]:
            yield "HEXWARD_REGISTRATION is domains without HEXWARD_REGISTRATION_DOMAINS: set it to those domains"
        if values["registration"] != "domains" and values["registration_domains"]:
            yield "HEXWARD_REGISTRATION_DOMAINS is set without HEXWARD_REGISTRATION=domains: set both, or neither"
    if values.get("database_owner_url") and "database_url" in values and not values["database_url"]:
        yield "HEXWARD_DATABASE_OWNER_URL is set without HEXWARD_DATABASE_URL: set both, or neither"
    if values.get("environment") != "production":
        return
    for name, setting in _DECLARED.items():
        if setting.remedy and name in values and values[name] is None:
            elsewhere = f" ({setting.name}_FILE or _COMMAND will do)" if setting.secret else ""
            yield f"{setting.name} is required in production: {setting.remedy}{elsewhere}"
    public_url = values.get("public_url")
    if public_url and not public_url.startswith("https://") and not _is_loopback(public_url):
        yield "HEXWARD_PUBLIC_URL must begin with https:// in production: tokens and passwords travel to that address"


def _unreadable_logo(values: dict[str, Any], cwd: Path) -> Iterator[str]:
    """Puts the picture in the place of its path, or says why not."""
    if values.get("brand_logo"):
        try:
            values["brand_logo"] = read_picture(cwd / values["brand_logo"])
        except Unreadable as error:
            yield f"HEXWARD_BRAND_LOGO must be {PICTURE.label} ({error})"


def _is_loopback(origin: str) -> bool:
    from urllib.parse import urlsplit

    host = urlsplit(origin).hostname or ""
    return ip_address(host).is_loopback if is_address(host) else f".{host}".endswith(".localhost")


def _in_one_message(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n".join([f"Hexward cannot start: {len(problems)} of its settings have to be mended", *problems])


def _fill_in(values: dict[str, Any], cwd: Path, default_data_dir: Callable[[Path], Path]) -> None:
    """What follows from elsewhere when it is not set."""
    values["public_url"] = values["public_url"] or f"http://localhost:{values['port']}"
    values["database_owner_url"] = values["database_owner_url"] or values["database_url"]
    values["data_dir"] = cwd / values["data_dir"] if values["data_dir"] else default_data_dir(cwd)
    for name in ("registration_domains", "trusted_proxies", "trusted_hosts", "cors_origins", "extensions"):
        values[name] = values[name] or ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting in force, as it may be shown to anyone: secrets are hidden. `value` None: not set."""

    name: str
    value: str | None
    source: Source


def show(settings: Settings) -> tuple[Shown, ...]:
    """Every setting in force, in the order of `describe()`."""
    return tuple(
        Shown(setting.name, _plain(getattr(settings, name)), settings.sources.get(setting.name, "default"))
        for name, setting in _DECLARED.items()
    )


def _plain(value: object) -> str | None:
    match value:
        case None | ():
            return None
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


_PAGE = """\
# Settings

<!-- Made by `python -m entrypoints.settings`; edit src/entrypoints/settings.py instead, then run `make docs`. -->

Hexward is set up by environment variables, read and checked once at its start. Anything wrong stops the start with a
message that says what to do; `hexward config check` does only that check, and `hexward config show` prints what is in
force and where it came from, with secrets hidden.

| Variable | Takes | When unset | Meaning |
|---|---|---|---|
{rows}

**P**: required when `HEXWARD_ENVIRONMENT` is `production`. **S**: a secret.

## Files and commands

The values of these can also come from a file or a command:
{forms}.

- A file: `HEXWARD_..._FILE` holds its path. One line end at the end of the file is not part of the value. A warning is
  logged when every user of the machine can read the file.
- A command: `HEXWARD_..._COMMAND` holds a command line whose output is the value, such as
  `vault kv get -field=key secret/hexward`. It runs without a shell, has {seconds:g} seconds, and stops the start when
  it fails.

Only one of the three may be set. An empty secret is an error; any other empty variable counts as unset.

## Variables Hexward does not know

A variable that begins with `HEXWARD_` and is not in the table stops the start, so that a typo is not silent. Those
that Kubernetes adds for services called `hexward` or `hexward-...` (such as `HEXWARD_SERVICE_HOST`,
`HEXWARD_PORT_8000_TCP`, or a `HEXWARD_PORT` that begins with `tcp://`) are ignored with a warning.
"""


def reference_page() -> str:
    """`docs/reference/settings.md`, in Markdown."""
    forms = [f"`{setting.name}`" for setting in describe() if len(setting.forms) > 1]
    return _PAGE.format(
        rows="\n".join(_row(setting) for setting in describe()),
        forms=", ".join(forms),
        seconds=COMMAND_SECONDS,
    )


def _row(setting: Setting) -> str:
    marks = f"{' **P**' if setting.remedy else ''}{' **S**' if setting.secret else ''}"
    default = f"`{setting.default}`" if setting.default is not None else setting.unset
    return f"| `{setting.name}`{marks} | {setting.kind.label} | {default} | {setting.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(reference_page())
