"""The schema of the first release: tables, the two database roles, and what is built in.

Everything stands here literally, because a migration must not change when the code does.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Whoever migrates owns everything. The service acts as a role of its own, which may be a login (as in the embedded
# cluster) or not, and which whoever migrates may take on, so that a single login is enough.
SERVICE_ROLE = """
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'hexward_service') THEN
    BEGIN
      CREATE ROLE hexward_service NOLOGIN NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;  -- another database of this cluster was migrated at the same moment
    END;
  END IF;
  IF current_setting('server_version_num')::integer >= 160000 THEN
    IF NOT pg_has_role(current_user, 'hexward_service', 'SET') THEN
      EXECUTE 'GRANT hexward_service TO CURRENT_USER WITH INHERIT FALSE, SET TRUE';
    END IF;
  ELSIF NOT pg_has_role(current_user, 'hexward_service', 'MEMBER') THEN
    GRANT hexward_service TO CURRENT_USER;
  END IF;
END
$$
"""

TABLES = """
CREATE TABLE hexward.users (
  id uuid NOT NULL,
  email text NOT NULL,
  email_key text COLLATE "C" NOT NULL,
  email_verified boolean NOT NULL,
  username text,
  username_key text COLLATE "C",
  display_name text,
  display_name_key text COLLATE "C",
  locale text,
  status text NOT NULL,
  scope text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  authv bigint DEFAULT 0 NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  CONSTRAINT pk_users PRIMARY KEY (id),
  CONSTRAINT uq_users_email_key UNIQUE (email_key),
  CONSTRAINT uq_users_username_key UNIQUE (username_key),
  CONSTRAINT ck_users_status CHECK (status IN ('invited', 'active', 'suspended', 'deleted')),
  CONSTRAINT ck_users_username_key CHECK ((username IS NULL) = (username_key IS NULL)),
  CONSTRAINT ck_users_display_name_key CHECK ((display_name IS NULL) = (display_name_key IS NULL))
);
CREATE INDEX ix_users_created_at_id ON hexward.users (created_at, id);
CREATE INDEX ix_users_display_name_key ON hexward.users (display_name_key);
CREATE INDEX ix_users_scope ON hexward.users (scope);

CREATE TABLE hexward.user_sign_ins (
  user_id uuid NOT NULL,
  at timestamptz NOT NULL,
  CONSTRAINT pk_user_sign_ins PRIMARY KEY (user_id),
  CONSTRAINT fk_user_sign_ins_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE
);

CREATE TABLE hexward.password_credentials (
  user_id uuid NOT NULL,
  hash text NOT NULL,
  changed_at timestamptz NOT NULL,
  CONSTRAINT pk_password_credentials PRIMARY KEY (user_id),
  CONSTRAINT fk_password_credentials_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE
);

CREATE TABLE hexward.sign_in_failures (
  key bytea NOT NULL,
  count bigint NOT NULL,
  last_at timestamptz NOT NULL,
  CONSTRAINT pk_sign_in_failures PRIMARY KEY (key)
);
CREATE INDEX ix_sign_in_failures_last_at ON hexward.sign_in_failures (last_at);

CREATE TABLE hexward.roles (
  name text COLLATE "C" NOT NULL,
  description text NOT NULL,
  permissions text[] NOT NULL,
  built_in boolean NOT NULL,
  version integer NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  CONSTRAINT pk_roles PRIMARY KEY (name)
);

CREATE TABLE hexward.role_parents (
  role text COLLATE "C" NOT NULL,
  parent text COLLATE "C" NOT NULL,
  CONSTRAINT pk_role_parents PRIMARY KEY (role, parent),
  CONSTRAINT ck_role_parents_parent CHECK (role <> parent),
  CONSTRAINT fk_role_parents_role FOREIGN KEY (role) REFERENCES hexward.roles (name) ON DELETE CASCADE,
  CONSTRAINT fk_role_parents_parent FOREIGN KEY (parent) REFERENCES hexward.roles (name) ON DELETE RESTRICT
);
CREATE INDEX ix_role_parents_parent ON hexward.role_parents (parent);

CREATE TABLE hexward.grants (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  role text COLLATE "C" NOT NULL,
  scope text COLLATE "C" NOT NULL,
  granted_by text NOT NULL,
  created_at timestamptz NOT NULL,
  starts_at timestamptz,
  expires_at timestamptz,
  CONSTRAINT pk_grants PRIMARY KEY (id),
  CONSTRAINT uq_grants_user_id_role_scope UNIQUE (user_id, role, scope),
  CONSTRAINT fk_grants_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE,
  CONSTRAINT fk_grants_role FOREIGN KEY (role) REFERENCES hexward.roles (name) ON DELETE RESTRICT
);
CREATE INDEX ix_grants_role ON hexward.grants (role);
CREATE INDEX ix_grants_scope ON hexward.grants (scope);

CREATE TABLE hexward.clients (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  enabled boolean NOT NULL,
  access_token_lifetime interval NOT NULL,
  family_idle interval NOT NULL,
  family_lifetime interval NOT NULL,
  CONSTRAINT pk_clients PRIMARY KEY (id)
);

CREATE TABLE hexward.sessions (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  client_id text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL,
  auth_time timestamptz NOT NULL,
  amr text[] NOT NULL,
  last_used_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  address text,
  user_agent text,
  ended_at timestamptz,
  end_reason text,
  CONSTRAINT pk_sessions PRIMARY KEY (id),
  CONSTRAINT ck_sessions_end_reason CHECK (end_reason IN ('signed_out', 'user_suspended', 'user_deleted',
    'password_changed', 'replayed', 'state_rolled_back', 'too_many_sessions', 'client_disabled')),
  CONSTRAINT ck_sessions_ended CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
  CONSTRAINT fk_sessions_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE,
  CONSTRAINT fk_sessions_client_id FOREIGN KEY (client_id) REFERENCES hexward.clients (id)
);
CREATE INDEX ix_sessions_open ON hexward.sessions (user_id, created_at, id) WHERE ended_at IS NULL;
CREATE INDEX ix_sessions_over_at ON hexward.sessions (LEAST(ended_at, expires_at));

CREATE TABLE hexward.families (
  id uuid NOT NULL,
  session_id uuid NOT NULL,
  user_id uuid NOT NULL,
  client_id text COLLATE "C" NOT NULL,
  counter bigint NOT NULL,
  key_id text NOT NULL,
  epoch integer NOT NULL,
  created_at timestamptz NOT NULL,
  rotated_at timestamptz NOT NULL,
  idle interval NOT NULL,
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  end_reason text,
  CONSTRAINT pk_families PRIMARY KEY (id),
  CONSTRAINT ck_families_counter CHECK (counter >= 0),
  CONSTRAINT ck_families_end_reason CHECK (end_reason IN ('signed_out', 'user_suspended', 'user_deleted',
    'password_changed', 'replayed', 'state_rolled_back', 'too_many_sessions', 'client_disabled')),
  CONSTRAINT ck_families_ended CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
  CONSTRAINT fk_families_session_id FOREIGN KEY (session_id) REFERENCES hexward.sessions (id) ON DELETE CASCADE,
  CONSTRAINT fk_families_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE,
  CONSTRAINT fk_families_client_id FOREIGN KEY (client_id) REFERENCES hexward.clients (id)
) WITH (fillfactor = 80);
CREATE INDEX ix_families_session_id ON hexward.families (session_id);
CREATE INDEX ix_families_open ON hexward.families (user_id) WHERE ended_at IS NULL;

CREATE TABLE hexward.keys (
  id text COLLATE "C" NOT NULL,
  use text NOT NULL,
  algorithm text NOT NULL,
  created_at timestamptz NOT NULL,
  activates_at timestamptz NOT NULL,
  sealed bytea NOT NULL,
  public jsonb NOT NULL,
  superseded_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT pk_keys PRIMARY KEY (id),
  CONSTRAINT ck_keys_use CHECK (use IN ('sign', 'refresh'))
);

CREATE TABLE hexward.installation (
  "only" boolean DEFAULT true NOT NULL,
  epoch integer NOT NULL,
  rules_version bigint NOT NULL,
  secret bytea,
  prepared_at timestamptz,
  CONSTRAINT pk_installation PRIMARY KEY ("only"),
  CONSTRAINT ck_installation_only CHECK ("only")
);

CREATE TABLE hexward.changes (
  id bigint GENERATED ALWAYS AS IDENTITY,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  kind text NOT NULL,
  subject text NOT NULL,
  at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT pk_changes PRIMARY KEY (id),
  CONSTRAINT ck_changes_kind CHECK (kind IN ('authority', 'rules', 'session', 'keys', 'client'))
);
CREATE INDEX ix_changes_xid ON hexward.changes (xid);
CREATE INDEX ix_changes_at ON hexward.changes (at);

CREATE TABLE hexward.audit_events (
  id uuid NOT NULL,
  at timestamptz NOT NULL,
  actor text COLLATE "C" NOT NULL,
  action text COLLATE "C" NOT NULL,
  subject text COLLATE "C",
  outcome text NOT NULL,
  reason text,
  scope text COLLATE "C" NOT NULL,
  door text NOT NULL,
  address text,
  correlation_id text COLLATE "C",
  details jsonb NOT NULL,
  CONSTRAINT pk_audit_events PRIMARY KEY (id),
  CONSTRAINT ck_audit_events_outcome CHECK (outcome IN ('success', 'refused'))
) PARTITION BY RANGE (id);
CREATE INDEX ix_audit_events_actor_id ON hexward.audit_events (actor, id);
CREATE INDEX ix_audit_events_subject_id ON hexward.audit_events (subject, id);
CREATE INDEX ix_audit_events_correlation_id_id ON hexward.audit_events (correlation_id, id);
CREATE INDEX ix_audit_events_action_id ON hexward.audit_events (action, id) WHERE action <> 'session.refreshed';
CREATE INDEX ix_audit_events_scope_id ON hexward.audit_events (scope, id) WHERE scope <> '*';
CREATE TABLE hexward.audit_events_default PARTITION OF hexward.audit_events DEFAULT;
"""

# The smallest UUIDv7 (RFC 9562, 5.7) of a moment: where the partition of a month begins.
FIRST_ID = """
CREATE FUNCTION hexward.first_uuid_of(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$
"""

# What has meanwhile gone into the default partition moves along. Only that partition is locked against writers, and
# events of this month go into theirs.
ENSURE_PARTITIONS = """
CREATE FUNCTION hexward.ensure_audit_partitions(months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
  month timestamp;
  name text;
  low uuid;
  high uuid;
  made integer := 0;
BEGIN
  IF months IS NULL OR months NOT BETWEEN 0 AND 24 THEN
    RAISE EXCEPTION 'the number of months must be from 0 to 24' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('hexward.audit_partitions', 0));
  FOR ahead IN 0..months LOOP
    month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead);
    name := 'audit_events_' || to_char(month, 'YYYY_MM');
    CONTINUE WHEN to_regclass('hexward.' || name) IS NOT NULL;
    low := hexward.first_uuid_of(month AT TIME ZONE 'UTC');
    high := hexward.first_uuid_of((month + interval '1 month') AT TIME ZONE 'UTC');
    LOCK TABLE hexward.audit_events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE hexward.%I (LIKE hexward.audit_events INCLUDING CONSTRAINTS)', name);
    EXECUTE format(
      'WITH moved AS (DELETE FROM hexward.audit_events_default WHERE id >= %L AND id < %L RETURNING *)'
      ' INSERT INTO hexward.%I SELECT * FROM moved', low, high, name);
    EXECUTE format(
      'ALTER TABLE hexward.audit_events ATTACH PARTITION hexward.%I FOR VALUES FROM (%L) TO (%L)', name, low, high);
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$
"""

# The service may ask for what is old to be dropped, but never for the last 30 days: whoever breaks into it cannot
# remove their own traces.
DROP_PARTITIONS = """
CREATE FUNCTION hexward.drop_audit_partitions(before timestamptz) RETURNS integer
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

PRIVILEGES = """
GRANT USAGE ON SCHEMA hexward TO hexward_service;
GRANT SELECT ON hexward.alembic_version TO hexward_service;
GRANT SELECT, INSERT ON hexward.audit_events TO hexward_service;
GRANT SELECT, INSERT, UPDATE ON hexward.users TO hexward_service;
GRANT SELECT, UPDATE ON hexward.installation TO hexward_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON hexward.user_sign_ins, hexward.password_credentials,
  hexward.sign_in_failures, hexward.roles, hexward.role_parents, hexward.grants, hexward.clients, hexward.sessions,
  hexward.families, hexward.keys, hexward.changes TO hexward_service;
REVOKE ALL ON FUNCTION hexward.first_uuid_of(timestamptz), hexward.ensure_audit_partitions(integer),
  hexward.drop_audit_partitions(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hexward.ensure_audit_partitions(integer), hexward.drop_audit_partitions(timestamptz)
  TO hexward_service;
"""

SEEDS = """
INSERT INTO hexward.roles (name, description, permissions, built_in, version, created_at, updated_at) VALUES
  ('admin', 'Everything, everywhere.', '{*:*}', true, 1, now(), now()),
  ('manager', 'Manages people and the roles they hold.',
   '{grants:read,grants:write,roles:read,users:read,users:write}', true, 1, now(), now()),
  ('user', 'A person without further rights.', '{}', true, 1, now(), now());
INSERT INTO hexward.clients (id, name, enabled, access_token_lifetime, family_idle, family_lifetime) VALUES
  ('hexward-api', 'Hexward API', true, '5 minutes', '30 days', '90 days');
INSERT INTO hexward.installation ("only", epoch, rules_version) VALUES (true, 1, 0);
SELECT hexward.ensure_audit_partitions(3);
"""

REMOVAL = """
DROP TABLE hexward.audit_events, hexward.changes, hexward.installation, hexward.keys, hexward.families,
  hexward.sessions, hexward.clients, hexward.grants, hexward.role_parents, hexward.roles, hexward.sign_in_failures,
  hexward.password_credentials, hexward.user_sign_ins, hexward.users;
DROP FUNCTION hexward.drop_audit_partitions(timestamptz), hexward.ensure_audit_partitions(integer),
  hexward.first_uuid_of(timestamptz);
REVOKE ALL ON hexward.alembic_version FROM hexward_service;
REVOKE ALL ON SCHEMA hexward FROM hexward_service;
"""


def upgrade() -> None:
    """From nothing to the first schema."""
    functions = (FIRST_ID, ENSURE_PARTITIONS, DROP_PARTITIONS)
    _run(SERVICE_ROLE, *_statements(TABLES), *functions, *_statements(PRIVILEGES), *_statements(SEEDS))


def downgrade() -> None:
    """Remove everything but the role, which other databases of the cluster may use, and the version table."""
    _run(*_statements(REMOVAL))


def _statements(script: str) -> list[str]:
    return [statement for part in script.split(";\n") if (statement := part.strip().removesuffix(";"))]


def _run(*statements: str) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
