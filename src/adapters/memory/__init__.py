"""All storage ports on dictionaries, for tests and demos; the same contracts as PostgreSQL prove them."""
