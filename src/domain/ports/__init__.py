"""Everything the core asks of the outside world, a file a feature. Each has a contract suite in `tests/contracts/`.

Storage ports are used inside `Transaction` only; what a transaction wrote is seen by others after it ends well, and
never if it raises. A refusal (Conflict, Invalid) spoils the transaction: swallowing it makes the commit fail. All of
them may raise Unavailable when what they stand on cannot answer; callers need not handle it. What cannot be stored as
text (NUL, lone surrogates) is not found. A position that no page gave raises Invalid (`cursor_malformed`). Texts sort
by code point; names are compared as `email_key` folds them.
"""

from domain.ports.answers import Answers, Limiter
from domain.ports.audit import AuditLog, AuditQuery
from domain.ports.changes import Change, ChangeFeed, ChangeKind, Changes, News
from domain.ports.clients import Assertion, ClientAssertions, ClientQuery, Clients, Consents
from domain.ports.keys import Installation, Installations, KeyMaker, Keys, Sealer
from domain.ports.passwords import BreachedPasswords, PasswordHasher, Verdict
from domain.ports.roles import GrantQuery, Grants, Roles
from domain.ports.sessions import Families, OneTimeValues, Sessions, Standing
from domain.ports.system import Clock, Secrets
from domain.ports.tokens import AccessTokens, IdTokens, SigningKeys
from domain.ports.transactions import Page, Transaction
from domain.ports.upkeep import Schema, Upkeep
from domain.ports.users import Credentials, SignInFailures, UserQuery, Users, UserSort

__all__ = [
    "AccessTokens",
    "Answers",
    "Assertion",
    "AuditLog",
    "AuditQuery",
    "BreachedPasswords",
    "Change",
    "ChangeFeed",
    "ChangeKind",
    "Changes",
    "ClientAssertions",
    "ClientQuery",
    "Clients",
    "Clock",
    "Consents",
    "Credentials",
    "Families",
    "GrantQuery",
    "Grants",
    "IdTokens",
    "Installation",
    "Installations",
    "KeyMaker",
    "Keys",
    "Limiter",
    "News",
    "OneTimeValues",
    "Page",
    "PasswordHasher",
    "Roles",
    "Schema",
    "Sealer",
    "Secrets",
    "Sessions",
    "SignInFailures",
    "SigningKeys",
    "Standing",
    "Transaction",
    "Upkeep",
    "UserQuery",
    "UserSort",
    "Users",
    "Verdict",
]
