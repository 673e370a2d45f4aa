"""What a process stands on before anything is wired: folders, the embedded database, the schema, its own processes.

Nothing here imports SQLAlchemy: the server imports what is slow while PostgreSQL starts.
"""

from dataclasses import dataclass
from pathlib import Path

from adapters.postgres.embedded import EmbeddedPostgres, database_account, default_data_dir
from adapters.postgres.embedded import prepare_data_dir as _prepare_data_dir
from adapters.postgres.inspection import ServerFacts, server_facts
from adapters.postgres.migrate import check, current, upgrade
from adapters.processes import end_with_parent

__all__ = [
    "EmbeddedPostgres",
    "Place",
    "ServerFacts",
    "check",
    "current",
    "default_data_dir",
    "end_with_parent",
    "prepare_data_dir",
    "server_facts",
    "upgrade",
]


def prepare_data_dir(data_dir: Path) -> None:
    """Make the data folder, private to us, yet passable for the user the embedded database runs as."""
    _prepare_data_dir(data_dir, database_account())


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process finds its data: the database as the service role sees it, and the master key."""

    database_url: str
    master_key: bytes

    def __repr__(self) -> str:
        return "Place(***)"
