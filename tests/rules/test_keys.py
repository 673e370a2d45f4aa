"""Keys pass from state to state by time alone, and hand over without a gap."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_key
from domain.clients import FAMILY_LIFETIME
from domain.errors import Conflict
from domain.keys import JWKS_MAX_AGE, LEAD, LINGER, ROTATE_AFTER, KeyState, KeyUse, active, due, revoke, succeed


def successor(use, now):
    return a_key(use, created_at=now, activates_at=now + LEAD[use])


def rotated(keys, fresh):
    saved = {k.id: k for k in keys} | {k.id: k for k in succeed(keys, fresh)}
    return list(saved.values())


def test_a_key_is_next_then_active_then_retiring_then_retired():
    key = a_key(created_at=NOW - DAY, superseded_at=NOW + DAY)
    gone = NOW + DAY + LINGER[KeyUse.SIGN]
    moments = [NOW - SECOND, NOW, NOW + DAY - SECOND, NOW + DAY, gone - SECOND, gone]
    assert [key.state(at) for at in moments] == [
        KeyState.NEXT,
        KeyState.ACTIVE,
        KeyState.ACTIVE,
        KeyState.RETIRING,
        KeyState.RETIRING,
        KeyState.RETIRED,
    ]
    assert [key.usable(at) for at in moments] == [True, True, True, True, True, False]


@pytest.mark.parametrize("at", [NOW - DAY, NOW, NOW + 400 * DAY])
def test_a_revoked_key_is_good_for_nothing_at_any_time(at):
    key = a_key(revoked_at=NOW)
    assert key.state(at) is KeyState.REVOKED
    assert not key.usable(at)
    assert active([key], KeyUse.SIGN, at) is None


def test_a_key_never_superseded_stays_active():
    assert a_key().state(NOW + 10_000 * DAY) is KeyState.ACTIVE


def test_keys_of_another_use_never_sign():
    assert active([a_key(KeyUse.REFRESH)], KeyUse.SIGN, NOW) is None


def test_rotation_supersedes_every_key_of_that_use_and_no_other():
    sign, refresh, revoked = a_key(), a_key(KeyUse.REFRESH), a_key(revoked_at=NOW)
    fresh = successor(KeyUse.SIGN, NOW)
    assert succeed([sign, refresh, revoked], fresh) == [replace(sign, superseded_at=fresh.activates_at), fresh]


def test_the_first_key_supersedes_nothing():
    fresh = a_key()
    assert succeed([], fresh) == [fresh]
    assert active([fresh], KeyUse.SIGN, NOW) == fresh


def test_a_second_rotation_waits_until_the_first_has_taken_over():
    first = successor(KeyUse.SIGN, NOW)
    keys = rotated([a_key()], first)
    with pytest.raises(Conflict) as refused:
        succeed(keys, successor(KeyUse.SIGN, first.activates_at - SECOND))
    assert refused.value.reason_code == "key_rotation_pending"
    assert succeed(keys, successor(KeyUse.SIGN, first.activates_at))


def test_when_the_active_key_is_revoked_the_waiting_one_still_takes_its_turn():
    fresh = successor(KeyUse.SIGN, NOW)
    keys = [replace(k, revoked_at=NOW) if k.id != fresh.id else k for k in rotated([a_key()], fresh)]
    assert active(keys, KeyUse.SIGN, NOW) is None
    assert active(keys, KeyUse.SIGN, fresh.activates_at) == fresh


@given(st.sampled_from(KeyUse), st.lists(st.integers(0, 400 * 86_400), max_size=6))
def test_through_any_series_of_rotations_exactly_one_key_is_active_at_every_moment(use, gaps):
    keys, now, edges = [a_key(use)], NOW, [NOW]
    for gap in gaps:
        now += gap * SECOND
        fresh = successor(use, now)
        try:
            keys = rotated(keys, fresh)
        except Conflict:
            continue
        edges += [now, fresh.activates_at]
    for edge in edges:
        for at in (edge, edge - timedelta(microseconds=1), edge + timedelta(microseconds=1)):
            if at >= NOW:
                assert [k.state(at) for k in keys].count(KeyState.ACTIVE) == 1
                assert active(keys, use, at).state(at) is KeyState.ACTIVE


@given(st.sampled_from(KeyUse), st.lists(st.integers(0, 400 * 86_400), min_size=1, max_size=6))
def test_every_key_is_published_before_its_first_use_and_until_what_it_signed_has_expired(use, gaps):
    keys, now = [a_key(use)], NOW
    for gap in gaps:
        now += gap * SECOND
        try:
            keys = rotated(keys, successor(use, now))
        except Conflict:
            continue
    for key in keys[1:]:
        assert key.usable(key.created_at)
        assert key.activates_at - key.created_at >= LEAD[use]
    for key in keys:
        if key.superseded_at is not None:
            assert key.usable(key.superseded_at + LINGER[use] - SECOND)
            assert not key.usable(key.superseded_at + LINGER[use])


def test_a_signing_key_is_published_for_longer_than_a_verifier_may_cache():
    assert LEAD[KeyUse.SIGN] > JWKS_MAX_AGE


def test_a_key_of_refresh_tokens_verifies_as_long_as_any_family_lives():
    assert LINGER[KeyUse.REFRESH] >= FAMILY_LIFETIME


def test_a_sealed_secret_never_shows_in_a_repr():
    assert "sealed" not in repr(a_key())


@pytest.mark.parametrize("use", KeyUse)
def test_a_waiting_key_that_is_revoked_gives_the_office_back(use):
    first = a_key(use, created_at=NOW - DAY, activates_at=NOW - DAY)
    waiting = successor(use, NOW)
    keys = rotated([first], waiting)
    saved = {k.id: k for k in keys} | {k.id: k for k in revoke(keys, waiting.id, NOW + SECOND)}
    assert active(saved.values(), use, NOW + 100 * DAY) == first
    assert saved[waiting.id].state(NOW + SECOND) is KeyState.REVOKED
    succeed(saved.values(), successor(use, NOW + DAY))  # and it can be rotated again


@pytest.mark.parametrize("use", KeyUse)
def test_a_server_whose_clock_lags_leaves_no_gap_when_it_revokes_the_waiting_key(use):
    first = a_key(use, created_at=NOW, activates_at=NOW)
    waiting = successor(use, NOW + SECOND)
    keys = rotated([first], waiting)
    saved = {k.id: k for k in keys} | {k.id: k for k in revoke(keys, waiting.id, NOW - 10 * SECOND)}
    assert active(saved.values(), use, NOW + DAY).id == first.id


@pytest.mark.parametrize("use", KeyUse)
def test_an_active_key_that_is_revoked_makes_room_for_the_waiting_one_at_once(use):
    first = a_key(use, created_at=NOW - DAY, activates_at=NOW - DAY)
    waiting = successor(use, NOW)
    keys = rotated([first], waiting)
    saved = {k.id: k for k in keys} | {k.id: k for k in revoke(keys, first.id, NOW + SECOND)}
    assert active(saved.values(), use, NOW + SECOND).id == waiting.id


@pytest.mark.parametrize("use", KeyUse)
def test_a_key_is_due_by_age_or_where_none_serves_and_not_while_a_successor_waits(use):
    key = a_key(use, created_at=NOW, activates_at=NOW)
    old = NOW + ROTATE_AFTER[use]
    assert due([], use, NOW)
    assert not due([key], use, old - SECOND)
    assert due([key], use, old)
    assert not due(rotated([key], successor(use, old)), use, old)
    assert due(revoke([key], key.id, NOW), use, NOW)
