"""Everything Hexward refuses, with stable codes that callers may rely on.

A code never changes its meaning. Entrypoints translate each class once: HTTP to a status, the command to an exit
code. Messages are for people; they never hold secrets or a caller's input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one member of the input; `pointer` is a JSON Pointer (RFC 6901), such as `/email`."""

    pointer: str
    code: str
    message: str


class DomainError(Exception):
    """A refusal. `code` is stable, `message` is for people."""

    code: ClassVar[str] = "error"
    message: str

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason_code = code or self.code


class Invalid(DomainError):
    """The input breaks a rule; `fields` says where."""

    code = "invalid"

    def __init__(self, message: str, *, fields: Sequence[FieldError] = (), code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.fields = tuple(fields)

    @classmethod
    def field(cls, pointer: str, message: str, *, code: str = "invalid") -> "Invalid":
        """One field is wrong."""
        return cls(message, fields=[FieldError(pointer, code, message)])


class NotAuthenticated(DomainError):
    """Who is calling is not known: no token, a token that does not verify, or one whose session has ended."""

    code = "not_authenticated"


class InvalidGrant(DomainError):
    """Credentials or a refresh token were not accepted (RFC 6749, 5.2). Deliberately says little about why."""

    code = "invalid_grant"


class OAuthError(DomainError):
    """A refusal that an RFC names: `code` is its `error` (RFC 6749, 4.1.2.1 and 5.2; RFC 8707, 2; OpenID Connect Core
    3.1.2.6). The message is the `error_description`, in ASCII without quotes and backslashes. `why` is for the audit
    trail, which may know more than the caller."""

    code = "invalid_request"

    def __init__(self, code: str, message: str, *, why: str | None = None) -> None:
        super().__init__(message, code=code)
        self.why = why or code


class Forbidden(DomainError):
    """The caller is known and may not do this; the message carries the reason of the decision."""

    code = "forbidden"


class NotFound(DomainError):
    """No such thing, or none that the caller may see."""

    code = "not_found"


class Conflict(DomainError):
    """The database decided a race or a rule of uniqueness against the caller."""

    code = "conflict"


class Stale(DomainError):
    """The caller's version is not the current one (RFC 9110, 13.1.1)."""

    code = "stale_version"


class TooManyAttempts(DomainError):
    """Guessing is being slowed down; try again after `retry_after` seconds."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, retry_after: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """Nothing is wrong with the request; try again after `retry_after` seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 1, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Undone(Unavailable):
    """The work was undone, wholly and for certain: whoever asked for it may repeat it at once."""


class Overloaded(Unavailable):
    """A bounded queue is full and this work was shed."""

    code = "overloaded"


class StartRefused(DomainError):
    """Hexward cannot start as it is set up. The message is one sentence that says what to do about it."""

    code = "start_refused"
