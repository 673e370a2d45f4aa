"""Scope paths: where in the world a resource lives and a grant reaches."""

import re
from dataclasses import dataclass

from domain.errors import Invalid

MAX_LENGTH = 255
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,64}")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """`*` (everywhere) or segments such as `org/acme/project/42`. Compared segment by segment, never by characters:
    `org/acme` does not reach `org/acme-2`."""

    path: str

    @classmethod
    def parse(cls, text: str, pointer: str = "/scope") -> "Scope":
        """Read a scope from input; raises Invalid. Dot segments are refused, so that no path can be read two ways."""
        if text == "*":
            return EVERYWHERE
        segments = text.split("/")
        if len(text) > MAX_LENGTH or not all(_SEGMENT.fullmatch(s) and s not in {".", ".."} for s in segments):
            raise Invalid.field(
                pointer,
                "a scope is * or segments of letters, digits and . _ ~ - separated by /",
                code="scope_malformed",
            )
        return cls(text)

    def reaches(self, other: "Scope") -> bool:
        """Whether what holds here also holds at `other`: the same place, or one below it."""
        return self.path == "*" or self.path == other.path or other.path.startswith(self.path + "/")

    def __str__(self) -> str:
        return self.path


EVERYWHERE = Scope("*")


def widest(scopes: "frozenset[Scope] | set[Scope]") -> tuple[Scope, ...]:
    """The scopes that no other one of the set reaches, in order."""
    return tuple(sorted(s for s in scopes if not any(o != s and o.reaches(s) for o in scopes)))
