"""Accounts that people make for themselves: who may."""

from dataclasses import dataclass
from enum import StrEnum

from domain.errors import Forbidden
from domain.users import email_host


class RegistrationMode(StrEnum):
    """Who may register: nobody, anybody, or whoever has an address at one of some domains."""

    CLOSED = "closed"
    OPEN = "open"
    DOMAINS = "domains"


@dataclass(frozen=True, slots=True)
class Registration:
    """Who may make an account for themselves. `domains` are folded, and met exactly: a subdomain is another one."""

    mode: RegistrationMode = RegistrationMode.CLOSED
    domains: frozenset[str] = frozenset()

    def require(self, email: str) -> None:
        """Raises Forbidden (`registration_closed`, `email_domain_not_allowed`).

        Looks at nothing that is stored, so that a refusal says nothing about accounts.
        """
        if self.mode is RegistrationMode.OPEN:
            return
        if self.mode is not RegistrationMode.DOMAINS:
            raise Forbidden("accounts are made by an administrator here", code="registration_closed")
        if email_host(email) not in self.domains:
            raise Forbidden("addresses of this domain cannot register here", code="email_domain_not_allowed")
