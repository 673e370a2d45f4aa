"""Secrets: a wrapper that keeps them out of logs, and reading them from a variable, a file or a command."""

import contextlib
import os
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

Source = Literal["default", "environment", "file", "command"]

FORMS: Mapping[str, Source] = {"": "environment", "_FILE": "file", "_COMMAND": "command"}
"""What may follow the name of a setting, and where its value then comes from."""

COMMAND_SECONDS = 10.0
_SIZE_MAX = 65_536  # bytes; whatever is longer is not the secret that was meant


class Unusable(Exception):
    """A setting cannot be used as it is set. The text is a sentence that says why, and never holds a secret."""


class Secret[T: (str, bytes)]:
    """A value that shows itself only to who asks for it by name: not to `print`, logs, tracebacks or pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value: T = value

    def reveal(self) -> T:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or pickled: pass it on, or reveal() it where it is used")


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of a setting, where it came from, and what is doubtful about that place."""

    text: str
    source: Source
    warning: str | None = None

    def __repr__(self) -> str:
        return f"Reading(source={self.source!r})"


def read(
    name: str,
    forms: Mapping[str, str],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    patience: float = COMMAND_SECONDS,
) -> Reading | None:
    """The value of the setting `name`, of which `forms` holds what is set, by suffix; None when nothing is.

    A file loses one line end at its end, and so does the output of a command. That runs in `cwd` with `environ`,
    without a shell, and has `patience` seconds. Raises Unusable.
    """
    if len(forms) > 1:
        raise Unusable(f"{' and '.join(name + form for form in forms)} are both set: keep one of them")
    for form, text in forms.items():
        if form == "_FILE":
            return _from_file(name + form, cwd / text)
        if form == "_COMMAND":
            return Reading(_from_command(name + form, text, environ, cwd, patience), "command")
        return Reading(text, "environment")
    return None


def _from_file(variable: str, path: Path) -> Reading:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_SIZE_MAX + 1)
    except FileNotFoundError:
        raise Unusable(f"{variable} names {path}, which does not exist: create it or correct the path") from None
    except OSError as error:
        raise Unusable(f"{variable} names {path}, which cannot be read: {error.strerror}") from None
    open_to_all = stat.S_ISREG(mode) and mode & stat.S_IROTH
    warning = f"Every user of this machine can read {path} ({variable}): chmod o-r it" if open_to_all else None
    return Reading(_text(variable, content), "file", warning)


def _from_command(variable: str, command: str, environ: Mapping[str, str], cwd: Path, patience: float) -> str:
    """What the command prints. Its words stay out of the errors, as they may hold a secret of their own."""
    import shlex  # these two only where a command is set: they cost as much as the rest of this module
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError:
        raise Unusable(f"{variable} is not a command line: a quote in it is not closed") from None
    if not words:
        raise Unusable(f"{variable} is empty: set it to a command, or remove it")
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise Unusable(f"{variable} cannot be started (it runs without a shell): {error.strerror}") from None
    with process:
        try:
            output, _ = process.communicate(timeout=patience)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)  # with what it started, which may hold the pipe open
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unusable(f"{variable} gave no answer within {patience:g} s: make it faster") from None
            raise
    if process.returncode != 0:
        raise Unusable(f"{variable} failed with exit status {process.returncode}: run it by hand to see why")
    return _text(variable, output)


def _text(variable: str, content: bytes) -> str:
    if len(content) > _SIZE_MAX:
        raise Unusable(f"{variable} gives more than {_SIZE_MAX} bytes: that cannot be the value of a setting")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Unusable(f"{variable} gives bytes that are not UTF-8 text: store the value as text") from None
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
