"""`hexward users`: the accounts of people."""

from pathlib import Path
from typing import Any

import click

from domain.ports import Page
from entrypoints.cli.desk import Desk, at_desk
from entrypoints.cli.frame import Group, confirm, visible, wants_json
from entrypoints.cli.output import Position, Span, put_done, put_fields, put_json, put_page, put_table, span_options
from entrypoints.cli.passwords import new_password, password_options

STATUSES = ("invited", "active", "suspended", "deleted")


@click.group(cls=Group)
def users() -> None:
    """Create, find, suspend and delete users.

    USER is an e-mail address, a username or an id.
    """


@users.command(
    examples=(
        "hexward users create zoe@example.org --display-name Zoë --role manager",
        "hexward users create li@example.org --no-password",
        "pass show li | hexward users create li@example.org --password-stdin",
    )
)
@click.argument("email")
@click.option("--username", metavar="NAME", help="Another name to sign in with.")
@click.option("--display-name", metavar="NAME", help="How the person is called, in any script.")
@click.option("--locale", metavar="TAG", help="The language, such as de or pt-BR.")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="A role to hold everywhere; may be repeated.")
@click.option("--scope", default="*", show_default=True, metavar="PATH", help="Where the account belongs.")
@password_options
@click.option("--no-password", is_flag=True, help="Invite: the account cannot sign in until a password is set.")
def create(
    email: str,
    roles: tuple[str, ...],
    password_stdin: bool,
    password_file: Path | None,
    no_password: bool,
    **profile: Any,
) -> None:
    """Create a user, with a password (active) or without one (invited).

    The password is asked for, unless one of --password-stdin, --password-file and --no-password says otherwise.
    """
    if no_password and (password_stdin or password_file is not None):
        raise click.UsageError("--no-password excludes --password-stdin and --password-file")
    otherwise = ", or --no-password to invite"
    password = None if no_password else new_password(password_stdin, password_file, otherwise=otherwise)

    async def work(desk: Desk) -> Any:
        from application.users import CreateUser, NewUser

        make = await desk.get(CreateUser)
        return await make(desk.actor, NewUser(email, password, roles=roles, **profile))

    _put(at_desk(work), "Created")


@users.command("list", examples=("hexward users list --status suspended", "hexward users list --q zo --all --json"))
@click.option("--q", metavar="TEXT", help="The beginning of an e-mail address, username or display name.")
@click.option("--status", type=click.Choice(STATUSES), help="Without it: all but deleted ones.")
@click.option(
    "--sort",
    type=click.Choice(("created_at", "email")),
    default="created_at",
    show_default=True,
    help="What to sort by.",
)
@click.option("--order", type=click.Choice(("asc", "desc")), default="asc", show_default=True, help="Which way.")
@span_options
def list_users(q: str | None, status: str | None, sort: str, order: str, span: Span) -> None:
    """List users."""
    tag = f"users:{sort}:{order}"

    async def work(desk: Desk) -> Any:
        from application.users import ListUsers
        from domain.ports import UserQuery, UserSort
        from domain.users import UserStatus

        listed = await desk.get(ListUsers)
        wanted = None if status is None else UserStatus(status)

        async def page(limit: int, after: Position) -> Any:
            query = UserQuery((), wanted, q, UserSort(sort), order == "desc", limit, after)
            return await listed(desk.actor, query)

        return await span.read(tag, page)

    found: Page[Any] = at_desk(work)
    put_page(found, tag, _reply, ("E-MAIL", "NAME", "USERNAME", "STATUS", "ROLES", "CREATED", "ID"), _row)


@users.command(examples=("hexward users show zoe@example.org",))
@click.argument("user")
def show(user: str) -> None:
    """Show a user."""

    async def work(desk: Desk) -> Any:
        from application.users import ShowUser

        look = await desk.get(ShowUser)
        return await look(desk.actor, await desk.user_id(user))

    _put(at_desk(work))


@users.command(
    "set-password",
    examples=(
        "hexward users set-password admin@localhost",
        "openssl rand -base64 24 | tee new-password | hexward users set-password zoe --password-stdin",
    ),
)
@click.argument("user")
@password_options
def set_password(user: str, password_stdin: bool, password_file: Path | None) -> None:
    """Give a user a new password. It ends all their sessions, and makes an invited account active."""
    password = new_password(password_stdin, password_file)

    async def work(desk: Desk) -> None:
        from application.keys import KeyRing
        from application.users import SetPassword

        change = await desk.get(SetPassword)
        ring = await desk.get(KeyRing)
        await ring.reload()
        await change(desk.actor, await desk.user_id(user), password)

    at_desk(work)
    put_done(f"{user} has a new password, and all their sessions have ended.")


@users.command(examples=("hexward users suspend zoe@example.org",))
@click.argument("user")
def suspend(user: str) -> None:
    """Shut a user out: sign-in, sessions and tokens, at once."""

    async def work(desk: Desk) -> Any:
        from application.users import SuspendUser

        change = await desk.get(SuspendUser)
        return await change(desk.actor, await desk.user_id(user))

    _put(at_desk(work), "Suspended")


@users.command(examples=("hexward users sessions zoe@example.org", "hexward users sessions zoe --json"))
@click.argument("user")
def sessions(user: str) -> None:
    """List where a user is signed in, the sessions used last first."""

    async def work(desk: Desk) -> Any:
        from application.open_sessions import ListSessions

        listed = await desk.get(ListSessions)
        return desk.actor, await listed(desk.actor, await desk.user_id(user))

    actor, found = at_desk(work)
    if wants_json():
        from entrypoints.http.open_sessions import session_reply

        put_json({"items": [session_reply(session, actor) for session in found], "next_cursor": None})
        return
    rows = [(s.last_used_at, s.created_at, s.expires_at, s.address, s.user_agent, s.client_id, s.id) for s in found]
    put_table(("LAST USED", "BEGUN", "EXPIRES", "ADDRESS", "DEVICE", "CLIENT", "ID"), rows)


@users.command("end-sessions", examples=("hexward users end-sessions zoe@example.org",))
@click.argument("user")
def end_sessions(user: str) -> None:
    """Sign a user out everywhere, at once; they can sign in again."""

    async def work(desk: Desk) -> int:
        from application.open_sessions import EndAllSessions

        end = await desk.get(EndAllSessions)
        return await end(desk.actor, await desk.user_id(user))

    ended = at_desk(work)
    put_done(f"{user} is signed out everywhere; {ended} session{'' if ended == 1 else 's'} ended.")


@users.command(examples=("hexward users reactivate zoe@example.org",))
@click.argument("user")
def reactivate(user: str) -> None:
    """Let a suspended user sign in again; their old sessions stay ended."""

    async def work(desk: Desk) -> Any:
        from application.users import ReactivateUser

        change = await desk.get(ReactivateUser)
        return await change(desk.actor, await desk.user_id(user))

    _put(at_desk(work), "Reactivated")


@users.command(examples=("hexward users delete zoe@example.org", "hexward users delete zoe@example.org --yes"))
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(user: str, yes: bool) -> None:
    """Wipe a user's personal data for good. The id stays, so that the audit trail keeps its meaning."""
    confirm(f"Delete {user} for good?", yes)

    async def work(desk: Desk) -> None:
        from application.users import DeleteUser

        remove = await desk.get(DeleteUser)
        await remove(desk.actor, await desk.user_id(user), None)

    at_desk(work)
    put_done(f"Deleted {user}.")


def _reply(account: Any) -> Any:
    from entrypoints.http.users import user_reply

    return user_reply(account)


def _row(account: Any) -> tuple[object, ...]:
    user = account.user
    return user.email, user.display_name, user.username, user.status, account.roles, user.created_at, user.id


def _put(account: Any, done: str | None = None) -> None:
    if wants_json():
        put_json(_reply(account))
        return
    user = account.user
    if done is not None:
        click.echo(f"{done} {visible(user.email)}.\n")
    put_fields(
        [
            ("E-mail", f"{user.email} ({'verified' if user.email_verified else 'not verified'})"),
            ("Name", user.display_name),
            ("Username", user.username),
            ("Locale", user.locale),
            ("Status", user.status),
            ("Roles", account.roles),
            ("Scope", user.scope),
            ("Created", user.created_at),
            ("Changed", user.updated_at),
            ("Id", user.id),
        ]
    )
