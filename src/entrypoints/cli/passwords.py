"""Passwords for commands: asked for, piped in or in a file; never an argument, which every process here could read."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click

LONGEST = 4096  # bytes, far above what the password rule allows


def password_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--password-stdin` and `--password-file`."""
    piped = click.option(
        "--password-stdin", is_flag=True, help="Read the password from standard input, but for one line end at its end."
    )
    filed = click.option(
        "--password-file",
        type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
        metavar="FILE",
        help="Read the password from this file, likewise.",
    )
    return piped(filed(function))


def new_password(from_stdin: bool, file: Path | None, *, otherwise: str = "") -> str:
    """The new password, from the one source that was named or by asking twice; wrong usage without either.

    `otherwise` is what else could be done, for the message to whoever has no terminal.
    """
    if from_stdin and file is not None:
        raise click.UsageError("--password-stdin and --password-file exclude each other")
    if from_stdin:
        return _read(sys.stdin.buffer, "standard input")
    if file is not None:
        with file.open("rb") as opened:
            _warn_if_open_to_all(opened.fileno(), file)
            return _read(opened, str(file))
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"there is no terminal to ask for the password: use --password-stdin or --password-file{otherwise}"
        )
    asked: str = click.prompt("New password", hide_input=True, confirmation_prompt="And again", err=True)
    return asked


def _read(stream: BinaryIO, name: str) -> str:
    content = stream.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise click.UsageError(f"{name} holds more than {LONGEST} bytes: that is not a password")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{name} is not UTF-8 text") from None
    password = text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
    if not password:
        raise click.UsageError(f"{name} is empty: a password is needed")
    return password


def _warn_if_open_to_all(descriptor: int, file: Path) -> None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        click.echo(f"warning: every user of this machine can read {file}: chmod o-r it", err=True)
