"""PasswordHasher: what matches, what it costs, and what happens when too many come at once.

First what the port promises, on any adapter (`--adapter`, see conftest.py); then what is Argon2's own.
"""

import asyncio
import logging
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator

import argon2
import bcrypt
import pytest

from adapters.argon2 import Argon2Hasher
from domain.errors import Invalid, Overloaded, Unavailable
from domain.ports import Verdict

pytestmark = pytest.mark.slow  # Argon2 takes its time by nature
PASSWORD = "moss-lantern-orbit-tailor"
NO = Verdict(matches=False)


@pytest.fixture(scope="module")
def any_hasher(new_hasher):
    """Of the adapter under test."""
    return new_hasher(2, 8)


@pytest.fixture(scope="module")
def hasher() -> Iterator[Argon2Hasher]:
    """Ours."""
    made = Argon2Hasher(threads=2, queue=8)
    yield made
    made.close()


# ------------------------------------------------------------------------------------------ what every adapter promises


async def test_a_password_matches_its_own_hash_only(any_hasher):
    stored = await any_hasher.hash(PASSWORD)
    assert await any_hasher.verify(PASSWORD, stored) == Verdict(matches=True, outdated=False)
    assert await any_hasher.verify(PASSWORD + " ", stored) == NO
    assert await any_hasher.verify("", stored) == NO


async def test_no_two_hashes_are_alike_and_none_holds_the_password(any_hasher):
    hashes = [await any_hasher.hash(PASSWORD) for _ in range(3)]
    assert len(set(hashes)) == 3
    assert all(hash.isascii() and PASSWORD not in hash for hash in hashes)


async def test_the_same_keystrokes_match_on_every_system(any_hasher):
    composed, parted = (unicodedata.normalize(form, "größere Fähre über Ål") for form in ("NFC", "NFD"))
    assert composed != parted
    assert (await any_hasher.verify(parted, await any_hasher.hash(composed))).matches


async def test_R22_the_whole_password_counts(any_hasher):
    for longer in ("a" * 255, "ä" * 255, "abc\0" * 60):
        stored = await any_hasher.hash(longer + "b")
        assert not (await any_hasher.verify(longer + "c", stored)).matches
        assert (await any_hasher.verify(longer + "b", stored)).matches


async def test_lone_surrogates_are_refused_as_a_password_and_match_nothing(any_hasher):
    assert await any_hasher.verify("\ud800", await any_hasher.hash("")) == NO
    with pytest.raises(Invalid):
        await any_hasher.hash("\udfff" * 20)


@pytest.mark.parametrize("stored", ["", PASSWORD, "$unknown$v=1$c2FsdA$aGFzaA", "$", "\ud800", "ä" * 300])
async def test_what_is_no_hash_matches_nothing(any_hasher, stored):
    assert await any_hasher.verify(PASSWORD, stored) == NO


async def test_R07_no_account_never_matches_and_costs_as_much_as_a_wrong_password(any_hasher):
    async def cost(stored: str | None) -> float:
        before = time.process_time()  # of all threads, and of no other process
        assert await any_hasher.verify("wrong", stored) == NO
        return time.process_time() - before

    stored = await any_hasher.hash(PASSWORD)
    assert await any_hasher.verify("", None) == NO
    pairs = [(await cost(stored), await cost(None)) for _ in range(3)]
    wrong, nobody = (min(costs) for costs in zip(*pairs, strict=True))
    assert wrong / 2 <= nobody <= wrong * 2


async def test_R07_passwords_are_hashed_beside_the_loop_and_beside_one_another(any_hasher):
    hashing = asyncio.gather(*(any_hasher.hash(f"{PASSWORD} {n}") for n in range(4)))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    verdicts = await asyncio.gather(*(any_hasher.verify(f"{PASSWORD} {n}", h) for n, h in enumerate(await hashing)))
    assert all(verdict == Verdict(matches=True) for verdict in verdicts)


async def test_R07_who_comes_when_every_place_is_taken_is_shed_at_once(new_hasher):
    hasher = new_hasher(1, 2)
    tasks = [asyncio.create_task(hasher.verify(PASSWORD, None)) for _ in range(3)]
    await asyncio.sleep(0)
    for attempt in (hasher.verify(PASSWORD, None), hasher.hash(PASSWORD)):
        with pytest.raises(Overloaded) as shed:
            await attempt
        assert shed.value.retry_after >= 1
    assert await asyncio.gather(*tasks) == [NO] * 3
    assert await hasher.verify(PASSWORD, None) == NO  # there is room again


async def test_R07_a_caller_that_gives_up_waiting_makes_room(new_hasher):
    hasher = new_hasher(1, 1)
    working, waiting = (asyncio.create_task(hasher.verify(PASSWORD, None)) for _ in range(2))
    await asyncio.sleep(0)
    for _ in range(20):
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiting = asyncio.create_task(hasher.verify(PASSWORD, None))
        await asyncio.sleep(0)
    assert await asyncio.gather(working, waiting) == [NO] * 2


# --------------------------------------------------------------------------------------------------------- Argon2's own


def a_bcrypt_hash(password: bytes, prefix: str = "$2b$") -> str:
    """As cheap as bcrypt can be."""
    return prefix + bcrypt.hashpw(password, b"$2b$04$OhG8BLofzL3ROoliNfZ7lO").decode()[4:]


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of slow comparisons that were really made."""
    made: list[str] = []
    argon2_verify, bcrypt_check = argon2.PasswordHasher.verify, bcrypt.checkpw

    def note_argon2(self, hash, password):
        made.append("argon2")
        return argon2_verify(self, hash, password)

    def note_bcrypt(password, hash):
        made.append("bcrypt")
        return bcrypt_check(password, hash)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", note_argon2)
    monkeypatch.setattr(bcrypt, "checkpw", note_bcrypt)
    return made


async def test_a_hash_is_argon2id_with_the_parameters_of_the_design(hasher):
    stored = await hasher.hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored != await hasher.hash(PASSWORD)


async def test_a_hash_of_other_parameters_matches_and_is_outdated(hasher):
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    assert await hasher.verify(PASSWORD, weaker.hash(PASSWORD)) == Verdict(matches=True, outdated=True)
    assert await hasher.verify("wrong", weaker.hash(PASSWORD)) == NO
    other_kind = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=argon2.Type.I)
    assert await hasher.verify(PASSWORD, other_kind.hash(PASSWORD)) == Verdict(matches=True, outdated=True)


async def test_R07_no_account_costs_a_comparison_and_never_matches(hasher, comparisons):
    for password in (PASSWORD, "", "\ud800"):
        assert await hasher.verify(password, None) == NO
    assert comparisons == ["argon2"] * 3


async def test_lone_surrogates_match_nothing_and_crash_nothing(hasher, comparisons):
    stored = await hasher.hash("")
    assert await hasher.verify("\ud800", stored) == NO
    assert await hasher.verify("\ud800", a_bcrypt_hash(b"")) == NO
    assert comparisons == ["argon2", "bcrypt"]
    with pytest.raises(Invalid):
        await hasher.hash("\udfff" * 20)


# ------------------------------------------------------------------------------------------------------- foreign hashes


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_a_bcrypt_hash_matches_and_is_outdated(hasher, prefix):
    stored = a_bcrypt_hash(PASSWORD.encode(), prefix)
    assert await hasher.verify(PASSWORD, stored) == Verdict(matches=True, outdated=True)
    assert await hasher.verify(PASSWORD + "x", stored) == NO


async def test_bcrypt_gets_the_password_as_it_was_typed(hasher):
    parted = unicodedata.normalize("NFD", "größere Fähre über Ål")
    stored = a_bcrypt_hash(parted.encode())
    assert (await hasher.verify(parted, stored)).matches
    assert not (await hasher.verify(unicodedata.normalize("NFC", parted), stored)).matches


async def test_R22_a_password_that_bcrypt_would_cut_short_never_matches(hasher, comparisons):
    stored = a_bcrypt_hash(b"a" * 72)
    assert (await hasher.verify("a" * 72, stored)).matches
    assert await hasher.verify("a" * 73, stored) == NO
    assert await hasher.verify("a" * 72 + "different", stored) == NO
    assert await hasher.verify("ä" * 36 + "a", a_bcrypt_hash("ä".encode() * 36)) == NO  # 73 bytes, 37 characters
    assert comparisons == ["bcrypt"] * 4  # it costs the same


async def test_R22_what_comes_after_a_nul_counts(hasher, comparisons):
    assert await hasher.verify("abc\0def", a_bcrypt_hash(b"abc")) == NO
    assert await hasher.verify("\0", a_bcrypt_hash(b"")) == NO
    assert comparisons == ["bcrypt"] * 2


SALT_AND_SUM = a_bcrypt_hash(b"any")[7:]


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "plain-text-password",
        PASSWORD,
        "$2b$04$short",
        "$2x$04$" + SALT_AND_SUM,
        "$2b$03$" + SALT_AND_SUM,
        "$2b$17$" + SALT_AND_SUM,  # would run for seconds, and one of cost 31 for days
        "$2b$04$" + SALT_AND_SUM + "\n",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",  # salt and sum are too short
        "$argon2id$v=19$m=19456,t=2,p=1$!!!!$????",
        "$argon2id$v=19$m=4294967295,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",  # would take four terabytes
        "$argon2id$v=19$m=65536,t=129,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",  # would run for seconds
        "$argon2id$v=19$m=x,t=2,p=1$c2FsdA$aGFzaA",
        "$argon2id$",
        "$pbkdf2-sha256$29000$abc$def",
        "$argon2id$v=19$m=19456,t=2,p=1$ä$ö",
        "\ud800",
    ],
)
async def test_a_broken_unknown_or_ruinous_hash_matches_nothing_costs_the_same_and_is_not_logged(
    hasher, comparisons, caplog, stored
):
    with caplog.at_level(logging.WARNING):
        assert await asyncio.wait_for(hasher.verify(PASSWORD, stored), 10) == NO
    assert comparisons[-1] == "argon2"
    assert [record.name for record in caplog.records] == ["adapters.argon2"]
    message = caplog.records[0].getMessage()
    assert not stored or (stored not in message and caplog.records[0].exc_info is None)


# ------------------------------------------------------------------------------------------------------------- the pool


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once it holds, which threads bring about."""
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


class Stage:
    """Holds hashing threads in the middle of a real bcrypt comparison until the test lets them go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[bytes] = []
        self.threads: set[str] = set()
        self._go = threading.Event()
        check = bcrypt.checkpw

        def held(password, hash):
            self.begun.append(password)
            self.threads.add(threading.current_thread().name)
            assert self._go.wait(10)
            return check(password, hash)

        monkeypatch.setattr(bcrypt, "checkpw", held)

    def open(self) -> None:
        self._go.set()

    async def until_begun(self, count: int) -> None:
        await eventually(lambda: len(self.begun) >= count)


@pytest.fixture
def stage(monkeypatch) -> Iterator[Stage]:
    made = Stage(monkeypatch)
    yield made
    made.open()


@pytest.fixture
def small(stage) -> Iterator[Argon2Hasher]:
    """One thread, and room for two that wait."""
    made = Argon2Hasher(threads=1, queue=2)
    yield made
    stage.open()
    made.close()


async def gauges(hasher: Argon2Hasher, running: int, waiting: int) -> None:
    await eventually(lambda: (hasher.running, hasher.waiting) == (running, waiting))


STORED = a_bcrypt_hash(b"1")


async def test_R07_who_comes_when_the_queue_is_full_is_shed_at_once(small, stage):
    tasks = [asyncio.create_task(small.verify(str(n), STORED)) for n in range(3)]
    await stage.until_begun(1)
    await gauges(small, running=1, waiting=2)
    for attempt in (small.verify("late", STORED), small.verify("late", None), small.hash("late")):
        with pytest.raises(Overloaded) as shed:
            await asyncio.wait_for(attempt, 5)  # and not after the ten seconds that the stage would wait
        assert shed.value.retry_after == 1
    stage.open()
    assert [verdict.matches for verdict in await asyncio.gather(*tasks)] == [False, True, False]
    await gauges(small, running=0, waiting=0)
    assert await small.verify("late", STORED) == NO


async def test_R07_a_full_pool_has_threads_of_its_own(small, stage):
    tasks = [asyncio.create_task(small.verify(str(n), STORED)) for n in range(3)]
    await stage.until_begun(1)
    await asyncio.wait_for(asyncio.to_thread(bool), 5)  # the loop's own threads are free for others
    stage.open()
    await asyncio.gather(*tasks)
    assert all(name.startswith("hashing") for name in stage.threads)


async def test_a_caller_that_gives_up_waiting_makes_room_and_is_not_served(small, stage):
    tasks = [asyncio.create_task(small.verify(str(n), STORED)) for n in range(3)]
    await stage.until_begun(1)
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    await gauges(small, running=1, waiting=1)
    fourth = asyncio.create_task(small.verify("3", STORED))
    await gauges(small, running=1, waiting=2)
    stage.open()
    await asyncio.gather(tasks[0], tasks[2], fourth)
    assert sorted(stage.begun) == [b"0", b"2", b"3"]
    await gauges(small, running=0, waiting=0)


async def test_a_comparison_that_runs_keeps_its_place_until_it_ends(small, stage):
    tasks = [asyncio.create_task(small.verify(str(n), STORED)) for n in range(3)]
    await stage.until_begun(1)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert (small.running, small.waiting) == (1, 2)
    with pytest.raises(Overloaded):
        await small.verify("late", STORED)
    stage.open()
    await asyncio.gather(*tasks[1:])
    await gauges(small, running=0, waiting=0)


async def test_callers_that_give_up_by_the_hundred_leave_nothing_behind(small, stage):
    first = asyncio.create_task(small.verify("0", STORED))
    await stage.until_begun(1)
    for n in range(200):
        given_up = asyncio.create_task(small.verify(f"x{n}", STORED))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    assert (small.running, small.waiting) == (1, 0)
    stage.open()
    await first
    assert await small.verify("1", STORED) == Verdict(matches=True, outdated=True)
    assert stage.begun == [b"0", b"1"]


async def test_closing_finishes_what_runs_and_refuses_the_rest(small, stage):
    tasks = [asyncio.create_task(small.verify(str(n), STORED)) for n in range(2)]
    await stage.until_begun(1)
    await gauges(small, running=1, waiting=1)
    closing = asyncio.create_task(asyncio.to_thread(small.close))
    with pytest.raises(Unavailable):
        await tasks[1]
    stage.open()
    assert await tasks[0] == NO
    await closing
    with pytest.raises(Unavailable):
        await small.hash(PASSWORD)
    small.close()  # twice is no error


async def test_a_caller_that_gives_up_while_the_pool_closes_is_cancelled_like_any_other(small, stage):
    running = asyncio.create_task(small.verify("0", STORED))
    await stage.until_begun(1)
    closing = asyncio.create_task(asyncio.to_thread(small.close))
    with pytest.raises(Unavailable):
        await small.verify("late", STORED)  # refused as soon as the pool closes
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    stage.open()
    await closing


async def test_many_real_hashes_beside_one_another_all_end(hasher):
    hashes = await asyncio.gather(*(hasher.hash(f"{PASSWORD} {n}") for n in range(6)))
    verdicts = await asyncio.gather(*(hasher.verify(f"{PASSWORD} {n}", hash) for n, hash in enumerate(hashes)))
    assert all(verdict == Verdict(matches=True) for verdict in verdicts)
    assert (hasher.running, hasher.waiting) == (0, 0)


@pytest.mark.parametrize(("threads", "queue"), [(0, 1), (-1, 1), (1, -1)])
def test_a_pool_needs_a_thread(threads, queue):
    with pytest.raises(ValueError, match="at least one thread"):
        Argon2Hasher(threads=threads, queue=queue)
