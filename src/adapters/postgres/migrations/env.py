"""Alembic's entry: runs on the connection it is handed (see migrate.py), never on one of its own."""

from alembic import context

from adapters.postgres.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
