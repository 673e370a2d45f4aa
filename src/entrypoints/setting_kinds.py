"""Kinds of setting: what each takes, and how its text becomes a value."""

import binascii
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from domain.errors import Invalid
from entrypoints.pictures import PICTURE_MAX
from entrypoints.secret_sources import Secret

MASTER_KEY_BYTES = 32
TITLE_MAX = 60
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?")
_ORIGIN = re.compile(r"(?i:https?)://[^/?#@\s]+/?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class WrongValue(Exception):
    """A value is not what its setting takes. The text, if any, says in which way, and never holds the value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting takes. `label` continues "must be"; `parse` raises WrongValue."""

    label: str
    parse: Callable[[str], object]


def whole_number(low: int, high: int) -> Kind:
    """Decimal digits; both bounds are allowed."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise WrongValue
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


def seconds(low: float, high: float) -> Kind:
    """Decimal digits, with or without a fraction; both bounds are allowed."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise WrongValue
        return float(text)

    return Kind(f"a number of seconds from {low:g} to {high:g}", parse)


def one_of(*values: str) -> Kind:
    """One of these lower-case words, typed in any case."""

    def parse(text: str) -> str:
        if text.lower() not in values:
            raise WrongValue
        return text.lower()

    return Kind(f"{', '.join(values[:-1])} or {values[-1]}", parse)


def _parse_switch(text: str) -> bool:
    if text.lower() not in {"on", "off"}:
        raise WrongValue
    return text.lower() == "on"


def _parse_host(text: str) -> str:
    if not is_address(text) and not _HOSTNAME.fullmatch(text):
        raise WrongValue
    return text


def is_address(host: str) -> bool:
    """Whether this is an IP address, and so no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parse_origin(text: str) -> str:
    """In the form that browsers send as `Origin` (RFC 6454, 6.2), as tokens and links are compared to it."""
    from urllib.parse import urlsplit  # only where a URL is set

    if not _ORIGIN.fullmatch(text):
        raise WrongValue
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise WrongValue from None
    if port == 0 or (not is_address(host) and not _HOSTNAME.fullmatch(host)):
        raise WrongValue
    suffix = "" if port in {None, _DEFAULT_PORTS[url.scheme]} else f":{port}"
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{suffix}"


def _parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(entry.strip()) for entry in text.split(","))
    except ValueError:
        raise WrongValue from None


def _parse_origins(text: str) -> tuple[str, ...]:
    entries = tuple(entry.strip() for entry in text.split(","))
    return entries if entries == ("*",) else tuple(map(_parse_origin, entries))


def _parse_hosts(text: str) -> tuple[str, ...]:
    entries = tuple(entry.strip() for entry in text.split(","))
    return entries if entries == ("*",) else tuple(_parse_host(entry).lower() for entry in entries)


def _parse_extensions(text: str) -> tuple[str, ...]:
    entries = tuple(entry.strip() for entry in text.split(","))
    for entry in entries:
        module, _, attribute = entry.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
            raise WrongValue
    return entries


def _parse_email(text: str) -> str:
    from domain.users import parse_email  # only where an address is set

    try:
        return parse_email(text)
    except Invalid:
        raise WrongValue from None


def _parse_domains(text: str) -> tuple[str, ...]:
    """Folded as the domains of addresses are that they are compared with; what would never be met is refused."""
    from domain.users import email_host, parse_email  # as above

    if any(c in text for c in "*/:"):
        raise WrongValue("a domain is met exactly, there are no patterns")
    try:
        return tuple(dict.fromkeys(email_host(parse_email(f"x@{entry.strip()}")) for entry in text.split(",")))
    except Invalid:
        raise WrongValue from None


def _parse_path(text: str) -> Path:
    if text.startswith("~"):  # only a shell gives it a meaning; a file or folder of that name would be a trap
        raise WrongValue("~ has no meaning here")
    return Path(text)


def _parse_title(text: str) -> str:
    from domain.users import JOINERS  # only where it is set

    if not 1 <= len(text) <= TITLE_MAX or not all(c.isprintable() or c in JOINERS for c in text):
        raise WrongValue
    return text


def _parse_color(text: str) -> str:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        raise WrongValue
    return text.lower()


def _parse_master_key(text: str) -> Secret[bytes]:
    """The key-encryption key out of its base64, in the standard or the URL-safe alphabet; raises WrongValue."""
    digits = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except ValueError:
        raise WrongValue from None
    if len(key) != MASTER_KEY_BYTES:
        raise WrongValue(f"this one has {len(key)} bytes")
    if _predictable(key):
        raise WrongValue("this one can be guessed")
    return Secret(key)


def _predictable(key: bytes) -> bool:
    """Whether a key shows a pattern that 32 random bytes have less than once in a trillion: text, runs, repeats."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    half = len(key) // 2
    return len(set(key)) < 16 or len(steps) == 1 or key[:half] == key[half:] or _is_text(key)


def _is_text(key: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in key)


def _parse_database_url(text: str) -> Secret[str]:
    """The address of a PostgreSQL server, with the password it may hold, as `postgresql://...`; raises WrongValue."""
    scheme, _, rest = text.strip().partition("://")
    if scheme.lower() not in {"postgresql", "postgres"} or not rest:
        raise WrongValue
    return Secret(f"postgresql://{rest}")


def _parse_password(text: str) -> Secret[str]:
    """A password by the rules that every user's has to pass; raises WrongValue."""
    from domain.credentials import check_password  # only where a password is set

    try:
        return Secret(check_password(text))
    except Invalid as error:
        raise WrongValue(error.message) from None


HOST = Kind("a host name or an IP address", _parse_host)
ORIGIN_URL = Kind("an `http://` or `https://` address without a path, such as `https://id.example.com`", _parse_origin)
SWITCH = Kind("on or off", _parse_switch)
DATABASE = Kind("a URL that begins with `postgresql://` or `postgres://`", _parse_database_url)
TITLE = Kind(f"a name of 1 to {TITLE_MAX} printable characters", _parse_title)
PICTURE = Kind(f"the path of an SVG, PNG or WebP file of at most {PICTURE_MAX // 1024} KiB", _parse_path)
COLOR = Kind("a colour as `#rrggbb`", _parse_color)
FOLDER = Kind("the path of a folder", _parse_path)
MASTER_KEY = Kind("the base64 of exactly 32 random bytes, made by `openssl rand -base64 32`", _parse_master_key)
EMAIL = Kind("an e-mail address", _parse_email)
PASSWORD = Kind("a password of 15 to 256 characters that is hard to guess", _parse_password)
DOMAINS = Kind("domains separated by commas, such as `example.org,example.com`", _parse_domains)
NETWORKS = Kind("IP networks separated by commas, such as `10.0.0.0/8,fd00::/8`", _parse_networks)
HOSTS = Kind("host names separated by commas, or `*`", _parse_hosts)
ORIGINS = Kind("origins separated by commas, such as `https://app.example.com`, or `*`", _parse_origins)
EXTENSIONS = Kind("`module:attribute` entries separated by commas, such as `acme.hexward:provider`", _parse_extensions)
