"""Answers to requests that may be sent twice (the Idempotency-Key header)."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

EXPAND = (
    """
    CREATE TABLE hexward.idempotent_answers (
      id bytea NOT NULL,
      fingerprint bytea NOT NULL,
      sealed bytea NOT NULL,
      expires_at timestamptz NOT NULL,
      CONSTRAINT pk_idempotent_answers PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_idempotent_answers_expires_at ON hexward.idempotent_answers (expires_at)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON hexward.idempotent_answers TO hexward_service",
)


def upgrade() -> None:
    """A table more; nothing that is there changes."""
    for statement in EXPAND:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Without it."""
    op.get_bind().exec_driver_sql("DROP TABLE hexward.idempotent_answers")
