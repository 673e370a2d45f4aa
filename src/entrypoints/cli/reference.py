"""`docs/reference/commands.md`, out of the commands themselves: `python -m entrypoints.cli.reference` prints it."""

import inspect
import sys
from collections.abc import Iterator

import click

from entrypoints.cli.frame import PROGRAM
from entrypoints.cli.main import root

_PAGE = """\
# Commands

<!-- Made by `python -m entrypoints.cli.reference`; edit src/entrypoints/cli/ instead, then run it again. -->

`hexward` works on the installation that its [settings](settings.md) name, beside a running server or without one. It
acts with full rights, because whoever runs it holds the database and the master key; every change is in the audit
trail under the name of the system user. `--as USER` acts with the rights of that user instead.

- **Exit status**: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.
- **Output**: tables for people, in UTC. `--json`, before or after the name of the command, prints what the REST API
  answers: one thing as an object, a list as `{{"items": [...], "next_cursor": ...}}`, and nothing where the API answers
  without content. What is refused is then an object on standard error: `{{"code", "message", "errors": [{{"pointer",
  "code", "message"}}]}}`; wrong usage stays text.
- **Lists** end after `--limit` items. `--all` shows the rest, and `--cursor` goes on where a list or an answer of the
  API ended.
- **Passwords** are asked for, or read from standard input or a file. They are never arguments, because every process
  of a machine can read those.
- **Users** are named by e-mail address, username or id.
- **Help**: `--help` with every command, with the examples below.
- **Questions** before something is deleted or revoked are asked on a terminal only; elsewhere `--yes` is needed.

{commands}
"""


def reference_page() -> str:
    """The page, in Markdown."""
    with click.Context(root, info_name=PROGRAM) as context:
        return _PAGE.format(commands="\n\n".join(_sections(root, context)))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield _section(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                with click.Context(child, info_name=name, parent=context) as inner:
                    yield from _sections(child, inner)


def _section(command: click.Command, context: click.Context) -> str:
    depth = context.command_path.count(" ")
    parts = [f"{'#' * (depth + 2)} {context.command_path}", inspect.cleandoc(command.help or "")]
    if not isinstance(command, click.Group):
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts.append(f"```\n{usage}\n```")
    records = [parameter.get_help_record(context) for parameter in command.params]
    if options := [_row(*record) for record in records if record is not None and record[1]]:
        parts.append("\n".join(["| Option | Meaning |", "|---|---|", *options]))
    if examples := getattr(command, "examples", ()):
        parts.append("\n".join(["```console", *(f"$ {example}" for example in examples), "```"]))
    return "\n\n".join(parts)


def _row(option: str, meaning: str) -> str:
    return f"| `{option.replace('|', '\\|')}` | {meaning.replace('|', '\\|')} |"


if __name__ == "__main__":
    sys.stdout.write(reference_page())
