"""Use cases: load, decide, save. The only door to the domain, whoever knocks."""
