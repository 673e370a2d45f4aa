"""Upkeep in PostgreSQL: whole months of audit events go and nothing else does, beside everybody's work."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from adapters.postgres.database import Database
from adapters.postgres.store import PostgresStore
from adapters.postgres.urls import connect
from builders import DAY, NOW, SECOND, a_code, a_family, a_session, a_user, an_event
from contracts.postgres_cluster import VERSIONS, start_cluster
from contracts.steps import at_once, beside, finished, within
from domain.sessions import EndReason
from domain.upkeep import Leftover, Removed

pytestmark = pytest.mark.postgres

FIRST = "hexward.first_uuid_of('{}-01T00:00:00Z')"


@pytest.fixture(params=VERSIONS, ids=lambda version: f"postgres{version}")
async def site(request):
    """A migrated database: the ports as the service has them, and how its owner speaks."""
    cluster = start_cluster(request.param)
    name = await cluster.create_database()
    owner = await connect(cluster.owner_url(name), settings={})
    database = Database(cluster.service_url(name))
    yield PostgresStore.on(database), owner
    await owner.close()
    await database.close()
    await cluster.drop_database(name)


async def make_month(owner, first, after, name=None):
    """A partition for the months from `first` to before `after`, such as 2020-01 and 2020-02."""
    name = name or f"audit_events_{first.replace('-', '_')}"
    low, high = [await owner.fetchval("SELECT " + FIRST.format(month)) for month in (first, after)]
    await owner.execute(
        f"CREATE TABLE hexward.{name} PARTITION OF hexward.audit_events FOR VALUES FROM ('{low}') TO ('{high}')"
    )
    return name


async def months(owner):
    rows = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'hexward'::regnamespace AND relkind = 'r' "
        "AND relname ~ '^audit_events_' ORDER BY relname"
    )
    return [row["relname"].removeprefix("audit_events_") for row in rows]


async def call(store, before):
    """As whoever has taken the service over would call the function."""
    async with store.transaction():
        row = await store.transaction.row(text(f"SELECT hexward.drop_audit_partitions({before}) AS count"))
        return row["count"]


def drop(store, now, kept=31 * DAY):
    return within(store, store.upkeep.drop_audit_month(now, kept))


async def test_whole_months_go_one_by_one_with_the_oldest_first_and_younger_ones_stay(site):
    store, owner = site
    as_made = await months(owner)
    for first, after in (("2020-02", "2020-03"), ("2019-12", "2020-01"), ("2020-01", "2020-02")):
        await make_month(owner, first, after)
    event = an_event(datetime(2020, 2, 3, tzinfo=UTC))
    await within(store, store.audit.append(event))
    ends = datetime(2020, 3, 1, tzinfo=UTC)  # of February
    assert await drop(store, ends - SECOND + 31 * DAY) == Removed(1, more=True)
    assert "2019_12" not in await months(owner)
    assert await drop(store, ends - SECOND + 31 * DAY) == Removed(1)
    assert await drop(store, ends - SECOND + 31 * DAY) == Removed(0)
    assert await within(store, store.audit.find(event.id)) == event
    assert await drop(store, ends + 31 * DAY) == Removed(1)
    assert await within(store, store.audit.find(event.id)) is None
    assert await months(owner) == as_made


async def test_a_worker_whose_clock_runs_ahead_drops_no_younger_months_for_that(site):
    store, owner = site
    before = await months(owner)
    assert await drop(store, datetime.now(UTC) + 3650 * DAY, kept=30 * DAY) == Removed(0)
    assert await months(owner) == before


@pytest.mark.parametrize(
    "before", ["now()", "now() - interval '30 days' + interval '1 minute'", "'infinity'", "'2999-01-01'", "NULL"]
)
async def test_the_service_cannot_drop_what_is_younger_than_30_days_whatever_it_asks_for(site, before):
    store, owner = site
    as_made = await months(owner)
    with pytest.raises(DBAPIError, match="last 30 days"):
        await call(store, before)
    assert await months(owner) == as_made


@pytest.mark.parametrize("before", ["'-infinity'", "'1900-01-01'", "'1970-01-01'", "'0044-03-15 BC'"])
async def test_a_moment_of_long_ago_drops_nothing(site, before):
    """A moment before 1970 has no UUIDv7; one made of it all the same would be later than all others."""
    store, owner = site
    await make_month(owner, "2020-01", "2020-02")
    as_made = await months(owner)
    assert await call(store, before) == 0
    assert await months(owner) == as_made


async def test_what_a_partition_holds_is_told_by_its_bounds_and_not_by_its_name(site):
    store, owner = site
    this_month = datetime.now(UTC)
    await owner.execute(f"ALTER TABLE hexward.audit_events_{this_month:%Y_%m} RENAME TO audit_events_2020_01")
    await make_month(owner, "2019-01", "2019-02", name="audit_events_archive")
    assert await call(store, "now() - interval '31 days'") == 1
    assert await call(store, "now() - interval '31 days'") == 0
    left = await months(owner)
    assert "2020_01" in left
    assert "archive" not in left
    assert "default" in left


async def test_things_that_the_service_makes_itself_do_not_mislead_the_function(site):
    """It runs with the owner's rights: nothing of the caller's may stand in for what it looks at."""
    store, owner = site
    as_made = await months(owner)
    await make_month(owner, "2020-01", "2020-02")
    async with store.transaction():
        current = f"audit_events_{datetime.now(UTC):%Y_%m}"
        misleading = (
            f"CREATE TEMPORARY VIEW pg_class AS SELECT oid, CAST('{current}' AS name) AS relname, relpartbound "
            "FROM pg_catalog.pg_class WHERE relname = 'audit_events_2020_01'"
        )
        await store.transaction.execute(text(misleading))
        await store.transaction.execute(text("SET LOCAL search_path = pg_temp, pg_catalog"))
        await store.transaction.execute(text("SELECT hexward.drop_audit_partitions(now() - interval '31 days')"))
    assert await months(owner) == as_made


async def test_only_the_service_may_call_the_functions(site):
    _, owner = site
    may = await owner.fetch(
        "SELECT p.proname, p.prosecdef, p.proconfig, has_function_privilege('hexward_service', p.oid, 'EXECUTE') AS "
        "service, EXISTS (SELECT FROM aclexplode(p.proacl) WHERE grantee = 0) OR p.proacl IS NULL AS everybody "
        "FROM pg_proc p WHERE pronamespace = 'hexward'::regnamespace"
    )
    told = {row["proname"]: row for row in may}
    assert not any(row["everybody"] for row in may)
    assert all("search_path=pg_catalog, pg_temp" in row["proconfig"] for row in may)
    assert told["drop_audit_partitions"]["prosecdef"]
    assert {name for name, row in told.items() if row["service"]} == {
        "ensure_audit_partitions", "drop_audit_partitions", "audit_partitions_over",
    }  # fmt: skip


async def test_a_trail_that_is_in_use_is_not_waited_for_and_new_events_wait_little(site):
    store, owner = site
    await make_month(owner, "2020-01", "2020-02")
    await make_month(owner, "2020-02", "2020-03")
    long_reader = owner.transaction()
    await long_reader.start()
    await owner.fetch("SELECT FROM hexward.audit_events")
    dropping = beside(drop(store, datetime.now(UTC)))
    await asyncio.sleep(0.02)
    await finished(beside(within(store, store.audit.append(an_event()))))
    assert await finished(dropping) == Removed(0, more=True)
    [config] = await owner.fetch("SELECT proconfig FROM pg_proc WHERE proname = 'drop_audit_partitions'")
    assert "lock_timeout=100ms" in config["proconfig"]
    await long_reader.rollback()
    assert await drop(store, datetime.now(UTC)) == Removed(1, more=True)


async def test_events_go_on_being_written_while_months_are_dropped(site):
    store, owner = site
    for month in range(1, 12):
        await make_month(owner, f"2020-{month:02}", f"2020-{month + 1:02}")
    over, written = asyncio.Event(), []

    async def writer():
        while not over.is_set():
            event = an_event(datetime.now(UTC))
            await within(store, store.audit.append(event))
            written.append(event)

    async def dropper():
        dropped = 0
        while dropped < 11:
            dropped += (await drop(store, datetime.now(UTC))).count
        over.set()

    assert await at_once(*(writer() for _ in range(4)), dropper()) == [None] * 5
    async with store.transaction():
        assert all([await store.audit.find(event.id) is not None for event in written])
    assert len(written) >= 11


async def signed_in(store, families=1, **changes):
    user = a_user()
    session = a_session(user, **changes)
    chains = [a_family(session) for _ in range(families)]
    await within(store, store.users.add(user), store.sessions.add(session))
    await within(store, *(store.families.add(family) for family in chains))
    return session, chains


async def test_what_somebody_holds_is_passed_by_and_goes_another_time(site):
    store, owner = site
    _, [_, chain] = await signed_in(store, families=2, expires_at=NOW)
    free, _ = await signed_in(store, expires_at=NOW + SECOND)
    locked, _ = await signed_in(store, expires_at=NOW - SECOND)
    somebody = owner.transaction()
    await somebody.start()
    await owner.execute("SELECT FROM hexward.families WHERE id = $1 FOR UPDATE", chain.id)
    await owner.execute("SELECT FROM hexward.sessions WHERE id = $1 FOR UPDATE", locked.id)
    removal = beside(within(store, store.upkeep.remove(Leftover.SESSIONS, NOW + DAY, 2)))
    assert await finished(removal) == Removed(1, more=True)
    async with store.transaction():
        assert await store.sessions.find(free.id) is None
        assert await store.families.find(chain.id) == chain
    await somebody.rollback()
    assert await within(store, store.upkeep.remove(Leftover.SESSIONS, NOW + DAY, 10)) == Removed(2)


async def test_a_value_that_somebody_uses_is_passed_by_and_holds_up_no_other_that_comes(site):
    store, _ = site
    old, free = a_code(), a_code()
    later = old.expires_at + 30 * DAY
    await within(store, store.one_time_values.add(old), store.one_time_values.add(free))
    async with store.transaction():
        assert await store.one_time_values.redeem(old.kind, old.hash, NOW, None)
        fresh = a_code(created_at=later, expires_at=later + DAY)
        await finished(beside(within(store, store.one_time_values.add(fresh))))  # which makes room
        removal = beside(within(store, store.upkeep.remove(Leftover.ONE_TIME_VALUES, later, 10)))
        assert await finished(removal) == Removed(0)
    async with store.transaction():
        left = [await store.one_time_values.find(value.kind, value.hash) is not None for value in (old, free, fresh)]
    assert left == [True, False, True]
    assert await within(store, store.upkeep.remove(Leftover.ONE_TIME_VALUES, later, 10)) == Removed(1)


@pytest.mark.slow
async def test_sessions_can_be_ended_while_they_are_removed(site):
    """What ends a session holds its families first and then the session; the removal must not wait the other way."""
    store, _ = site
    made = [await signed_in(store, families=2, expires_at=NOW) for _ in range(30)]

    async def remove():
        removed = 0
        while removed < len(made):
            removed += (await within(store, store.upkeep.remove(Leftover.SESSIONS, NOW + DAY, 5))).count

    ends = [within(store, store.sessions.end([session.id], NOW, EndReason.SIGNED_OUT)) for session, _ in made]
    outcomes = await at_once(*ends, remove())
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


async def test_two_at_once_never_do_the_same_work(site):
    store, _ = site
    for n in range(40):
        await signed_in(store, expires_at=NOW + n * SECOND)

    async def remove():
        removed = []
        while not removed or removed[-1]:
            async with store.transaction():
                if await store.upkeep.claim():
                    removed.append((await store.upkeep.remove(Leftover.SESSIONS, NOW + DAY, 3)).count)
            await asyncio.sleep(0)
        return sum(removed)

    assert sum(await at_once(*(remove() for _ in range(4)))) == 40


async def test_a_connection_that_is_given_back_holds_no_claim(site):
    store, _ = site
    assert await within(store, store.upkeep.claim())
    task = beside(interrupted(store))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(20):
        assert await within(store, store.upkeep.claim())


async def interrupted(store):
    async with store.transaction():
        await store.upkeep.claim()
        await asyncio.sleep(60)


async def test_changes_go_after_an_hour_by_the_clock_of_the_database(site):
    store, owner = site
    user = a_user()
    await within(store, store.users.add(user), store.changes.authority(user.id), store.changes.rules())
    await owner.execute("UPDATE hexward.changes SET at = now() - interval '61 minutes' WHERE kind = 'rules'")
    far = datetime.now(UTC) + timedelta(days=365)
    assert await within(store, store.upkeep.remove(Leftover.CHANGES, datetime.now(UTC) - 2 * DAY, 10)) == Removed(0)
    assert await within(store, store.upkeep.remove(Leftover.CHANGES, far, 10)) == Removed(1)
    assert [row["kind"] for row in await owner.fetch("SELECT kind FROM hexward.changes")] == ["authority"]
