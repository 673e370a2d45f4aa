"""`hexward doctor`: everything that could be wrong here, and what to do about it."""

import click

from entrypoints.cli.frame import Command, wants_json
from entrypoints.cli.output import put_json, put_table


@click.command(cls=Command, examples=("hexward doctor", "hexward doctor --json"), acts=False)
def doctor() -> None:
    """Look for everything that could be wrong here, and say what to do about it.

    Settings, files and their modes, database, schema, rights, keys, clocks, disk space, and a running server. Changes
    nothing. Exit status 1 if there is a problem; a warning is none.
    """
    from entrypoints.cli.checks import Level, examine

    findings = list(examine())
    worst = max((finding.level for finding in findings), key=list(Level).index)
    if wants_json():
        checks = [{"check": f.check, "level": f.level, "message": f.message, "remedy": f.remedy} for f in findings]
        put_json({"level": worst, "checks": checks})
    else:
        put_table(
            ("", "CHECK", "FOUND", "WHAT TO DO"), [(f.level, f.check, f.message, f.remedy or "") for f in findings]
        )
    if worst is Level.PROBLEM:
        raise click.exceptions.Exit(1)
