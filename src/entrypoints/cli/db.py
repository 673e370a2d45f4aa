"""`hexward db`: the schema of the database."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from domain.errors import StartRefused
from entrypoints.cli.desk import START_FIRST, Desk, at_desk, has_database, opened_in_turn
from entrypoints.cli.frame import Group, visible, wants_json
from entrypoints.cli.output import put_json

WHILE_OTHERS_WORK = 0.5  # seconds


@click.group(cls=Group)
def db() -> None:
    """Migrate the database, compare it with the code, tidy it up."""


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


@db.command(examples=("hexward db upkeep", "hexward db upkeep --json"), acts=False)
def upkeep() -> None:
    """Remove all that has been kept for long enough, to the end. Safe to repeat, and while servers run.

    Servers do it by themselves, a little at a time; this is for whoever does not want to wait. Exit status 1 if
    something was in use all the while and is left.
    """
    from application.maintenance import in_words

    removed, seconds, backlog = at_desk(_rounds)
    if wants_json():
        put_json({"removed": removed, "seconds": round(seconds, 3), "backlog": backlog})
    else:
        click.echo(f"Removed {in_words(removed)} in {seconds:.1f} s.")
        if backlog:
            click.echo("What is left is in use just now; a server or this command removes it another time.")
    if backlog:
        raise click.exceptions.Exit(1)


async def _rounds(desk: Desk) -> tuple[Mapping[str, int], float, bool]:
    """Round after round, for as long as they get on; what went, seconds of work, and whether something is left."""
    from application.maintenance import RemoveLeftovers, in_words

    remove = await desk.get(RemoveLeftovers)
    removed, seconds = Counter[str](), 0.0
    while True:
        done = await remove()
        removed.update(done.removed)
        seconds += done.seconds
        if done.yielded:
            await asyncio.sleep(WHILE_OTHERS_WORK)
        elif not (done.backlog and done.useful):
            return removed, seconds, done.backlog
        if done.useful and not wants_json():
            click.echo(f"{in_words(removed)} so far ...", err=True)


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
