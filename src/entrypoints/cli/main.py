"""`hexward`: the console script, its exit status, and the list of commands."""

import io
import sys

import click

from entrypoints.cli.frame import PROGRAM, LazyGroup, as_option, json_option

COMMANDS = {
    "serve": "Start Hexward and serve until told to stop.",
    "users": "Create, find, suspend and delete users.",
    "roles": "Define roles, and give them to users.",
    "clients": "Register, change and remove applications, and rotate their secrets.",
    "keys": "List, rotate and revoke signing keys.",
    "audit": "Read the audit trail.",
    "db": "Migrate the database, compare it with the code, tidy it up.",
    "config": "Show and check the settings.",
    "doctor": "Look for everything that could be wrong here, and say what to do about it.",
    "completion": "Print the script that completes hexward's commands and options in your shell.",
}
EXAMPLES = (
    "hexward serve",
    "hexward users create zoe@example.org --role manager",
    "hexward --as zoe@example.org users list --json",
)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version('hexward')}")
        context.exit()


root = LazyGroup(
    name=PROGRAM,
    lazy=COMMANDS,
    examples=EXAMPLES,
    params=[
        as_option(),
        json_option(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Hexward, an identity and access service: who your users are, and what they may do.\n\n"
    "Settings come from HEXWARD_* variables; `hexward config show` lists them. Exit status: 0 done, 1 refused or "
    "failed, 2 wrong usage.",
)


def main() -> None:
    """Run the command line: exit 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    try:
        status = root.main(prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
