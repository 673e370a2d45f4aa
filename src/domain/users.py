"""People: who they are, how they are called, whether they may come in."""

import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from domain.errors import Conflict, Invalid
from domain.scopes import EVERYWHERE, Scope

UserId = NewType("UserId", UUID)

EMAIL_MAX = 254
USERNAME_MAX = 64
DISPLAY_NAME_MAX = 200
DELETED_HOST = "deleted.invalid"
"""Where addresses of deleted users point (RFC 2606); nobody can register one."""
JOINERS = "\u200c\u200d"
"""Zero-width joiner and non-joiner, which some scripts and emoji need inside names."""
_LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")


class UserStatus(StrEnum):
    """Only `active` accounts may sign in or keep a token."""

    INVITED = "invited"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class User:
    """A person's account. `version` counts its changes (the ETag); `email` is kept as typed."""

    id: UserId
    email: str
    created_at: datetime
    updated_at: datetime
    status: UserStatus = UserStatus.ACTIVE
    email_verified: bool = False
    username: str | None = None
    display_name: str | None = None
    locale: str | None = None
    scope: Scope = EVERYWHERE
    version: int = 1

    def changed(self, now: datetime, **changes: object) -> "User":
        """The same user with some attributes replaced, one version on."""
        return replace(self, **changes, updated_at=now, version=self.version + 1)  # type: ignore[arg-type]  # replace() checks names at run time; callers pass parsed values

    def suspended(self, now: datetime) -> "User":
        """Shut out until reactivated; raises Conflict unless the account is active or invited."""
        if self.status not in {UserStatus.ACTIVE, UserStatus.INVITED}:
            raise Conflict(f"the account is {self.status}", code="user_status")
        return self.changed(now, status=UserStatus.SUSPENDED)

    def reactivated(self, now: datetime) -> "User":
        """Let back in; raises Conflict unless suspended."""
        if self.status is not UserStatus.SUSPENDED:
            raise Conflict(f"the account is {self.status}", code="user_status")
        return self.changed(now, status=UserStatus.ACTIVE)

    def purged(self, now: datetime) -> "User":
        """Deleted for good: personal data is wiped, the id stays so that audit events keep their meaning."""
        return self.changed(
            now,
            status=UserStatus.DELETED,
            email=f"deleted-{self.id}@{DELETED_HOST}",
            email_verified=False,
            username=None,
            display_name=None,
            locale=None,
        )


def email_key(email: str) -> str:
    """What makes two addresses the same account: NFC and casefold, computed here so that every adapter agrees."""
    return _nfc(_nfc(email).casefold())


def username_key(username: str) -> str:
    """What makes two usernames the same: NFKC (look-alike widths and ligatures) and casefold."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def email_host(email: str) -> str:
    """The domain of an address, folded as `email_key` does it."""
    return email_key(email).rpartition("@")[2]


def is_id(text: str) -> bool:
    """Whether the text is an id as Hexward writes them; a username of 32 hexadecimal digits is none."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def parse_email(text: str, pointer: str = "/email") -> str:
    """An address from input, as typed; raises Invalid.

    Deliberately permissive (any script, dots anywhere): only what cannot be an address at all is refused. Whether it
    works is shown by a mail that arrives. Never applied to what is read back from storage.
    """
    text = _nfc(text)  # first, because composing can lengthen
    local, at, host = text.rpartition("@")
    if (
        not at
        or not local
        or not host
        or len(text) > EMAIL_MAX
        or "@" in local
        or host.startswith((".", "-"))
        or host.endswith((".", "-"))
        or ".." in host
        or email_key(host) == DELETED_HOST
        or not _printable(text)
        or any(c.isspace() for c in text)
    ):
        raise Invalid.field(pointer, "not an e-mail address", code="email_malformed")
    return text


def parse_username(text: str, pointer: str = "/username") -> str:
    """A username from input; raises Invalid.

    No `@` and no space, not even one that only folding brings out (U+FF20), so that it can never be mistaken for an
    address.
    """
    text = _nfc(text)
    key = username_key(text)
    odd = "@" in key or any(c.isspace() for c in text + key) or not _printable(text)
    if not 1 <= len(text) <= USERNAME_MAX or odd:
        raise Invalid.field(
            pointer, f"a username has 1 to {USERNAME_MAX} characters, no spaces and no @", code="username_malformed"
        )
    return text


def parse_display_name(text: str, pointer: str = "/display_name") -> str:
    """A name in any script; raises Invalid when empty, over-long or holding control characters."""
    name = _nfc(text).strip()
    visible = name.strip(JOINERS)
    if not visible or len(name) > DISPLAY_NAME_MAX or not _printable(name, besides=JOINERS):
        raise Invalid.field(
            pointer, f"a name has 1 to {DISPLAY_NAME_MAX} printable characters", code="display_name_malformed"
        )
    return name


def parse_locale(text: str, pointer: str = "/locale") -> str:
    """A language tag (BCP 47) such as `de` or `pt-BR`; raises Invalid."""
    if not _LOCALE.fullmatch(text):
        raise Invalid.field(pointer, "not a language tag such as de or pt-BR", code="locale_malformed")
    return text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _printable(text: str, besides: str = "") -> bool:
    """No control, surrogate, private-use or unassigned characters, and nothing invisible that makes look-alikes, such
    as zero-width spaces and direction marks; `besides` names invisible ones that are needed."""
    unprintable = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return all(unicodedata.category(c) not in unprintable or c in besides for c in text)
