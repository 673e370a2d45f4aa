"""The schema. Beside each table stands how it grows and what keeps it bounded; for how long things are kept, see
domain/upkeep.py.

Texts that are compared, sorted or searched by prefix have the collation "C": order by code point, as in the core, and
an index that serves LIKE 'prefix%' as well.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

from domain.audit import Outcome
from domain.clients import API_SCOPE, AuthMethod, IdTokenAlgorithm
from domain.keys import KeyUse
from domain.one_time import OneTimeKind
from domain.ports import ChangeKind
from domain.sessions import EndReason
from domain.users import UserStatus

SCHEMA = "hexward"
SERVICE_ROLE = "hexward_service"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The name of the type in SQL."""
        return "xid8"


def _moment(name: str, *, optional: bool = False, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=optional, **options)


def _key(name: str, *constraints: Any, optional: bool = False, **options: Any) -> Column[Any]:
    """A text that is compared by code point."""
    return Column(name, Text(collation="C"), *constraints, nullable=optional, **options)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


# Grows with the people; a purge keeps the row, so that the id in audit events keeps its meaning.
users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    _key("email_key"),
    Column("email_verified", Boolean, nullable=False),
    Column("username", Text),
    _key("username_key", optional=True),
    Column("display_name", Text),
    _key("display_name_key", optional=True),
    Column("locale", Text),
    Column("status", Text, nullable=False),
    _key("scope"),
    Column("version", Integer, nullable=False),
    Column("authv", BigInteger, nullable=False, server_default=text("0")),
    _moment("created_at"),
    _moment("updated_at"),
    _one_of("status", UserStatus),
    CheckConstraint("(username IS NULL) = (username_key IS NULL)", name="username_key"),
    CheckConstraint("(display_name IS NULL) = (display_name_key IS NULL)", name="display_name_key"),
    UniqueConstraint("email_key"),
    UniqueConstraint("username_key"),
    Index(None, "created_at", "id"),
    Index(None, "display_name_key"),
    Index(None, "scope"),
)

# At most one row a user; apart from users, because it changes with every sign-in and no version may.
user_sign_ins = Table(
    "user_sign_ins",
    metadata,
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True),
    _moment("at"),
)

# At most one row a user.
password_credentials = Table(
    "password_credentials",
    metadata,
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True),
    Column("hash", Text, nullable=False),
    _moment("changed_at"),
)

# A row an account name that somebody failed to sign in as, forgotten after 15 minutes; each new failure removes two
# that are, and upkeep the rest.
sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("count", BigInteger, nullable=False),
    _moment("last_at"),
    Index(None, "last_at"),
)

# Grows with what administrators define.
roles = Table(
    "roles",
    metadata,
    _key("name", primary_key=True),
    Column("description", Text, nullable=False),
    Column("permissions", ARRAY(Text), nullable=False),
    Column("built_in", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
)

# Grows with what administrators define.
role_parents = Table(
    "role_parents",
    metadata,
    _key("role", ForeignKey(roles.c.name, ondelete="CASCADE"), primary_key=True),
    _key("parent", ForeignKey(roles.c.name, ondelete="RESTRICT"), primary_key=True),
    CheckConstraint("role <> parent", name="parent"),
    Index(None, "parent"),
)

# Grows with what administrators give; one row a user, role and scope.
grants = Table(
    "grants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    _key("role", ForeignKey(roles.c.name, ondelete="RESTRICT")),
    _key("scope"),
    Column("granted_by", Text, nullable=False),
    _moment("created_at"),
    _moment("starts_at", optional=True),
    _moment("expires_at", optional=True),
    UniqueConstraint("user_id", "role", "scope"),
    Index(None, "role"),
    Index(None, "scope"),
)

# Grows with the applications that are registered; one that was deleted keeps its row, so that its id in audit events
# keeps its meaning. `number` orders pages, for ids are texts without an order of their own.
clients = Table(
    "clients",
    metadata,
    _key("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("access_token_lifetime", Interval, nullable=False),
    Column("family_idle", Interval, nullable=False),
    Column("family_lifetime", Interval, nullable=False),
    Column("auth_method", Text, nullable=False, server_default=text("'none'")),
    Column("grant_types", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("redirect_uris", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("post_logout_redirect_uris", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("scopes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("audiences", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("secrets", JSONB, nullable=False, server_default=text("'[]'")),
    Column("jwks", JSONB(none_as_null=True)),
    Column("jwks_uri", Text),
    Column("id_token_algorithm", Text, nullable=False, server_default=text("'RS256'")),
    Column("trusted", Boolean, nullable=False, server_default=text("false")),
    Column("require_pkce", Boolean, nullable=False, server_default=text("true")),
    Column("token_url_audience", Boolean, nullable=False, server_default=text("false")),
    Column("may_introspect", Boolean, nullable=False, server_default=text("false")),
    _key("scope_path", server_default=text("'*'")),
    _moment("created_at", optional=True),
    _moment("updated_at", optional=True),
    _moment("deleted_at", optional=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    _key("name_key", server_default=text("''")),
    _one_of("auth_method", AuthMethod),
    _one_of("id_token_algorithm", IdTokenAlgorithm),
    UniqueConstraint("number"),
)

# At most one row a user and application.
consents = Table(
    "consents",
    metadata,
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True),
    _key("client_id", ForeignKey(clients.c.id), primary_key=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _moment("granted_at"),
    _moment("updated_at"),
    Index(None, "client_id"),
)

# At most 50 open ones a user, none older than 30 days, and those that were over in the last 30 days; each new one
# removes two that were over before, and upkeep the rest.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    _key("client_id", ForeignKey(clients.c.id)),
    _moment("created_at"),
    _moment("auth_time"),
    Column("amr", ARRAY(Text), nullable=False),
    _moment("last_used_at"),
    _moment("expires_at"),
    Column("address", Text),
    Column("user_agent", Text),
    _moment("ended_at", optional=True),
    Column("end_reason", Text),
    # No foreign key: a child is over no later than its parent, and who removes the one must not wait for the other.
    Column("parent_id", Uuid),
    Column("offline", Boolean, nullable=False, server_default=text("false")),
    _one_of("end_reason", EndReason),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
    Index("ix_sessions_open", "user_id", "created_at", "id", postgresql_where=text("ended_at IS NULL")),
    Index("ix_sessions_open_children", "parent_id", postgresql_where=text("ended_at IS NULL")),
    Index("ix_sessions_over_at", text("LEAST(ended_at, expires_at)")),
)

# A row a session and client, however often it is refreshed; removed with its session. What a refresh changes is in no
# index, and the pages have room for it, so that a refresh rewrites neither indexes nor other pages.
families = Table(
    "families",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("session_id", Uuid, ForeignKey(sessions.c.id, ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False),
    _key("client_id", ForeignKey(clients.c.id)),
    Column("counter", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    _moment("created_at"),
    _moment("rotated_at"),
    Column("idle", Interval, nullable=False),
    _moment("expires_at"),
    _moment("ended_at", optional=True),
    Column("end_reason", Text),
    Column("scope", Text, nullable=False, server_default=text(f"'{API_SCOPE}'")),
    Column("audience", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("claims", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    CheckConstraint("counter >= 0", name="counter"),
    _one_of("end_reason", EndReason),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
    Index(None, "session_id"),
    Index("ix_families_open", "user_id", postgresql_where=text("ended_at IS NULL")),
    Index("ix_families_open_at", "client_id", postgresql_where=text("ended_at IS NULL")),
    postgresql_with={"fillfactor": 80},
)

# A few rows a year; each rotation removes those that nothing can have been signed with any more.
keys = Table(
    "keys",
    metadata,
    _key("id", primary_key=True),
    Column("use", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    _moment("created_at"),
    _moment("activates_at"),
    Column("sealed", LargeBinary, nullable=False),
    Column("public", JSONB, nullable=False),
    _moment("superseded_at", optional=True),
    _moment("revoked_at", optional=True),
    _one_of("use", KeyUse),
)

# A row a request that came with an Idempotency-Key and changed something, for a day; each new one removes two that have
# expired. What it holds is sealed.
idempotent_answers = Table(
    "idempotent_answers",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _moment("expires_at"),
    Index(None, "expires_at"),
)

# A row an authorization code or client assertion, for an hour beyond its end; each new one removes two that are older,
# and upkeep the rest.
one_time_values = Table(
    "one_time_values",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),
    _moment("created_at"),
    _moment("expires_at"),
    _key("client_id", optional=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE")),
    Column("session_id", Uuid),  # no foreign key: who redeems a value locks the session, and no removal may wait
    Column("details", JSON, nullable=False),  # not JSONB: it may hold what clients sent, and so any character
    _moment("used_at", optional=True),
    Column("made", Uuid),
    _one_of("kind", OneTimeKind),
    Index(None, "expires_at"),
    Index(None, "user_id"),
)

# One row.
installation = Table(
    "installation",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("epoch", Integer, nullable=False),
    Column("rules_version", BigInteger, nullable=False),
    Column("secret", LargeBinary),
    _moment("prepared_at", optional=True),
    CheckConstraint('"only"', name="only"),
)

# One row: how far upkeep has come, for all servers.
upkeep = Table(
    "upkeep",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    _moment("next_at", optional=True),
    _moment("finished_at", optional=True),
    Column("backlog", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint('"only"', name="only"),
)

# A row a change of authority, kept for an hour; each new one removes some that are older, and upkeep the rest.
changes = Table(
    "changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("xid", Xid8, nullable=False, server_default=func.pg_current_xact_id()),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _moment("at", server_default=func.now()),
    _one_of("kind", ChangeKind),
    Index(None, "xid"),
    Index(None, "at"),
)

# A row an event, partitioned by the month of its UUIDv7, for ever; where the operator sets a retention, upkeep drops
# the months that are older. Actions become more with every release, so they are not listed in a constraint. Indexes
# leave out what most events have and nobody looks for.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    _moment("at"),
    _key("actor"),
    _key("action"),
    _key("subject", optional=True),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    _key("scope"),
    Column("door", Text, nullable=False),
    Column("address", Text),
    _key("correlation_id", optional=True),
    Column("details", JSONB, nullable=False),
    _one_of("outcome", Outcome),
    Index(None, "actor", "id"),
    Index(None, "subject", "id"),
    Index(None, "correlation_id", "id"),
    Index(None, "action", "id", postgresql_where=text("action <> 'session.refreshed'")),
    Index(None, "scope", "id", postgresql_where=text("scope <> '*'")),
    postgresql_partition_by="RANGE (id)",
)
