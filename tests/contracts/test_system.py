"""Clock and Secrets of the real system."""

import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.system import RandomSecrets, SystemClock
from builders import NOW, SECOND

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds must be naive
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_now_is_aware_utc_and_right():
    before, now, after = time.time(), SystemClock().now(), time.time()
    assert now.tzinfo is UTC
    assert before - 0.001 <= now.timestamp() <= after + 0.001


async def test_monotonic_measures_how_long_a_sleep_took():
    clock = SystemClock()
    began = clock.monotonic()
    await clock.sleep(0.02)
    assert 0.015 < clock.monotonic() - began < 5


async def test_a_sleep_can_be_cancelled():
    sleeping = asyncio.create_task(SystemClock().sleep(60))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(sleeping, 5)


@given(MOMENTS)
def test_a_uuid_has_the_layout_of_version_7_and_the_millisecond_of_its_moment(moment):
    made = RandomSecrets().uuid(moment)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == (moment - EPOCH) // MILLISECOND
    assert made.int >> 75 & 1 == 0  # half of the counter is left to count into


def test_the_layout_is_that_of_the_example_in_rfc_9562():
    made = RandomSecrets().uuid(datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(-5 * timedelta(hours=1))))
    assert str(made).startswith("017f22e2-79b0-7")  # RFC 9562, A.6


@given(st.lists(MOMENTS, min_size=2, max_size=30))
def test_uuids_ascend_whatever_the_clock_does(moments):
    secrets = RandomSecrets()
    made = [secrets.uuid(moment) for moment in moments]
    assert all(a < b for a, b in itertools.pairwise(made))
    assert all(str(a) < str(b) for a, b in itertools.pairwise(made))


def test_uuids_of_one_millisecond_ascend_by_the_thousand_and_stay_in_it():
    secrets = RandomSecrets()
    made = [secrets.uuid(NOW) for _ in range(20_000)]
    assert made == sorted(set(made))
    assert {m.int >> 80 for m in made} == {(NOW - EPOCH) // MILLISECOND}


def test_a_full_counter_borrows_the_next_millisecond():
    secrets = RandomSecrets()
    first = secrets.uuid(NOW)
    secrets._counter = (1 << 26) - 1  # two to the 25 ids in one millisecond cannot be awaited
    full = secrets.uuid(NOW)
    assert full > first
    assert full.int >> 80 == (NOW - EPOCH) // MILLISECOND + 1
    assert secrets.uuid(NOW + MILLISECOND) > full
    assert secrets.uuid(NOW + SECOND).int >> 80 == (NOW + SECOND - EPOCH) // MILLISECOND


def test_uuids_of_many_threads_are_distinct_and_ascend_in_each():
    secrets = RandomSecrets()
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [secrets.uuid(NOW) for _ in range(1_000)], range(8)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({made for batch in batches for made in batch}) == 8_000


def test_uuids_of_two_processes_in_one_millisecond_differ():
    assert len({RandomSecrets().uuid(NOW) for _ in range(1_000)}) == 1_000


def test_a_time_before_1970_is_refused():
    with pytest.raises(ValueError, match="1970"):
        RandomSecrets().uuid(datetime(1969, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize("size", [0, 1, 32, 100])
def test_tokens_have_the_size_that_was_asked_for(size):
    assert len(RandomSecrets().token(size)) == size


def test_tokens_differ():
    assert len({RandomSecrets().token(16) for _ in range(1_000)}) == 1_000
