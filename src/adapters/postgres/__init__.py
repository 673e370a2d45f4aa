"""PostgreSQL: the schema, the storage ports on it, and the cluster that the quick start embeds."""
