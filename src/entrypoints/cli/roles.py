"""`hexward roles`: what can be held, and who holds it where."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from domain.errors import Forbidden, NotFound
from domain.ports import Page
from entrypoints.cli.desk import Desk, at_desk
from entrypoints.cli.frame import Group, confirm, wants_json
from entrypoints.cli.kinds import Moment
from entrypoints.cli.output import Position, Span, put_done, put_fields, put_json, put_page, put_table, span_options

SCOPE = click.option("--scope", default="*", show_default=True, metavar="PATH", help="Where, such as org/acme.")


@click.group(cls=Group)
def roles() -> None:
    """Define roles, and give them to users.

    USER is an e-mail address, a username or an id.
    """


@roles.command("list", examples=("hexward roles list", "hexward roles list --json"))
def list_roles() -> None:
    """List all roles."""

    async def work(desk: Desk) -> Any:
        from application.roles import ListRoles

        listed = await desk.get(ListRoles)
        return await listed(desk.actor)

    found = at_desk(work)
    if wants_json():
        put_json({"items": [_reply(role) for role in found], "next_cursor": None})
        return
    rows = [(r.name, sorted(map(str, r.permissions)), sorted(r.parents), r.built_in, r.description) for r in found]
    put_table(("NAME", "PERMISSIONS", "PARENTS", "BUILT IN", "DESCRIPTION"), rows)


@roles.command(examples=("hexward roles show manager",))
@click.argument("name")
def show(name: str) -> None:
    """Show a role."""

    async def work(desk: Desk) -> Any:
        from application.roles import ListRoles

        listed = await desk.get(ListRoles)
        return await listed.one(desk.actor, name)

    _put(at_desk(work))


@roles.command(
    examples=(
        "hexward roles create auditor --permission audit:read --permission users:read",
        "hexward roles create lead --parent manager --parent auditor --description 'Leads a team'",
    )
)
@click.argument("name")
@click.option("--permission", "permissions", multiple=True, metavar="RESOURCE:ACTION", help="May be repeated.")
@click.option("--parent", "parents", multiple=True, metavar="ROLE", help="A role it builds on; may be repeated.")
@click.option("--description", metavar="TEXT", help="What it is for.")
def create(name: str, permissions: tuple[str, ...], parents: tuple[str, ...], description: str | None) -> None:
    """Define a role out of permissions, and of other roles."""

    async def work(desk: Desk) -> Any:
        from application.roles import DefineRole, RoleChanges

        fields = {"description", "permissions", "parents"}
        define = await desk.get(DefineRole)
        return await define(desk.actor, name, RoleChanges(fields, description, permissions, parents))

    _put(at_desk(work), "Created")


@roles.command(examples=("hexward roles delete auditor --yes",))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Remove a role that nobody holds and no role builds on."""
    confirm(f"Remove the role {name}?", yes)

    async def work(desk: Desk) -> None:
        from application.roles import RemoveRole

        remove = await desk.get(RemoveRole)
        await remove(desk.actor, name, None)

    at_desk(work)
    put_done(f"Removed the role {name}.")


@roles.command(
    examples=(
        "hexward roles grant zoe@example.org manager",
        "hexward roles grant zoe@example.org manager --scope org/acme --expires 30d",
        "hexward roles grant zoe@example.org manager --starts 2030-01-01T00:00:00Z --expires 2030-02-01T00:00:00Z",
    )
)
@click.argument("user")
@click.argument("role")
@SCOPE
@click.option("--starts", type=Moment("after"), metavar="TIME", help="From when on: a time, or how far ahead, as 12h.")
@click.option("--expires", type=Moment("after"), metavar="TIME", help="Until when: a time, or for how long, as 30d.")
def grant(user: str, role: str, scope: str, starts: datetime | None, expires: datetime | None) -> None:
    """Give a user a role. Given again with other times, it has those from then on."""

    async def work(desk: Desk) -> Any:
        from application.roles import GrantRole
        from domain.scopes import Scope

        give = await desk.get(GrantRole)
        at = Scope.parse(scope)
        return await give(desk.actor, await desk.user_id(user), role, at, starts, expires, replacing=True)

    given = at_desk(work)
    if wants_json():
        put_json(_grant_reply(given))
        return
    end = "without an end" if given.expires_at is None else f"until {given.expires_at:%Y-%m-%d %H:%M:%S}Z"
    put_done(f"{user} holds {role} {_at(scope)} {end}.")


@roles.command(examples=("hexward roles revoke zoe@example.org manager --scope org/acme --yes",))
@click.argument("user")
@click.argument("role")
@SCOPE
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(user: str, role: str, scope: str, yes: bool) -> None:
    """Take a role away from a user, at exactly that scope."""
    confirm(f"Take {role} {_at(scope)} away from {user}?", yes)

    async def work(desk: Desk) -> None:
        from application.roles import RevokeGrant
        from domain.roles import parse_role_name
        from domain.scopes import Scope

        take = await desk.get(RevokeGrant)
        name = parse_role_name(role, "/role")
        await take.by_role(desk.actor, await desk.user_id(user), name, Scope.parse(scope))

    at_desk(work)
    put_done(f"{user} does not hold {role} {_at(scope)} any more.")


@roles.command(examples=("hexward roles grants --role admin", "hexward roles grants --user zoe@example.org --json"))
@click.option("--user", metavar="USER", help="Only what this user holds.")
@click.option("--role", metavar="ROLE", help="Only grants of this role.")
@span_options
def grants(user: str | None, role: str | None, span: Span) -> None:
    """List who holds which role where, and for how long."""

    async def work(desk: Desk) -> Any:
        from application.roles import ListGrants
        from domain.ports import GrantQuery
        from domain.roles import parse_role_name

        listed = await desk.get(ListGrants)
        holder = None if user is None else await desk.user_id(user)
        name = None if role is None else parse_role_name(role, "/role")

        async def page(limit: int, after: Position) -> Any:
            return await listed(desk.actor, GrantQuery((), holder, name, limit, after))

        found = await span.read("grants", page)
        return found, await _names(desk, found)

    found, names = at_desk(work)

    def row(grant: Any) -> tuple[object, ...]:
        holder = names.get(grant.user_id, grant.user_id)
        return holder, grant.role, grant.scope, grant.starts_at, grant.expires_at, grant.granted_by, grant.id

    put_page(found, "grants", _grant_reply, ("USER", "ROLE", "SCOPE", "STARTS", "EXPIRES", "GRANTED BY", "ID"), row)


async def _names(desk: Desk, found: Page[Any]) -> Mapping[Any, str]:
    """The e-mail addresses of the holders, as far as the actor may see them."""
    from application.users import ShowUser

    show = await desk.get(ShowUser)
    names = {}
    for id in {grant.user_id for grant in found.items}:
        try:
            names[id] = (await show(desk.actor, id)).user.email
        except (Forbidden, NotFound):
            continue
    return names


def _at(scope: str) -> str:
    return "everywhere" if scope == "*" else f"at {scope}"


def _reply(role: Any) -> Any:
    from entrypoints.http.roles import role_reply

    return role_reply(role)


def _grant_reply(grant: Any) -> Any:
    from entrypoints.http.roles import grant_reply

    return grant_reply(grant)


def _put(role: Any, done: str | None = None) -> None:
    if wants_json():
        put_json(_reply(role))
        return
    if done is not None:
        click.echo(f"{done} the role {role.name}.\n")
    put_fields(
        [
            ("Name", role.name),
            ("Description", role.description or None),
            ("Permissions", sorted(map(str, role.permissions))),
            ("Parents", sorted(role.parents)),
            ("Built in", role.built_in),
        ]
    )
