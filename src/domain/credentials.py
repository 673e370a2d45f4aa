"""Passwords: what is accepted as one, and how guessing is slowed down."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.errors import Invalid
from domain.users import UserId

PASSWORD_MIN = 15
"""Where the password is the only factor (NIST SP 800-63B-4, 3.1.1.2)."""
PASSWORD_MIN_WITH_SECOND_FACTOR = 8
PASSWORD_MAX = 256

_COMMON = (
    "password", "passwort", "letmein", "welcome", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "iloveyou",
    "administrator", "admin", "secret", "changeme", "trustno1", "abcdefghijklmnopqrstuvwxyz", "01234567890123456789",
    "98765432109876543210", "1q2w3e4r5t6y7u8i9o0p", "monkey", "dragon", "sunshine", "princess", "football", "baseball",
    "superman", "batman", "master", "shadow", "default", "login", "hexward", "correcthorsebatterystaple",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PasswordCredential:
    """A user's password, hashed. `hash` is a PHC string (Argon2id) or a foreign one such as bcrypt's `$2b$...`."""

    user_id: UserId
    hash: str
    changed_at: datetime

    def __repr__(self) -> str:
        return f"PasswordCredential(user_id={self.user_id!r})"


def check_password(
    password: str, *, context: Iterable[str] = (), second_factor: bool = False, pointer: str = "/password"
) -> str:
    """A password from input; raises Invalid. Length and a block list, no composition rules (NIST SP 800-63B-4).

    `context` holds words an attacker would try first: the address, the username, the name of the service.
    """
    least = PASSWORD_MIN_WITH_SECOND_FACTOR if second_factor else PASSWORD_MIN
    if len(password) > PASSWORD_MAX:
        raise Invalid.field(pointer, f"a password has at most {PASSWORD_MAX} characters", code="password_too_long")
    if len(password) < least:
        raise Invalid.field(pointer, f"a password has at least {least} characters", code="password_too_short")
    if any("\ud800" <= c <= "\udfff" for c in password):
        raise Invalid.field(pointer, "not valid Unicode text", code="password_malformed")
    words = {w for word in context for w in _words(word)}
    if _predictable(password, words):
        raise Invalid.field(pointer, "this password is too easy to guess; choose another", code="password_common")
    return password


def _words(text: str) -> set[str]:
    """The text itself and its parts of four letters or more, folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    parts = {"".join(c if c.isalnum() else " " for c in folded).replace(" ", "")}
    parts.update("".join(c if c.isalnum() else " " for c in folded).split())
    return {p for p in parts if len(p) >= 4}


def _predictable(password: str, context: set[str]) -> bool:
    """Whether little is left once common words, context words, digits at the ends and repetition are taken away."""
    folded = unicodedata.normalize("NFKC", password).casefold()
    letters = "".join(c for c in folded if c.isalnum())
    if len(set(folded)) < 5:
        return True
    for size in range(1, min(8, len(letters) // 2) + 1):  # one short piece, repeated
        if letters == (letters[:size] * len(letters))[: len(letters)]:
            return True
    rest = "".join(c for c in folded.translate(str.maketrans("013457@$", "oleastas")) if c.isalnum())
    plain = letters
    for word in sorted((*_COMMON, *context), key=len, reverse=True):
        plain, rest = plain.replace(word, ""), rest.replace(word, "")
    return min(len(plain.strip("0123456789")), len(rest.strip("0123456789"))) < 4


def normalized(password: str) -> str:
    """The same keystrokes give the same password on every system (NIST SP 800-63B-4, 3.1.1.2: NFKC or NFC)."""
    return unicodedata.normalize("NFC", password)


FREE_FAILURES = 5
LONGEST_DELAY = timedelta(minutes=5)
FORGOTTEN_AFTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed sign-ins of one account name since the last success. Counted for names that do not exist as well."""

    count: int
    last_at: datetime

    def slowed(self, now: datetime) -> bool:
        """Whether tries come one at a time by now, each of which has to be claimed."""
        return self.count >= FREE_FAILURES and now - self.last_at < FORGOTTEN_AFTER

    def wait(self, now: datetime) -> timedelta:
        """How long the next try has to wait: nothing at first, then doubling from one second to five minutes."""
        over = self.count - FREE_FAILURES
        if over < 0 or now - self.last_at >= FORGOTTEN_AFTER:
            return timedelta(0)
        delay = min(timedelta(seconds=2 ** min(over, 16)), LONGEST_DELAY)
        return max(self.last_at + delay - now, timedelta(0))
