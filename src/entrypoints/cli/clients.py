"""`hexward clients`: the applications that sign people in, or act for themselves."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import click

from domain.clients import AuthMethod, GrantType, IdTokenAlgorithm
from domain.ports import Page
from entrypoints.cli.desk import Desk, at_desk
from entrypoints.cli.frame import Group, confirm, visible, wants_json
from entrypoints.cli.output import Position, Span, put_done, put_fields, put_json, put_page, span_options

CLEARABLE = (
    "redirect_uris",
    "post_logout_redirect_uris",
    "grant_types",
    "scope",
    "audiences",
    "jwks",
    "jwks_uri",
    "access_token_lifetime",
    "refresh_token_idle",
    "refresh_token_lifetime",
)
FILE_MAX = 1_048_576
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Duration(click.ParamType[int]):
    """A time span such as `5m`, `24h` or `30d`, in seconds; `0` is none."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds; wrong usage for anything else."""
        if isinstance(value, int):
            return value
        text = str(value)
        if text == "0":
            return 0
        if (span := _DURATION.fullmatch(text)) is None:
            raise click.BadParameter("give a time span such as 90s, 5m, 24h or 30d", ctx, param)
        return int(span[1]) * _SECONDS[span[2]]


class KeyFile(click.ParamType[dict[str, Any]]):
    """A file that holds a JSON Web Key Set, or `-` for standard input."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Its content; wrong usage where that is no JSON object. What is in it, the domain judges."""
        try:
            with click.open_file(str(value), "rb") as file:
                keys = json.loads(file.read(FILE_MAX))
        except OSError as error:
            raise click.BadParameter(f"{value}: {error.strerror}", ctx, param) from error
        except (ValueError, RecursionError):
            keys = None
        if not isinstance(keys, dict):
            raise click.BadParameter(f'{value} does not hold one JSON object, such as {{"keys": [...]}}', ctx, param)
        return keys


def metadata_options(function: Callable[..., None]) -> Callable[..., None]:
    """What can be registered, or changed later; each option under the name that the member has in the API."""
    options = (
        click.option(
            "--redirect-uri",
            "redirect_uris",
            multiple=True,
            metavar="URI",
            help="Where people come back to after sign-in; may be repeated.",
        ),
        click.option(
            "--post-logout-redirect-uri",
            "post_logout_redirect_uris",
            multiple=True,
            metavar="URI",
            help="Where people come back to after sign-out; may be repeated.",
        ),
        click.option(
            "--grant",
            "grant_types",
            multiple=True,
            type=click.Choice([grant.value for grant in GrantType]),
            help="What it may exchange for a token; may be repeated.",
        ),
        click.option(
            "--scope",
            "scope",
            multiple=True,
            metavar="SCOPES",
            help="What it may ask for, such as 'openid profile'; may be repeated.",
        ),
        click.option(
            "--audience",
            "audiences",
            multiple=True,
            metavar="URI",
            help="A service that its access tokens are for; may be repeated.",
        ),
        click.option("--jwks-file", "jwks", type=KeyFile(), metavar="FILE", help="Its public keys, or - to read them."),
        click.option("--jwks-uri", metavar="URI", help="Where it publishes its public keys."),
        click.option(
            "--algorithm",
            "id_token_signed_response_alg",
            type=click.Choice([algorithm.value for algorithm in IdTokenAlgorithm]),
            help="What its ID tokens are signed with.",
        ),
        click.option(
            "--access-lifetime",
            "access_token_lifetime",
            type=Duration(),
            metavar="DURATION",
            help="How long its access tokens are good, such as 5m.",
        ),
        click.option(
            "--refresh-idle",
            "refresh_token_idle",
            type=Duration(),
            metavar="DURATION",
            help="How long a refresh token may lie unused, such as 30d.",
        ),
        click.option(
            "--refresh-lifetime",
            "refresh_token_lifetime",
            type=Duration(),
            metavar="DURATION",
            help="How long it can be refreshed altogether, such as 90d.",
        ),
        click.option("--pkce/--no-pkce", "require_pkce", default=None, help="Whether every sign-in needs PKCE."),
        click.option("--trusted/--no-trusted", default=None, help="Whether people are not asked for consent."),
        click.option("--introspection/--no-introspection", default=None, help="Whether it may look into tokens."),
        click.option(
            "--assertion-audience",
            type=click.Choice(("issuer", "issuer_or_token_url")),
            help="Whom its assertions are made for.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _metadata(given: Mapping[str, Any], clear: tuple[str, ...] = ()) -> Any:
    """What was given; an option that was not is not a member."""
    from application.clients import AssertionAudience, ClientMetadata

    sent = {name: value for name, value in given.items() if value is not None and value != ()}
    if twice := sorted(sent.keys() & set(clear)):
        raise click.UsageError(f"--clear {twice[0]} and a value for it exclude each other")
    kinds: Mapping[str, Callable[[Any], Any]] = {
        "scope": " ".join,
        "grant_types": lambda names: [GrantType(name) for name in names],
        "token_endpoint_auth_method": AuthMethod,
        "id_token_signed_response_alg": IdTokenAlgorithm,
        "assertion_audience": AssertionAudience,
    }
    read = {name: kinds[name](value) if name in kinds else value for name, value in sent.items()}
    return ClientMetadata(frozenset({*read, *clear}), **read)


@click.group(cls=Group)
def clients() -> None:
    """Register, change and remove applications, and rotate their secrets.

    CLIENT is the id of an application, as `hexward clients list` shows it.
    """


@clients.command(
    examples=(
        "hexward clients create Shop --redirect-uri https://shop.example.org/callback",
        "hexward clients create 'Shop for phones' --auth-method none --redirect-uri org.example.shop:/callback",
        "hexward clients create Reports --grant client_credentials --audience https://reports.example.org",
        "hexward clients create Gateway --grant client_credentials --auth-method private_key_jwt --jwks-file keys.json",
    )
)
@click.argument("name")
@click.option(
    "--auth-method",
    "token_endpoint_auth_method",
    type=click.Choice([method.value for method in AuthMethod]),
    help="How it proves who it is: client_secret_basic unless told otherwise; none for what runs at people's homes.",
)
@metadata_options
@click.option("--scope-path", default="*", show_default=True, metavar="PATH", help="Where the application belongs.")
def create(name: str, scope_path: str, **given: Any) -> None:
    """Register an application. Its secret, if it has one, is shown this once."""
    metadata = _metadata({"client_name": name, **given})

    async def work(desk: Desk) -> Any:
        from application.clients import CreateClient

        make = await desk.get(CreateClient)
        return await make(desk.actor, metadata, scope_path)

    _put_registered(at_desk(work), "Registered")


@clients.command("list", examples=("hexward clients list", "hexward clients list --q shop --all --json"))
@click.option("--q", metavar="TEXT", help="A part of the name.")
@span_options
def list_clients(q: str | None, span: Span) -> None:
    """List applications, the oldest first; those that are built in are left out."""

    async def work(desk: Desk) -> Any:
        from application.clients import ListClients
        from domain.ports import ClientQuery

        listed = await desk.get(ListClients)

        async def page(limit: int, after: Position) -> Any:
            return await listed(desk.actor, ClientQuery((), q, limit, after))

        return await span.read("clients", page)

    found: Page[Any] = at_desk(work)
    heads = ("NAME", "ENABLED", "AUTH METHOD", "GRANTS", "SCOPE", "TRUSTED", "PLACE", "CREATED", "ID")
    put_page(found, "clients", _reply, heads, _row)


@clients.command(examples=("hexward clients show 3f0c2d1e9a8b7c6d5e4f3a2b",))
@click.argument("client")
def show(client: str) -> None:
    """Show an application."""

    async def work(desk: Desk) -> Any:
        from application.clients import ShowClient
        from domain.clients import ClientId

        look = await desk.get(ShowClient)
        return await look(desk.actor, ClientId(client))

    _put(at_desk(work))


@clients.command(
    examples=(
        "hexward clients update 3f0c2d1e9a8b7c6d5e4f3a2b --name Store --redirect-uri https://store.example.org/callback",
        "hexward clients update 3f0c2d1e9a8b7c6d5e4f3a2b --clear audiences --access-lifetime 10m",
    )
)
@click.argument("client")
@click.option("--name", "client_name", metavar="NAME", help="What people see when they are asked for consent.")
@click.option(
    "--auth-method",
    "token_endpoint_auth_method",
    type=click.Choice([method.value for method in AuthMethod if method.by_secret]),
    help="How it sends its secret.",
)
@metadata_options
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(CLEARABLE),
    help="Back to what it is where nothing is given; may be repeated.",
)
def update(client: str, clear: tuple[str, ...], **given: Any) -> None:
    """Change what is registered. A list is replaced by what is given; what is not given stays.

    Taking a scope, an audience or a grant type away ends the application's refresh tokens.
    """
    metadata = _metadata(given, clear)
    if not metadata.fields:
        raise click.UsageError("say what is to be changed: every option is one thing that can be")
    _put(_updated(client, metadata), "Changed")


@clients.command(examples=("hexward clients disable 3f0c2d1e9a8b7c6d5e4f3a2b",))
@click.argument("client")
def disable(client: str) -> None:
    """Turn an application off: it gets no more tokens, and its refresh tokens end, at once."""
    _put(_updated(client, _metadata({"enabled": False})), "Disabled")


@clients.command(examples=("hexward clients enable 3f0c2d1e9a8b7c6d5e4f3a2b",))
@click.argument("client")
def enable(client: str) -> None:
    """Turn an application on again; refresh tokens that ended stay ended."""
    _put(_updated(client, _metadata({"enabled": True})), "Enabled")


def _updated(client: str, metadata: Any) -> Any:
    async def work(desk: Desk) -> Any:
        from application.clients import UpdateClient
        from domain.clients import ClientId

        change = await desk.get(UpdateClient)
        return await change(desk.actor, ClientId(client), None, metadata)

    return at_desk(work)


@clients.command(
    "rotate-secret",
    examples=(
        "hexward clients rotate-secret 3f0c2d1e9a8b7c6d5e4f3a2b",
        "hexward clients rotate-secret 3f0c2d1e9a8b7c6d5e4f3a2b --overlap 0",
    ),
)
@click.argument("client")
@click.option(
    "--overlap",
    type=Duration(),
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="How long the secret before stays good: 0 for one that leaked, at most 30d.",
)
def rotate_secret(client: str, overlap: int) -> None:
    """Give an application a new secret, which is shown this once."""

    async def work(desk: Desk) -> Any:
        from application.clients import RotateClientSecret
        from domain.clients import ClientId

        change = await desk.get(RotateClientSecret)
        return await change(desk.actor, ClientId(client), overlap)

    _put_registered(at_desk(work), "Rotated the secret of")


@clients.command(examples=("hexward clients delete 3f0c2d1e9a8b7c6d5e4f3a2b --yes",))
@click.argument("client")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(client: str, yes: bool) -> None:
    """Remove an application for good: its secrets are wiped and its refresh tokens end. Disabling can be undone."""
    confirm(f"Delete the application {client} for good?", yes)

    async def work(desk: Desk) -> None:
        from application.clients import DeleteClient
        from domain.clients import ClientId

        remove = await desk.get(DeleteClient)
        await remove(desk.actor, ClientId(client), None)

    at_desk(work)
    put_done(f"Deleted the application {client}.")


def _reply(client: Any) -> Any:
    from entrypoints.http.clients import client_reply

    return client_reply(client)


def _row(client: Any) -> tuple[object, ...]:
    return (
        client.name,
        client.enabled,
        client.auth_method,
        sorted(client.grant_types),
        " ".join(client.scopes) or None,
        client.trusted,
        client.scope_path,
        client.created_at,
        client.id,
    )


def _put(client: Any, done: str | None = None) -> None:
    if wants_json():
        put_json(_reply(client))
        return
    _put_for_people(client, done)


def _put_registered(registered: Any, done: str) -> None:
    if wants_json():
        from entrypoints.http.clients import registered_reply

        put_json(registered_reply(registered))
        return
    _put_for_people(registered.client, done)
    if registered.secret is not None:
        click.echo(f"\nSecret  {registered.secret}\nKeep it now: it is stored as a hash only, and never shown again.")


def _put_for_people(client: Any, done: str | None) -> None:
    if done is not None:
        click.echo(f"{done} {visible(client.name)}.\n")
    put_fields(
        [
            ("Name", client.name),
            ("Id", client.id),
            ("Enabled", client.enabled),
            ("Auth method", client.auth_method),
            ("Secrets", [_lasting(secret) for secret in client.secrets]),
            ("Keys", client.jwks_uri or (client.jwks and f"{len(client.jwks['keys'])} registered")),
            ("Grants", sorted(client.grant_types)),
            ("Redirect URIs", client.redirect_uris),
            ("After sign-out", client.post_logout_redirect_uris),
            ("Scope", " ".join(client.scopes) or None),
            ("Audiences", client.audiences),
            ("ID tokens", client.id_token_algorithm),
            ("Access tokens", f"{_span(client.access_token_lifetime)} long"),
            ("Refresh tokens", f"{_span(client.family_lifetime)} long, {_span(client.family_idle)} unused"),
            ("PKCE", "required" if client.require_pkce else "not required"),
            ("Trusted", client.trusted),
            ("Introspection", client.may_introspect),
            ("Built in", client.built_in),
            ("Place", client.scope_path),
            ("Created", client.created_at),
            ("Changed", client.updated_at),
        ]
    )


def _lasting(secret: Any) -> str:
    made = f"of {secret.created_at:%Y-%m-%d %H:%M:%S}Z"
    return made if secret.expires_at is None else f"{made} until {secret.expires_at:%Y-%m-%d %H:%M:%S}Z"


def _span(time: timedelta) -> str:
    """As `Duration` reads it, in days at the most."""
    seconds = int(time.total_seconds())
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"
