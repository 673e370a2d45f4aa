"""`hexward db`: the schema of the database."""

import asyncio
from collections.abc import Sequence

import click

from domain.errors import StartRefused
from entrypoints.cli.desk import START_FIRST, has_database, opened_in_turn
from entrypoints.cli.frame import Group, visible, wants_json
from entrypoints.cli.output import put_json


@click.group(cls=Group)
def db() -> None:
    """Migrate the database, and compare it with the code."""


@db.command(examples=("hexward db upgrade",), acts=False)
def upgrade() -> None:
    """Bring the database to the schema of this version. Safe to repeat, and while servers run.

    hexward serve does it by itself; this is for whoever wants to migrate before a new version is rolled out.
    """
    from entrypoints.ground import read_settings

    with opened_in_turn(read_settings(), keyless=True) as ground:
        before, after = asyncio.run(_upgraded(ground.owner_url))
    if wants_json():
        put_json({"from": before, "to": after, "changed": before != after})
    elif before == after:
        click.echo(f"The database is already at revision {after}.")
    else:
        click.echo(f"The database went from {f'revision {before}' if before else 'nothing'} to revision {after}.")


@db.command(examples=("hexward db check",), acts=False)
def check() -> None:
    """Say which revision the database is at, and whether its tables are those of the code. Exit status 1 if not."""
    from entrypoints.ground import read_settings

    settings = read_settings()
    if not has_database(settings):
        raise StartRefused(f"there is no database in {settings.data_dir} yet; {START_FIRST}", code="not_prepared")
    with opened_in_turn(settings, keyless=True) as ground:
        revision, problems = asyncio.run(_compared(ground.owner_url))
    if wants_json():
        put_json({"revision": revision, "problems": problems})
    else:
        click.echo(f"The database is at revision {revision or 'none'}.")
        for problem in problems:
            click.echo(f"problem: {visible(problem)}")
        if not problems:
            click.echo("Its tables are those of this version.")
    if problems:
        raise click.exceptions.Exit(1)


async def _upgraded(url: str) -> tuple[str | None, str | None]:
    from entrypoints.wiring.footing import current
    from entrypoints.wiring.footing import upgrade as migrate

    before = await current(url)
    await migrate(url)
    return before, await current(url)


async def _compared(url: str) -> tuple[str | None, Sequence[str]]:
    from entrypoints.wiring.footing import check as compare
    from entrypoints.wiring.footing import current

    return await current(url), await compare(url)
