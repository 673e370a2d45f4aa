"""The PostgreSQL store: every storage port over one database."""

from dataclasses import dataclass
from typing import Self

from adapters.postgres.audit import PostgresAuditLog
from adapters.postgres.changes import PostgresChanges, PostgresFeed, feed
from adapters.postgres.clients import PostgresClients, PostgresConsents
from adapters.postgres.credentials import PostgresCredentials, PostgresSignInFailures
from adapters.postgres.database import Database
from adapters.postgres.idempotency import PostgresAnswers
from adapters.postgres.installation import PostgresInstallations
from adapters.postgres.keys import PostgresKeys
from adapters.postgres.one_time import PostgresOneTimeValues
from adapters.postgres.roles import PostgresGrants, PostgresRoles
from adapters.postgres.sessions import PostgresFamilies, PostgresSessions
from adapters.postgres.upkeep import PostgresUpkeep
from adapters.postgres.users import PostgresUsers

__all__ = ["PostgresStore", "feed"]


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """All ports on one database."""

    transaction: Database
    users: PostgresUsers
    credentials: PostgresCredentials
    failures: PostgresSignInFailures
    roles: PostgresRoles
    grants: PostgresGrants
    clients: PostgresClients
    consents: PostgresConsents
    one_time_values: PostgresOneTimeValues
    sessions: PostgresSessions
    families: PostgresFamilies
    keys: PostgresKeys
    audit: PostgresAuditLog
    answers: PostgresAnswers
    installations: PostgresInstallations
    changes: PostgresChanges
    upkeep: PostgresUpkeep

    @staticmethod
    def feed(url: str) -> PostgresFeed:
        """A reader of changes; each worker has one."""
        return feed(url)

    @classmethod
    def on(cls, database: Database) -> Self:
        """The ports, sharing the pool and the transactions of `database`."""
        return cls(
            transaction=database,
            users=PostgresUsers(database),
            credentials=PostgresCredentials(database),
            failures=PostgresSignInFailures(database),
            roles=PostgresRoles(database),
            grants=PostgresGrants(database),
            clients=PostgresClients(database),
            consents=PostgresConsents(database),
            one_time_values=PostgresOneTimeValues(database),
            sessions=PostgresSessions(database),
            families=PostgresFamilies(database),
            keys=PostgresKeys(database),
            audit=PostgresAuditLog(database),
            answers=PostgresAnswers(database),
            installations=PostgresInstallations(database),
            changes=PostgresChanges(database),
            upkeep=PostgresUpkeep(database),
        )
