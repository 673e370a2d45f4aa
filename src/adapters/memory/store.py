"""The memory store: every storage port over one set of tables."""

from collections.abc import Iterable

from adapters.memory.audit import MemoryAuditLog
from adapters.memory.changes import MemoryChanges, MemoryFeed
from adapters.memory.clients import MemoryClients, MemoryConsents
from adapters.memory.credentials import MemoryCredentials, MemorySignInFailures
from adapters.memory.grants import MemoryGrants
from adapters.memory.idempotency import MemoryAnswers
from adapters.memory.installations import MemoryInstallations
from adapters.memory.keys import MemoryKeys
from adapters.memory.one_time import MemoryOneTimeValues
from adapters.memory.roles import MemoryRoles
from adapters.memory.sessions import MemoryFamilies, MemorySessions
from adapters.memory.tables import Tables
from adapters.memory.transaction import MemoryTransaction
from adapters.memory.upkeep import MemoryUpkeep
from adapters.memory.users import MemoryUsers
from domain.clients import FIRST_PARTY, PAGES, Client

BUILT_IN_CLIENTS = (Client(FIRST_PARTY, "Hexward API"), Client(PAGES, "Hexward"))


class MemoryStore:
    """All ports on one state, which begins with what the migrations seed: built-in roles and clients, and
    the first life of the database. `clients` replaces the clients it knows."""

    def __init__(self, clients: Iterable[Client] = BUILT_IN_CLIENTS) -> None:
        self.transaction = MemoryTransaction()
        tables = Tables(self.transaction, clients)
        self.users = MemoryUsers(tables)
        self.credentials = MemoryCredentials(tables)
        self.failures = MemorySignInFailures(tables)
        self.roles = MemoryRoles(tables)
        self.grants = MemoryGrants(tables)
        self.clients = MemoryClients(tables)
        self.consents = MemoryConsents(tables)
        self.one_time_values = MemoryOneTimeValues(tables)
        self.sessions = MemorySessions(tables)
        self.families = MemoryFamilies(tables)
        self.keys = MemoryKeys(tables)
        self.audit = MemoryAuditLog(tables)
        self.answers = MemoryAnswers(tables)
        self.installations = MemoryInstallations(tables)
        self.changes = MemoryChanges(tables)
        self.upkeep = MemoryUpkeep(tables)

    def feed(self) -> MemoryFeed:
        """A reader of changes; each worker has its own."""
        return MemoryFeed(self.transaction)
