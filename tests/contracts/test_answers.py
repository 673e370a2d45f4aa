"""Answers: one request a key is at work at a time, and its answer stays until it expires."""

import asyncio
from datetime import timedelta

import pytest

from builders import NOW, SECOND
from contracts.steps import Mishap, within
from domain.errors import Conflict
from domain.idempotency import KEPT, Answered

ID = bytes(range(32))
OTHER = bytes(range(1, 33))


def an_answer(id=ID, sealed=b"sealed", expires_at=NOW + KEPT):
    return Answered(id, b"f" * 32, sealed, expires_at)


async def test_what_was_answered_is_found_under_its_id_alone(store):
    assert await within(store, store.answers.claim(ID, NOW)) is None
    await within(store, store.answers.claim(ID, NOW), store.answers.add(an_answer(), NOW))
    assert await within(store, store.answers.claim(ID, NOW + KEPT - SECOND)) == an_answer()
    assert await within(store, store.answers.claim(OTHER, NOW)) is None


async def test_an_expired_answer_is_none_and_can_be_replaced(store):
    await within(store, store.answers.claim(ID, NOW), store.answers.add(an_answer(), NOW))
    assert await within(store, store.answers.claim(ID, NOW + KEPT)) is None
    fresh = an_answer(sealed=b"fresh", expires_at=NOW + 2 * KEPT)
    await within(store, store.answers.claim(ID, NOW + KEPT), store.answers.add(fresh, NOW))
    assert await within(store, store.answers.claim(ID, NOW + KEPT)) == fresh


async def test_a_transaction_that_fails_leaves_neither_answer_nor_claim(store):
    async def mishap():
        raise Mishap

    with pytest.raises(Mishap):
        await within(store, store.answers.claim(ID, NOW), store.answers.add(an_answer(), NOW), mishap())
    assert await within(store, store.answers.claim(ID, NOW)) is None


async def test_of_many_at_once_one_is_at_work_and_the_others_wait_or_are_told(store):
    at_work = 0

    async def use():
        nonlocal at_work
        try:
            async with store.transaction():
                if (found := await store.answers.claim(ID, NOW)) is not None:
                    return found
                at_work += 1
                await asyncio.sleep(0.05)
                await store.answers.add(an_answer(), NOW)
        except Conflict as conflict:
            return conflict.reason_code

    outcomes = await asyncio.gather(*(use() for _ in range(8)))
    assert at_work == 1
    assert outcomes.count(None) == 1
    assert set(outcomes) - {None, "idempotency_key_in_use"} <= {an_answer()}
    assert await use() == an_answer()


async def test_a_claim_says_no_word_about_other_ids(store):
    async with store.transaction():
        assert await store.answers.claim(ID, NOW) is None
        assert await store.answers.claim(OTHER, NOW) is None


async def test_expired_answers_make_room_and_others_stay(store):
    old = [number.to_bytes(32) for number in range(150)]
    long_ago = NOW - timedelta(days=3650)
    await within(store, *(store.answers.add(an_answer(id, expires_at=long_ago), NOW) for id in old))
    await within(store, store.answers.add(an_answer(), NOW))
    for number in range(100):
        id = (1000 + number).to_bytes(32)
        await within(store, store.answers.claim(id, NOW), store.answers.add(an_answer(id, expires_at=long_ago), NOW))
    # what has expired is never found, swept or not; what has not is found
    assert await within(store, store.answers.claim(ID, NOW)) == an_answer()
    assert await within(store, store.answers.claim(old[0], NOW)) is None
