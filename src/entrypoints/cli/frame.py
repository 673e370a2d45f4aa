"""What all commands share: `--as`, `--json`, examples in the help, and how a refusal is told.

Nothing slow is imported here or at the top of any command's module: help and completion pass through them.
"""

import errno
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from domain.errors import DomainError, Invalid

PROGRAM = "hexward"
_AS = "entrypoints.cli.as"
_JSON = "entrypoints.cli.json"


def as_option() -> click.Option:
    """`--as USER`, also where nothing is done with it: `acting_user` finds it."""
    return click.Option(
        ["--as", "as_user"],
        metavar="USER",
        expose_value=False,
        callback=_noted_as(_AS),
        help="Act with the rights of this user (e-mail, username or id) instead of full rights.",
    )


def json_option() -> click.Option:
    """`--json`: `wants_json` finds it."""
    return click.Option(
        ["--json", "as_json"],
        is_flag=True,
        expose_value=False,
        callback=_noted_as(_JSON),
        help="Print JSON, as the REST API does; errors too, on standard error.",
    )


def _noted_as(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def note(context: click.Context, _: click.Parameter, value: Any) -> Any:
        if value:  # given before or after the name of the command
            context.meta[key] = value
        return value

    return note


def acting_user() -> str | None:
    """What `--as` names."""
    user: str | None = click.get_current_context().meta.get(_AS)
    return user


def wants_json() -> bool:
    """Whether `--json` was given."""
    return bool(click.get_current_context().meta.get(_JSON))


class Command(click.Command):
    """A command with examples. `acts`: it does something in a user's name, so that `--as` has a meaning."""

    def __init__(
        self, *args: Any, examples: Sequence[str], acts: bool = True, prints: bool = True, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.examples, self._acts = examples, acts
        self.params += [as_option()] if acts else []
        self.params += [json_option()] if prints else []

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line."""
        write_examples(formatter, self.examples)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; a refusal ends it with exit status 1 and a sentence."""
        if not self._acts and acting_user() is not None:
            raise click.UsageError(f"--as makes no difference to {ctx.command_path}", ctx)
        try:
            return super().invoke(ctx)
        except DomainError as error:
            tell(error)
            raise click.exceptions.Exit(1) from error
        except OSError as error:
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            tell(DomainError(f"{error.filename}: {error.strerror}", code="system_error"))
            raise click.exceptions.Exit(1) from error


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were declared."""
        return list(self.commands)


class LazyGroup(click.Group):
    """Commands that live in a module of their own, imported when the command is used and not before.

    `lazy` maps each name to its one line of help; `entrypoints.cli.NAME` holds the command as `NAME`.
    """

    def __init__(self, *args: Any, lazy: dict[str, str], examples: Sequence[str], **more: Any) -> None:
        super().__init__(*args, **more)
        self.lazy, self.examples = lazy, examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were declared."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now, or None."""
        if cmd_name not in self.lazy:
            return None
        command: click.Command = getattr(import_module(f"entrypoints.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lazy.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line."""
        write_examples(formatter, self.examples)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Likewise without importing."""
        found = [CompletionItem(name, help=text) for name, text in self.lazy.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def write_examples(formatter: click.HelpFormatter, examples: Iterable[str]) -> None:
    """As they are: a command line is not wrapped."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def tell(error: DomainError) -> None:
    """The refusal on standard error: a sentence and what is wrong with which input, or the same as JSON."""
    fields = error.fields if isinstance(error, Invalid) else ()
    if wants_json():
        errors = [{"pointer": f.pointer, "code": f.code, "message": f.message} for f in fields]
        problem = {"code": error.reason_code, "message": error.message, "errors": errors}
        click.echo(json.dumps(problem, ensure_ascii=False), err=True)
        return
    told = [f"{f.pointer.removeprefix('/')}: {f.message}" for f in fields]
    if len(fields) == 1 and fields[0].message == error.message:
        click.echo(f"error: {visible(told[0])}", err=True)
        return
    click.echo("\n".join([f"error: {visible(error.message)}", *(f"  {visible(line)}" for line in told)]), err=True)


def visible(text: str) -> str:
    """The text with whatever a terminal would obey, or hide, spelt out; line ends and the joiners of scripts stay."""
    return "".join(c if c.isprintable() or c in "\n\u200c\u200d" else c.encode("unicode_escape").decode() for c in text)


def confirm(question: str, yes: bool) -> None:
    """Go on only if the operator says so, here or by `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: add --yes if you are sure")
    if not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)
