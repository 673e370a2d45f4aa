"""BreachedPasswords: what attackers are known to try is found, however it is dressed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.passwords import _WELL_KNOWN, LocalPasswordList
from domain.credentials import PASSWORD_MIN

LIST = LocalPasswordList()


@pytest.mark.parametrize(
    "password",
    [
        "correcthorsebatterystaple",
        "Correct Horse Battery Staple",
        "correct-horse-battery-staple",
        "ｃｏｒｒｅｃｔｈｏｒｓｅｂａｔｔｅｒｙｓｔａｐｌｅ",
        "1QAZ2wsx3EDC4rfv",
        "TheQuickBrownFoxJumpsOverTheLazyDog",
        "Qwertyuiop123456",
    ],
)
async def test_a_well_known_password_is_found_in_any_case_width_and_spacing(password):
    assert await LIST.contains(password)


@pytest.mark.parametrize(
    "password", ["", "   ", "!!!!!!!!!!!!!!!!!!", "\ud800", "moss-lantern-orbit-tailor", "correcthorsebatterystapl"]
)
async def test_others_are_not(password):
    assert not await LIST.contains(password)


@given(st.text(alphabet=st.characters(), max_size=300))
async def test_any_text_gets_an_answer(password):
    assert await LIST.contains(password) in {True, False}


def test_the_list_is_worth_asking_beside_the_rule_on_length():
    words = _WELL_KNOWN.split()
    assert len(set(words)) == len(words) >= 60
    assert all(len(word) >= PASSWORD_MIN for word in words)
