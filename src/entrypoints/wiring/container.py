"""Which adapter stands behind which port.

An extension (`HEXWARD_EXTENSIONS=package.module:provider`) is a dishka provider named after all others, so that
whatever it provides takes the place of what stands here.
"""

import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from importlib import import_module

from dishka import AsyncContainer, Provider, Scope, decorate, make_async_container, provide, provide_all

from adapters.argon2 import Argon2Hasher
from adapters.jwt import JwtAccessTokens, JwtIdTokens, JwtKeyMaker, JwtSigningKeys
from adapters.memory.limits import MemoryLimiter
from adapters.oauth.assertions import JwtClientAssertions
from adapters.passwords import LocalPasswordList
from adapters.postgres.audit import PostgresAuditLog
from adapters.postgres.changes import PostgresChanges, PostgresFeed
from adapters.postgres.clients import PostgresClients, PostgresConsents
from adapters.postgres.credentials import PostgresCredentials, PostgresSignInFailures
from adapters.postgres.database import Database
from adapters.postgres.idempotency import PostgresAnswers
from adapters.postgres.installation import PostgresInstallations
from adapters.postgres.keys import PostgresKeys
from adapters.postgres.one_time import PostgresOneTimeValues
from adapters.postgres.roles import PostgresGrants, PostgresRoles
from adapters.postgres.schema import PostgresSchema
from adapters.postgres.sessions import PostgresFamilies, PostgresSessions
from adapters.postgres.upkeep import PostgresUpkeep
from adapters.postgres.users import PostgresUsers
from adapters.sealing import AesSealer
from adapters.system import RandomSecrets, SystemClock
from application.accounts import ChangeOwnPassword, ProvePassword, Register, RegistrationFloor
from application.audit import ListAuditEvents, Trail
from application.authority import LiveAuthority, MaxStaleness, Reread
from application.browser import Browsers
from application.clients import (
    ClientChange,
    CreateClient,
    DeleteClient,
    ListClients,
    RotateClientSecret,
    ShowClient,
    UpdateClient,
)
from application.consents import ListConsents, WithdrawConsent
from application.idempotency import Idempotency, Joining
from application.installation import CheckReadiness, PrepareInstallation
from application.keys import KeyRing, ListKeys, NewKey, RevokeKey, RotateDueKeys, RotateKey
from application.maintenance import AuditRetention, Maintain, RemoveLeftovers
from application.oauth.authentication import AuthenticateClient
from application.oauth.authorization import Authorize
from application.oauth.claims import IssueIdToken, UserInfo
from application.oauth.grants import ExchangeCode, ExchangeRefreshToken, IssueToClient, Token
from application.oauth.introspection import Introspect, RevokeToken
from application.oauth.logout import Logout
from application.oauth.sampling import IssueCounts, Refusals
from application.oauth.tickets import Tickets
from application.open_sessions import EndAllSessions, EndSession, ListSessions
from application.roles import (
    ChangeRole,
    DefineRole,
    EffectivePermissions,
    GrantRole,
    ListGrants,
    ListPermissions,
    ListRoles,
    RemoveRole,
    RevokeGrant,
)
from application.sessions import Authenticate, Issuer, IssueTokens, RefreshSession, SignOut
from application.sign_in import FirstPartySignIn, Floor, SignIn
from application.turns import Tries, Turns
from application.users import (
    AccountChange,
    CreateUser,
    DeleteUser,
    ListUsers,
    PasswordRule,
    ReactivateUser,
    SetPassword,
    ShowUser,
    SuspendUser,
    UpdateUser,
)
from domain.accounts import Registration, RegistrationMode
from domain.errors import StartRefused
from domain.ports import (
    AccessTokens,
    Answers,
    AuditLog,
    BreachedPasswords,
    ChangeFeed,
    Changes,
    ClientAssertions,
    Clients,
    Clock,
    Consents,
    Credentials,
    Families,
    Grants,
    IdTokens,
    Installations,
    KeyMaker,
    Keys,
    Limiter,
    OneTimeValues,
    PasswordHasher,
    Roles,
    Schema,
    Sealer,
    Secrets,
    Sessions,
    SignInFailures,
    SigningKeys,
    Transaction,
    Upkeep,
    Users,
)
from entrypoints.settings import Settings
from entrypoints.wiring.footing import Place


class System(Provider):
    """Time, chance, passwords and keys."""

    scope = Scope.APP
    clock = provide(SystemClock, provides=Clock)
    secrets = provide(RandomSecrets, provides=Secrets)
    breached = provide(LocalPasswordList, provides=BreachedPasswords)
    limiter = provide(MemoryLimiter, provides=Limiter)
    key_maker = provide(JwtKeyMaker, provides=KeyMaker)
    ring = provide(JwtSigningKeys)
    client_assertions = provide(JwtClientAssertions, provides=ClientAssertions)

    @provide
    def sealer(self, place: Place) -> Sealer:
        """Secrets at rest."""
        return AesSealer(place.master_key)

    @provide
    def signing_keys(self, ring: JwtSigningKeys) -> SigningKeys:
        """The ring that both kinds of token are signed with."""
        return ring

    @provide
    def access_tokens(self, ring: JwtSigningKeys, settings: Settings) -> AccessTokens:
        """Signed by us."""
        return JwtAccessTokens(ring, settings.public_url)

    @provide
    def id_tokens(self, ring: JwtSigningKeys, settings: Settings) -> IdTokens:
        """Likewise, with keys of their own."""
        return JwtIdTokens(ring, settings.public_url)

    @provide
    async def hasher(self, settings: Settings) -> AsyncIterator[PasswordHasher]:
        """Its own pool, so that hashing stops nothing else; by default the cores are shared among the workers."""
        threads = settings.hashing_threads or max(1, (os.cpu_count() or 1) // settings.workers)
        hasher = Argon2Hasher(threads=threads, queue=settings.hashing_queue)
        yield hasher
        hasher.close()


class Postgres(Provider):
    """Storage and the change feed."""

    scope = Scope.APP
    users = provide(PostgresUsers, provides=Users)
    credentials = provide(PostgresCredentials, provides=Credentials)
    failures = provide(PostgresSignInFailures, provides=SignInFailures)
    roles = provide(PostgresRoles, provides=Roles)
    grants = provide(PostgresGrants, provides=Grants)
    clients = provide(PostgresClients, provides=Clients)
    consents = provide(PostgresConsents, provides=Consents)
    one_time_values = provide(PostgresOneTimeValues, provides=OneTimeValues)
    sessions = provide(PostgresSessions, provides=Sessions)
    families = provide(PostgresFamilies, provides=Families)
    keys = provide(PostgresKeys, provides=Keys)
    audit = provide(PostgresAuditLog, provides=AuditLog)
    answers = provide(PostgresAnswers, provides=Answers)
    installations = provide(PostgresInstallations, provides=Installations)
    changes = provide(PostgresChanges, provides=Changes)
    upkeep = provide(PostgresUpkeep, provides=Upkeep)
    schema = provide(PostgresSchema, provides=Schema)

    @provide
    async def database(self, place: Place, settings: Settings) -> AsyncIterator[Database]:
        """One pool a worker."""
        database = Database(place.database_url, pool_size=settings.database_pool_size)
        yield database
        await database.close()

    @provide
    def transaction(self, database: Database) -> Transaction:
        """The pool's transactions."""
        return database

    @provide
    async def feed(self, place: Place) -> AsyncIterator[ChangeFeed]:
        """A connection of its own, straight to the primary."""
        feed = PostgresFeed(place.database_url)
        yield feed
        await feed.close()


class UseCases(Provider):
    """Every use case, made once: they hold no state, and the caller comes as an Actor."""

    scope = Scope.APP
    all = provide_all(
        Trail, ListAuditEvents, KeyRing, NewKey, ListKeys, RotateKey, RevokeKey, RotateDueKeys, Maintain,
        PasswordRule, AccountChange, Reread, CreateUser, ShowUser, ListUsers, UpdateUser, SuspendUser,
        ReactivateUser, DeleteUser, SetPassword, ListRoles, ListPermissions, DefineRole, ChangeRole, RemoveRole,
        GrantRole, RevokeGrant, ListGrants, EffectivePermissions, LiveAuthority, Floor, Tries, IssueTokens, SignIn,
        RefreshSession, Authenticate, SignOut, PrepareInstallation, CheckReadiness, Turns, Register, ProvePassword,
        ChangeOwnPassword, ListSessions, EndSession, EndAllSessions, Idempotency,
        RemoveLeftovers, ClientChange, CreateClient, ShowClient, ListClients, UpdateClient, RotateClientSecret,
        DeleteClient,
        Browsers, ListConsents, WithdrawConsent, AuthenticateClient, Authorize, IssueIdToken, UserInfo, ExchangeCode,
        ExchangeRefreshToken, IssueToClient, Token, Introspect, RevokeToken, Logout, IssueCounts,
        Refusals, Tickets,
    )  # fmt: skip

    @provide
    def issuer(self, settings: Settings) -> Issuer:
        """The public URL, never what a request says."""
        return Issuer(settings.public_url)

    @provide
    def max_staleness(self, settings: Settings) -> MaxStaleness:
        """As old as the operator allows."""
        return MaxStaleness(settings.max_staleness)

    @provide
    def registration(self, settings: Settings) -> Registration:
        """Closed, unless the operator opened it."""
        return Registration(RegistrationMode(settings.registration), frozenset(settings.registration_domains))

    @provide
    def registration_floor(self, clock: Clock) -> RegistrationFloor:
        """One a worker, as that of sign-in is."""
        return RegistrationFloor(Floor(clock))

    @provide
    def audit_retention(self, settings: Settings) -> AuditRetention:
        """For ever, unless the operator says otherwise."""
        days = settings.audit_retention_days
        return AuditRetention(None if days is None else timedelta(days=days))

    @provide
    def first_party_sign_in(self, settings: Settings) -> FirstPartySignIn:
        """Off where everybody comes through another provider."""
        return FirstPartySignIn(settings.first_party_sign_in)


class Around(Provider):
    """What stands around ports, whichever adapter is behind them; so it comes last."""

    scope = Scope.APP

    @decorate
    def transaction(self, transaction: Transaction) -> Transaction:
        """A request with an Idempotency-Key ends its use case's transaction itself."""
        return Joining(transaction)


def wire(settings: Settings, place: Place, *more: Provider) -> AsyncContainer:
    """Everything, wired; nothing is opened before it is asked for. The last provider of a type wins."""
    parts = providers(*more, *extensions(settings.extensions))
    return make_async_container(*parts, context={Settings: settings, Place: place})


def providers(*more: Provider) -> list[Provider]:
    """All that is wired, in the order in which one replaces another; `more` stands before what is only put around."""
    from dishka.integrations.litestar import LitestarProvider

    from entrypoints.http.actor import Callers
    from entrypoints.http.pages.provider import PageParts

    return [System(), Postgres(), UseCases(), Callers(), PageParts(), LitestarProvider(), *more, Around()]


def extensions(names: Sequence[str]) -> list[Provider]:
    """The providers that `HEXWARD_EXTENSIONS` names; raises StartRefused for one that is not there."""
    found = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            provider = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise StartRefused(
                f"HEXWARD_EXTENSIONS names {name}, which cannot be imported ({error}); install it or correct the name."
            ) from error
        provider = provider() if isinstance(provider, type) else provider
        if not isinstance(provider, Provider):
            raise StartRefused(f"HEXWARD_EXTENSIONS names {name}, which is no dishka provider.")
        found.append(provider)
    return found
