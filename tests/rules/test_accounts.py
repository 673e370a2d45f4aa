"""Who may make an account for themselves."""

import pytest

from domain.accounts import Registration, RegistrationMode
from domain.errors import Forbidden

EXAMPLE = Registration(RegistrationMode.DOMAINS, frozenset({"example.org", "büro.example"}))


def refusal(registration, email):
    with pytest.raises(Forbidden) as refused:
        registration.require(email)
    return refused.value.reason_code


def test_nobody_may_unless_somebody_opened_it():
    assert refusal(Registration(), "zoe@example.org") == "registration_closed"
    assert refusal(Registration(domains=frozenset({"example.org"})), "zoe@example.org") == "registration_closed"


def test_anybody_may_where_it_is_open():
    Registration(RegistrationMode.OPEN).require("zoe@wherever.example")


@pytest.mark.parametrize("email", ["zoe@example.org", "zoe@EXAMPLE.org", "ZOE@büro.example", "zoe@BU\u0308RO.example"])
def test_a_domain_is_met_in_whatever_case_and_composition(email):
    EXAMPLE.require(email)


@pytest.mark.parametrize(
    "email",
    ["zoe@mail.example.org", "zoe@example.org.evil.example", "zoe@notexample.org", "example.org@evil.example"],
)
def test_nothing_but_the_whole_domain_is_met(email):
    assert refusal(EXAMPLE, email) == "email_domain_not_allowed"


def test_no_domains_let_nobody_in():
    assert refusal(Registration(RegistrationMode.DOMAINS), "zoe@example.org") == "email_domain_not_allowed"
