"""What is accepted as a name of a person, and when two names are the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, SECOND, a_user
from domain.errors import Conflict, Invalid
from domain.users import (
    DISPLAY_NAME_MAX,
    EMAIL_MAX,
    USERNAME_MAX,
    UserStatus,
    email_key,
    parse_display_name,
    parse_email,
    parse_locale,
    parse_username,
    username_key,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A@x.org", "a@X.ORG"),
        ("zoë@x.org", "zoe\u0308@x.org"),
        ("STRASSE@x.org", "straße@x.org"),
        ("ΣΑΣ@x.org", "σας@x.org"),
        ("İ@x.org", "i\u0307@x.org"),
    ],
)
def test_R16_addresses_that_differ_in_case_or_composition_are_the_same(one, other):
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a.b@x.org", "ab@x.org"), ("a+1@x.org", "a@x.org"), ("ı@x.org", "i@x.org")]
)
def test_addresses_that_differ_in_letters_are_not_the_same(one, other):
    assert email_key(one) != email_key(other)


@given(st.text(max_size=30))
def test_a_key_of_a_key_is_itself(text):
    assert email_key(email_key(text)) == email_key(text)
    assert username_key(username_key(text)) == username_key(text)


@given(st.text(max_size=30))
def test_composition_and_case_never_change_a_key(text):
    for form in ("NFC", "NFD"):
        assert email_key(unicodedata.normalize(form, text)) == email_key(text)
        assert username_key(unicodedata.normalize(form, text)) == username_key(text)
    assert email_key(text.casefold()) == email_key(text)


def test_usernames_that_look_alike_in_width_are_the_same():
    assert username_key("ａｄｍｉｎ") == username_key("Admin")
    assert username_key("ﬁne") == username_key("fine")


@pytest.mark.parametrize(
    "text",
    [
        "a@x",
        "first.last@example.org",
        ".dot@x.org",
        "dot.@x.org",
        "a..b@x.org",
        "李@例え.jp",
        "o'hara+x=1%@x.org",
        '"q"@x',
    ],
)
def test_R06_unusual_addresses_are_kept_as_typed(text):
    assert parse_email(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "@", "a", "a@", "@x.org", "a@b@c", "a b@x.org", "a@x org", "a@x.org\n", "a\x00@x.org", "a\ud800@x.org",
        "a@.x", "a@x.", "a@-x", "a@x-", "a@x..y", "\u202eevil@x.org", "a\u2028@x.org", "a" * 250 + "@x.org",
    ],
)  # fmt: skip
def test_what_cannot_be_an_address_is_refused(text):
    with pytest.raises(Invalid) as refused:
        parse_email(text)
    assert [(f.pointer, f.code) for f in refused.value.fields] == [("/email", "email_malformed")]
    assert len(text) < 3 or text not in str(refused.value)


@given(st.text(max_size=40))
def test_a_parsed_address_is_storable_and_parses_again(text):
    try:
        parsed = parse_email(text)
    except Invalid:
        return
    assert parse_email(parsed) == parsed
    assert len(parsed) <= EMAIL_MAX
    assert "\x00" not in parsed
    parsed.encode()


@pytest.mark.parametrize("parse", [parse_email, parse_username, parse_display_name])
@given(st.text(st.sampled_from("a\u0344\U0001d15e\u0958\ufb2c\u0958é"), min_size=1, max_size=300))
def test_limits_hold_for_what_is_stored_not_for_what_was_typed(parse, text):
    # some characters become several when composed, such as U+1D15E and U+FB2C
    limit = {parse_email: EMAIL_MAX, parse_username: USERNAME_MAX, parse_display_name: DISPLAY_NAME_MAX}[parse]
    try:
        parsed = parse(f"{text}@x.org" if parse is parse_email else text)
    except Invalid:
        return
    assert len(parsed) <= limit


@pytest.mark.parametrize("text", ["", "a@b", "a b", "\t", "x" * (USERNAME_MAX + 1), "nul\x00", "\ud800"])
def test_what_cannot_be_a_username_is_refused(text):
    with pytest.raises(Invalid) as refused:
        parse_username(text)
    assert refused.value.fields[0].code == "username_malformed"


@pytest.mark.parametrize("text", ["x", "x" * USERNAME_MAX, "zoë", "李", "first.last-1_"])
def test_a_username_in_any_script_is_kept(text):
    assert parse_username(text) == text


@pytest.mark.parametrize("text", ["", "  ", "\n", "a\nb", "a\x00b", "\u202eevil", "x" * (DISPLAY_NAME_MAX + 1)])
def test_what_cannot_be_a_display_name_is_refused(text):
    with pytest.raises(Invalid) as refused:
        parse_display_name(text)
    assert refused.value.fields[0].code == "display_name_malformed"


def test_a_display_name_is_trimmed_and_composed():
    assert parse_display_name("  Zoe\u0308 李 O'Hara ") == "Zoë 李 O'Hara"


@pytest.mark.parametrize("text", ["de", "pt-BR", "zh-Hant-TW"])
def test_a_language_tag_is_kept(text):
    assert parse_locale(text) == text


@pytest.mark.parametrize("text", ["", "d", "de_DE", "de-", "x" * 9, "de\n"])
def test_what_is_no_language_tag_is_refused(text):
    with pytest.raises(Invalid) as refused:
        parse_locale(text)
    assert refused.value.fields[0].code == "locale_malformed"


def test_a_change_counts_the_version_and_leaves_the_old_value_alone():
    before = a_user()
    after = before.changed(NOW + SECOND, display_name="New")
    assert (after.version, after.updated_at, after.display_name) == (2, NOW + SECOND, "New")
    assert (before.version, before.updated_at) == (1, NOW)


def test_an_unknown_attribute_is_never_taken():
    with pytest.raises(TypeError):
        a_user().changed(NOW, is_superuser=True)


@pytest.mark.parametrize("status", [UserStatus.ACTIVE, UserStatus.INVITED])
def test_an_account_in_use_can_be_suspended_and_let_back_in(status):
    suspended = a_user(status=status).suspended(NOW)
    assert suspended.status is UserStatus.SUSPENDED
    assert suspended.reactivated(NOW).status is UserStatus.ACTIVE


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.DELETED])
def test_only_an_account_in_use_can_be_suspended(status):
    with pytest.raises(Conflict) as refused:
        a_user(status=status).suspended(NOW)
    assert refused.value.reason_code == "user_status"


@pytest.mark.parametrize("status", [UserStatus.ACTIVE, UserStatus.INVITED, UserStatus.DELETED])
def test_only_a_suspended_account_can_be_let_back_in(status):
    with pytest.raises(Conflict):
        a_user(status=status).reactivated(NOW)


def test_a_purge_wipes_all_personal_data_and_keeps_the_id():
    user = a_user(email="zoë@x.org", username="zoe", display_name="Zoë", locale="de")
    purged = user.purged(NOW + SECOND)
    assert purged.id == user.id
    assert purged.status is UserStatus.DELETED
    assert (purged.username, purged.display_name, purged.locale, purged.email_verified) == (None, None, None, False)
    assert not {"zoë", "zoe", "Zoë"} & set(repr(purged).replace("'", " ").replace("@", " ").split())
    with pytest.raises(Invalid):  # or somebody could take the address first, and stand in the way
        parse_email(purged.email)


@pytest.mark.parametrize(
    "name", ["victim＠example.org", "victim﹫example.org", "a\u3000b", "boss\u2066x", "boss\u200b"]
)
def test_a_username_that_folds_into_an_address_or_hides_something_is_refused(name):
    with pytest.raises(Invalid):
        parse_username(name)


@pytest.mark.parametrize("mark", ["\u200b", "\u2066", "\u200e", "\u061c", "\u202e", "\ufeff"])
def test_an_address_or_name_with_something_invisible_in_it_is_refused(mark):
    for parse, text in ((parse_email, f"roo{mark}t@example.org"), (parse_display_name, f"Zo{mark}ë")):
        with pytest.raises(Invalid):
            parse(text)


def test_a_name_may_hold_the_joiners_that_its_script_needs():
    assert parse_display_name("नमस्\u200dते") == "नमस्\u200dते"
