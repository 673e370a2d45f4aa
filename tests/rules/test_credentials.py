"""Which passwords are accepted, and how guessing slows down."""

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builders import NOW, SECOND, a_password, a_user
from domain.credentials import (
    FORGOTTEN_AFTER,
    FREE_FAILURES,
    LONGEST_DELAY,
    PASSWORD_MAX,
    PASSWORD_MIN,
    PASSWORD_MIN_WITH_SECOND_FACTOR,
    Failures,
    check_password,
    normalized,
)
from domain.errors import Invalid

GOOD = "violet tractor hums quietly"


def refusal(password, **options):
    with pytest.raises(Invalid) as refused:
        check_password(password, **options)
    [field] = refused.value.fields
    assert len(password) < 3 or password not in field.message
    return field.code


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "Grünkohl mit Pinkel",
        "пароль никому не скажу",
        "x7#kQ!m2$vLp9@w",
        "  spaces count too  ",
        "木曜日の朝は必ず雨が降る気がしませんか",
    ],
)
def test_a_long_password_of_any_characters_is_accepted_as_it_is(password):
    assert check_password(password) == password


def test_without_a_second_factor_fifteen_characters_are_the_least():
    assert refusal(GOOD[: PASSWORD_MIN - 1]) == "password_too_short"
    assert check_password(GOOD[:PASSWORD_MIN])


def test_with_a_second_factor_eight_are_enough():
    assert check_password(GOOD[:PASSWORD_MIN_WITH_SECOND_FACTOR], second_factor=True)
    assert refusal(GOOD[: PASSWORD_MIN_WITH_SECOND_FACTOR - 1], second_factor=True) == "password_too_short"


def test_R22_the_whole_password_counts_and_an_over_long_one_is_refused_before_hashing():
    longest = (GOOD * 20)[:PASSWORD_MAX]
    assert check_password(longest) == longest
    assert refusal((GOOD * 20)[: PASSWORD_MAX + 1]) == "password_too_long"


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaaaaaaaaaa", "abababababababab", "password12345678", "Password!Password!", "P4ssw0rd-P4ssw0rd",
        "12345678901234567890", "qwertyuiop123456", "letmeinletmeinletmein", "correcthorsebatterystaple",
        "administrator2026!", "changeme-changeme", "P@$$w0rd2026!!!!", "!!!!????----++++",
    ],
)  # fmt: skip
def test_what_attackers_try_first_is_refused(password):
    assert refusal(password) == "password_common"


@pytest.mark.parametrize(
    "password", ["zoe.miller@example.org", "Zoe-Miller-2026!!", "miller miller zoe", "EXAMPLE example 99"]
)
def test_words_of_the_account_do_not_make_a_password(password):
    assert refusal(password, context=["zoe.miller@example.org", "zoe"]) == "password_common"
    assert check_password(GOOD, context=["zoe.miller@example.org", "zoe"]) == GOOD


def test_a_lone_surrogate_is_refused():
    assert refusal(GOOD + "\ud800") == "password_malformed"


def test_a_refusal_points_to_the_field_it_is_about():
    with pytest.raises(Invalid) as refused:
        check_password("short", pointer="/new_password")
    assert refused.value.fields[0].pointer == "/new_password"


@given(st.text(min_size=1, max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_any_text_is_accepted_unchanged_or_refused_with_a_code(password, context):
    try:
        accepted = check_password(password, context=context)
    except Invalid as error:
        codes = [field.code for field in error.fields]
    else:
        codes = []
        assert accepted == password
        assert PASSWORD_MIN <= len(password) <= PASSWORD_MAX
        accepted.encode()
    assert all(code.startswith("password_") for code in codes)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=8), st.integers(2, 40))
def test_one_piece_repeated_is_never_a_password(piece, times):
    password = piece * times
    assume(PASSWORD_MIN <= len(password) <= PASSWORD_MAX)
    assume(len(unicodedata.normalize("NFKC", piece).casefold()) == len(piece))  # else it is a longer piece
    assert refusal(password) == "password_common"


def test_the_same_keystrokes_are_the_same_password_on_every_system():
    assert normalized("Gru\u0308nkohl") == normalized("Grünkohl")
    assert normalized("Grünkohl") != normalized("grünkohl")


def test_a_hash_never_shows_in_a_repr():
    credential = a_password(a_user())
    assert credential.hash not in repr(credential)


def test_the_first_failures_cost_nothing():
    assert Failures(FREE_FAILURES - 1, NOW).wait(NOW) == timedelta(0)


def test_the_delay_doubles_from_one_second_to_five_minutes():
    waits = [Failures(FREE_FAILURES + n, NOW).wait(NOW).total_seconds() for n in range(12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_failures_are_forgotten_after_a_while():
    assert Failures(10**9, NOW).wait(NOW + FORGOTTEN_AFTER) == timedelta(0)
    assert Failures(10**9, NOW).wait(NOW) == LONGEST_DELAY


counts = st.integers(0, 10**9)
passing = st.timedeltas(timedelta(0), timedelta(hours=1))


@given(counts, counts, passing)
def test_more_failures_never_wait_less(few, more, since):
    few, more = sorted((few, more))
    assert Failures(few, NOW).wait(NOW + since) <= Failures(more, NOW).wait(NOW + since)


@given(counts, passing, passing)
def test_waiting_gets_shorter_as_time_passes(count, early, late):
    early, late = sorted((early, late))
    assert Failures(count, NOW).wait(NOW + late) <= Failures(count, NOW).wait(NOW + early)


@given(counts, passing)
def test_who_waited_as_told_may_try(count, since):
    now = NOW + since
    wait = Failures(count, NOW).wait(now)
    assert timedelta(0) <= wait <= LONGEST_DELAY
    assert Failures(count, NOW).wait(now + wait) == timedelta(0)


@given(st.integers(1, 200))
def test_a_patient_attacker_gets_few_tries_an_hour(tries):
    """Trying again as soon as it is allowed: after the free ones, 200 tries take hours."""
    now, failures = NOW, Failures(0, NOW)
    for _ in range(tries):
        now += failures.wait(now)
        failures = Failures(failures.count + 1, now)
    hours = (now - NOW) / timedelta(hours=1)
    assert tries <= FREE_FAILURES + 10 + 12 * hours + 1


def test_a_clock_that_steps_back_a_little_only_lengthens_the_wait():
    assert Failures(FREE_FAILURES, NOW).wait(NOW - SECOND) == 2 * SECOND
