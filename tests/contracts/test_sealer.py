"""Sealer: what is sealed opens with the same key and context, unchanged, and not otherwise."""

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from adapters.sealing import AesSealer

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
SEALER = AesSealer(KEY)


@given(st.binary(max_size=300), st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_was_sealed_opens(plain, context):
    assert SEALER.open(SEALER.seal(plain, context), context) == plain


@given(st.binary(max_size=60), st.integers(0), st.integers(1, 255))
def test_a_change_to_any_byte_is_noticed(plain, position, difference):
    sealed = bytearray(SEALER.seal(plain, "keys/1"))
    sealed[position % len(sealed)] ^= difference
    with pytest.raises(ValueError, match="seal"):
        SEALER.open(bytes(sealed), "keys/1")


@given(st.binary(max_size=60), st.data())
def test_a_cut_or_lengthened_value_does_not_open(plain, data):
    sealed = SEALER.seal(plain, "keys/1")
    cut = data.draw(st.integers(0, len(sealed) - 1))
    for broken in (sealed[:cut], sealed[cut + 1 :], sealed + b"\0"):
        with pytest.raises(ValueError, match="seal"):
            SEALER.open(broken, "keys/1")


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_value_moved_to_another_place_does_not_open(here, there):
    sealed = SEALER.seal(b"secret", here)
    if here != there:
        with pytest.raises(ValueError, match="another place"):
            SEALER.open(sealed, there)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_do_not_open(raw):
    with pytest.raises(ValueError, match="seal"):
        SEALER.open(raw, "keys/1")


def test_sealing_twice_gives_different_bytes_and_shows_nothing_of_the_secret():
    plain = secrets.token_bytes(40)
    first, second = SEALER.seal(plain, "x"), SEALER.seal(plain, "x")
    assert first[9:] != second[9:]
    assert plain not in first
    assert KEY not in first


def test_the_wrong_key_says_so_without_telling_any_key():
    with pytest.raises(ValueError, match="not the present one") as problem:
        AesSealer(OTHER).open(SEALER.seal(b"secret", "x"), "x")
    assert not any(key.hex() in str(problem.value) or repr(key) in str(problem.value) for key in (KEY, OTHER))


def test_a_key_id_pasted_over_does_not_make_another_key_fit():
    other = AesSealer(OTHER)
    mixed = other.seal(b"", "x")[:9] + SEALER.seal(b"secret", "x")[9:]
    with pytest.raises(ValueError, match="changed"):
        other.open(mixed, "x")


def test_older_keys_still_open_and_the_present_one_seals():
    old = SEALER.seal(b"secret", "x")
    sealer = AesSealer(OTHER, older=[KEY])
    assert sealer.open(old, "x") == b"secret"
    assert AesSealer(OTHER).open(sealer.seal(b"secret", "x"), "x") == b"secret"


def test_the_format_is_the_documented_one_byte_by_byte():
    sealed = SEALER.seal(b"secret", "keys/1")
    key_id = hashlib.sha256(b"hexward/kek-id/1" + KEY).digest()[:8]
    assert sealed[:9] == b"\x01" + key_id
    assert len(sealed) == 1 + 8 + 12 + len(b"secret") + 16
    assert AESGCM(KEY).decrypt(sealed[9:21], sealed[21:], b"\x01" + key_id + b"keys/1") == b"secret"


@pytest.mark.parametrize("key", [b"", b"short", bytes(16), bytes(33)])
def test_a_key_of_another_length_is_refused(key):
    with pytest.raises(ValueError, match="32 bytes"):
        AesSealer(key)
    with pytest.raises(ValueError, match="32 bytes"):
        AesSealer(KEY, older=[key])


def test_no_key_shows_in_a_repr():
    assert repr(SEALER) == "AesSealer(***)"


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_what_was_sealed_under_a_secret_opens_with_it_and_with_nothing_else(plain, secret, other):
    sealed = SEALER.under(secret).seal(plain, "answers")
    assert AesSealer(KEY).under(secret).open(sealed, "answers") == plain
    assert AesSealer(OTHER, older=[KEY]).under(secret).open(sealed, "answers") == plain
    others = [SEALER, AesSealer(OTHER).under(secret), *([SEALER.under(other)] if other != secret else [])]
    for sealer in others:
        with pytest.raises(ValueError, match="seal"):
            sealer.open(sealed, "answers")
