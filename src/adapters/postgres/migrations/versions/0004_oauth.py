"""Applications as OAuth has them: what is registered, what people consented to, values used once, sessions of browsers.

Servers of the version before go on: every column that is new has a default, and what they write still fits.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CLIENTS = (
    """
    ALTER TABLE hexward.clients
      ADD COLUMN auth_method text DEFAULT 'none' NOT NULL,
      ADD COLUMN grant_types text[] DEFAULT '{}' NOT NULL,
      ADD COLUMN redirect_uris text[] DEFAULT '{}' NOT NULL,
      ADD COLUMN post_logout_redirect_uris text[] DEFAULT '{}' NOT NULL,
      ADD COLUMN scopes text[] DEFAULT '{}' NOT NULL,
      ADD COLUMN audiences text[] DEFAULT '{}' NOT NULL,
      ADD COLUMN secrets jsonb DEFAULT '[]' NOT NULL,
      ADD COLUMN jwks jsonb,
      ADD COLUMN jwks_uri text,
      ADD COLUMN id_token_algorithm text DEFAULT 'RS256' NOT NULL,
      ADD COLUMN trusted boolean DEFAULT false NOT NULL,
      ADD COLUMN require_pkce boolean DEFAULT true NOT NULL,
      ADD COLUMN token_url_audience boolean DEFAULT false NOT NULL,
      ADD COLUMN may_introspect boolean DEFAULT false NOT NULL,
      ADD COLUMN scope_path text COLLATE "C" DEFAULT '*' NOT NULL,
      ADD COLUMN created_at timestamptz,
      ADD COLUMN updated_at timestamptz,
      ADD COLUMN deleted_at timestamptz,
      ADD COLUMN version integer DEFAULT 1 NOT NULL,
      ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
      ADD COLUMN name_key text COLLATE "C" DEFAULT '' NOT NULL,
      ADD CONSTRAINT uq_clients_number UNIQUE (number),
      ADD CONSTRAINT ck_clients_auth_method CHECK
        (auth_method IN ('none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt')),
      ADD CONSTRAINT ck_clients_id_token_algorithm CHECK (id_token_algorithm IN ('RS256', 'ES256'))
    """,
    """
    INSERT INTO hexward.clients (id, name, enabled, access_token_lifetime, family_idle, family_lifetime)
    VALUES ('hexward-pages', 'Hexward', true, '5 minutes', '30 days', '90 days')
    """,
    "UPDATE hexward.clients SET name_key = lower(name)",  # those that are built in have ASCII names
)

CONSENTS = (
    """
    CREATE TABLE hexward.consents (
      user_id uuid NOT NULL,
      client_id text COLLATE "C" NOT NULL,
      scopes text[] NOT NULL,
      granted_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL,
      CONSTRAINT pk_consents PRIMARY KEY (user_id, client_id),
      CONSTRAINT fk_consents_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE,
      CONSTRAINT fk_consents_client_id FOREIGN KEY (client_id) REFERENCES hexward.clients (id)
    )
    """,
    "CREATE INDEX ix_consents_client_id ON hexward.consents (client_id)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON hexward.consents TO hexward_service",
)

ONE_TIME_VALUES = (
    """
    CREATE TABLE hexward.one_time_values (
      kind text NOT NULL,
      hash bytea NOT NULL,
      created_at timestamptz NOT NULL,
      expires_at timestamptz NOT NULL,
      client_id text COLLATE "C",
      user_id uuid,
      session_id uuid,
      details json NOT NULL,
      used_at timestamptz,
      made uuid,
      CONSTRAINT pk_one_time_values PRIMARY KEY (kind, hash),
      CONSTRAINT fk_one_time_values_user_id FOREIGN KEY (user_id) REFERENCES hexward.users (id) ON DELETE CASCADE,
      CONSTRAINT ck_one_time_values_kind CHECK (kind IN ('authorization_code', 'client_assertion'))
    )
    """,
    "CREATE INDEX ix_one_time_values_expires_at ON hexward.one_time_values (expires_at)",
    "CREATE INDEX ix_one_time_values_user_id ON hexward.one_time_values (user_id)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON hexward.one_time_values TO hexward_service",
)

SESSIONS = (
    """
    ALTER TABLE hexward.sessions
      ADD COLUMN parent_id uuid,
      ADD COLUMN offline boolean DEFAULT false NOT NULL
    """,
    "CREATE INDEX ix_sessions_open_children ON hexward.sessions (parent_id) WHERE ended_at IS NULL",
    """
    ALTER TABLE hexward.families
      ADD COLUMN scope text DEFAULT 'hexward' NOT NULL,
      ADD COLUMN audience text[] DEFAULT '{}' NOT NULL,
      ADD COLUMN claims text[] DEFAULT '{}' NOT NULL
    """,
    "CREATE INDEX ix_families_open_at ON hexward.families (client_id) WHERE ended_at IS NULL",
)

REASONS = (
    "'signed_out', 'user_suspended', 'user_deleted', 'password_changed', 'replayed', 'state_rolled_back', "
    "'too_many_sessions', 'client_disabled'"
)
MORE_REASONS = f"{REASONS}, 'revoked', 'code_replayed', 'consent_withdrawn', 'replaced'"
USES = "'sign', 'refresh'"
MORE_USES = f"{USES}, 'id_token_rs256', 'id_token_es256'"


def upgrade() -> None:
    """More columns, more tables, and more values that are allowed; nothing that is there changes."""
    _run(*CLIENTS, *CONSENTS, *ONE_TIME_VALUES, *SESSIONS, *_allow(MORE_REASONS, MORE_USES))


def downgrade() -> None:
    """Without applications but the first, and without what was kept for them."""
    _run(
        "DELETE FROM hexward.families WHERE client_id <> 'hexward-api'",
        "DELETE FROM hexward.sessions WHERE client_id <> 'hexward-api'",
        *(
            f"UPDATE hexward.{table} SET end_reason = 'signed_out' "  # noqa: S608  # all of it stands here
            "WHERE end_reason IN ('revoked', 'code_replayed', 'consent_withdrawn', 'replaced')"
            for table in ("sessions", "families")
        ),
        "DELETE FROM hexward.keys WHERE use IN ('id_token_rs256', 'id_token_es256')",
        "DROP TABLE hexward.one_time_values",
        "DROP TABLE hexward.consents",
        "DELETE FROM hexward.clients WHERE id <> 'hexward-api'",
        *_allow(REASONS, USES),
        "ALTER TABLE hexward.families DROP COLUMN scope, DROP COLUMN audience, DROP COLUMN claims",
        "ALTER TABLE hexward.sessions DROP COLUMN parent_id, DROP COLUMN offline",
        """
        ALTER TABLE hexward.clients
          DROP COLUMN auth_method, DROP COLUMN grant_types, DROP COLUMN redirect_uris,
          DROP COLUMN post_logout_redirect_uris, DROP COLUMN scopes, DROP COLUMN audiences, DROP COLUMN secrets,
          DROP COLUMN jwks, DROP COLUMN jwks_uri, DROP COLUMN id_token_algorithm, DROP COLUMN trusted,
          DROP COLUMN require_pkce, DROP COLUMN token_url_audience, DROP COLUMN may_introspect,
          DROP COLUMN scope_path, DROP COLUMN created_at, DROP COLUMN updated_at, DROP COLUMN deleted_at,
          DROP COLUMN version, DROP COLUMN number, DROP COLUMN name_key
        """,
        "DROP INDEX hexward.ix_families_open_at",
    )


def _allow(reasons: str, uses: str) -> list[str]:
    """Constraints that list values, replaced. All rows are checked at once: NOT VALID and VALIDATE would save nothing
    in one transaction, which holds the lock of the ALTER TABLE to its end, and the tables are bounded."""
    lists = (("sessions", "end_reason", reasons), ("families", "end_reason", reasons), ("keys", "use", uses))
    return [
        f"ALTER TABLE hexward.{table} DROP CONSTRAINT ck_{table}_{column}, "
        f"ADD CONSTRAINT ck_{table}_{column} CHECK ({column} IN ({values}))"
        for table, column, values in lists
    ]


def _run(*statements: str) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
