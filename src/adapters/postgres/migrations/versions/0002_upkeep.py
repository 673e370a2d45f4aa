"""Upkeep by the service itself: how far it has come, and audit partitions that go one by one, holding up nobody."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPKEEP = """
CREATE TABLE hexward.upkeep (
  "only" boolean DEFAULT true NOT NULL,
  next_at timestamptz,
  finished_at timestamptz,
  backlog boolean DEFAULT false NOT NULL,
  CONSTRAINT pk_upkeep PRIMARY KEY ("only"),
  CONSTRAINT ck_upkeep_only CHECK ("only")
);
INSERT INTO hexward.upkeep ("only") VALUES (true);
GRANT SELECT, UPDATE ON hexward.upkeep TO hexward_service;
"""

# What a partition holds is told by its bounds, not by its name: the upper one is the first UUIDv7 (RFC 9562, 5.7) of
# another month. Moments are compared, because a moment before 1970 has no such id. The default partition has no bounds.
PARTITIONS_OVER = r"""
CREATE FUNCTION hexward.audit_partitions_over(before timestamptz) RETURNS SETOF name
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT name FROM (
    SELECT c.relname AS name, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9a-f-]{36})''\)$') AS high
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'hexward.audit_events'::regclass
  ) AS bounded
  WHERE to_timestamp(('x' || left(replace(high, '-', ''), 12))::bit(48)::bigint / 1000.0) <= before
  ORDER BY high
$$
"""

# One month at a time, the oldest first, and only if nobody has to be waited for: while this waits for a lock on the
# table, every new event would wait behind it. Never the last 30 days: whoever breaks into the service cannot remove
# their own traces.
DROP_PARTITION = """
CREATE OR REPLACE FUNCTION hexward.drop_audit_partitions(before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  oldest name;
BEGIN
  IF before IS NULL OR before > now() - interval '30 days' THEN
    RAISE EXCEPTION 'audit events of the last 30 days are kept' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('hexward.audit_partitions', 0));
  SELECT name INTO oldest FROM hexward.audit_partitions_over(before) AS name LIMIT 1;
  IF oldest IS NULL THEN
    RETURN 0;
  END IF;
  EXECUTE format('DROP TABLE hexward.%I', oldest);
  RETURN 1;
EXCEPTION WHEN lock_not_available THEN
  RETURN 0;  -- another time
END
$$
"""

PRIVILEGES = """
REVOKE ALL ON FUNCTION hexward.audit_partitions_over(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hexward.audit_partitions_over(timestamptz) TO hexward_service;
"""

# As in 0001.
DROP_PARTITIONS_BEFORE = """
CREATE OR REPLACE FUNCTION hexward.drop_audit_partitions(before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
  name text;
  dropped integer := 0;
BEGIN
  IF before IS NULL OR before > now() - interval '30 days' THEN
    RAISE EXCEPTION 'audit events of the last 30 days are kept' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('hexward.audit_partitions', 0));
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'hexward.audit_events'::regclass AND c.relname ~ '^audit_events_[0-9]{4}_[0-9]{2}$'
    ORDER BY c.relname
  LOOP
    IF (to_date(right(name, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= before THEN
      EXECUTE format('DROP TABLE hexward.%I', name);
      dropped := dropped + 1;
    END IF;
  END LOOP;
  RETURN dropped;
END
$$
"""


def upgrade() -> None:
    """Nothing that was there changes its shape; servers of the version before go on."""
    _run(*_statements(UPKEEP), PARTITIONS_OVER, DROP_PARTITION, *_statements(PRIVILEGES))


def downgrade() -> None:
    """Back to months that go all at once."""
    _run(
        DROP_PARTITIONS_BEFORE, "DROP FUNCTION hexward.audit_partitions_over(timestamptz)", "DROP TABLE hexward.upkeep"
    )


def _statements(script: str) -> list[str]:
    return [statement for part in script.split(";\n") if (statement := part.strip().removesuffix(";"))]


def _run(*statements: str) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
