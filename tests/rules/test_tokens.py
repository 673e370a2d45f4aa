"""A refresh token says what it was written with, or nothing."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidGrant
from domain.sessions import FamilyId
from domain.tokens import PREFIX, RefreshToken, TokenSet, read_refresh_token, write_refresh_token

KEY = bytes(range(32))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
tokens = st.builds(
    RefreshToken,
    family_id=st.uuids().map(FamilyId),
    counter=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**32 - 1),
    key_id=st.binary(min_size=8, max_size=8).map(bytes.hex),
)
keys = st.binary(min_size=32, max_size=32)
SAMPLE = RefreshToken(FamilyId(UUID(int=7)), 3, 1, "0123456789abcdef")


def read(text, key=KEY):
    return read_refresh_token(text, lambda _: key)


@given(tokens, keys)
def test_a_token_reads_back_as_written_and_is_written_the_same_again(token, key):
    text = write_refresh_token(token, key)
    assert read_refresh_token(text, {token.key_id: key}.get) == token
    assert write_refresh_token(token, key) == text


@given(tokens, st.data())
def test_a_single_flipped_bit_is_refused(token, data):
    raw = bytearray(base64.urlsafe_b64decode(_padded(write_refresh_token(token, KEY))))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidGrant):
        read(PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(tokens, st.data())
def test_a_single_changed_character_is_refused_the_unused_bits_of_the_last_one_included(token, data):
    text = write_refresh_token(token, KEY)
    at = data.draw(st.one_of(st.just(len(text) - 1), st.integers(0, len(text) - 1)))
    other = data.draw(st.sampled_from([c for c in ALPHABET + "+/=.é \n" if c != text[at]]))
    with pytest.raises(InvalidGrant):
        read(text[:at] + other + text[at + 1 :])


@given(tokens, st.data())
def test_a_truncated_or_lengthened_token_is_refused(token, data):
    text = write_refresh_token(token, KEY)
    cut = data.draw(st.integers(0, len(text) - 1))
    extra = data.draw(st.text(ALPHABET + "=\n ", min_size=1, max_size=4))
    for wrong in (text[:cut], text[cut + 1 :], text + extra, extra + text):
        with pytest.raises(InvalidGrant):
            read(wrong)


@given(tokens, keys, keys)
def test_a_token_under_another_key_is_refused(token, key, other):
    if key == other:
        return
    with pytest.raises(InvalidGrant):
        read(write_refresh_token(token, key), other)


@given(st.text(max_size=120))
def test_any_other_text_is_refused(text):
    with pytest.raises(InvalidGrant):
        read(text)


@given(st.binary(min_size=69, max_size=69))
def test_random_bytes_of_the_right_length_are_refused(raw):
    with pytest.raises(InvalidGrant):
        read(PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


def test_a_token_of_an_unknown_key_is_refused_without_an_answer_to_what_was_wrong():
    text = write_refresh_token(SAMPLE, KEY)
    with pytest.raises(InvalidGrant) as unknown:
        read_refresh_token(text, lambda _: None)
    with pytest.raises(InvalidGrant) as forged:
        read(text, bytes(32))
    assert str(unknown.value) == str(forged.value)
    assert text not in str(unknown.value)


def test_generations_of_one_family_look_nothing_alike_behind_their_common_part():
    texts = {write_refresh_token(RefreshToken(SAMPLE.family_id, n, 1, SAMPLE.key_id), KEY)[-40:] for n in range(100)}
    assert len(texts) == 100


def test_tokens_never_show_in_a_repr():
    assert repr(TokenSet("access", 300, "refresh", "scope")) == "TokenSet(***)"


def _padded(text):
    encoded = text.removeprefix(PREFIX)
    return encoded + "=" * (-len(encoded) % 4)
