"""`hexward serve`: bring everything up, say where it is, and serve."""

import gc
import json
import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from entrypoints.cli.address import base_url
from entrypoints.cli.frame import Command, visible, wants_json


@click.command(
    cls=Command,
    examples=(
        "hexward serve",
        "hexward serve --port 9000 --workers 4",
        "HEXWARD_DATABASE_URL=postgresql://hexward@db/hexward hexward serve --host 0.0.0.0",
    ),
    acts=False,
)
@click.option("--host", metavar="ADDRESS", help="Where to listen, instead of HEXWARD_HOST.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="NUMBER", help="The TCP port, instead of HEXWARD_PORT.")
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="NUMBER", help="Processes that answer, instead of HEXWARD_WORKERS."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Where the embedded PostgreSQL lives, instead of HEXWARD_DATA_DIR.",
)
def serve(**chosen: Any) -> None:
    """Start Hexward and serve until told to stop.

    Without HEXWARD_DATABASE_URL it runs a PostgreSQL of its own in the data folder. The first start creates all that
    is needed, and prints the administrator's password once.
    """
    gc.disable()  # nothing that is imported is garbage; the server turns it on again
    from entrypoints.server import serve as run
    from entrypoints.settings import load
    from entrypoints.wiring.footing import default_data_dir

    given = {f"HEXWARD_{name.upper()}": str(value) for name, value in chosen.items() if value is not None}
    settings = load({**os.environ, **given}, Path.cwd(), default_data_dir)
    for warning in settings.warnings:
        click.echo(f"warning: {visible(warning)}", err=True)
    as_json = wants_json()

    def announce(ground: Any, first: Any, seconds: float) -> None:
        told = as_data(ground, first, seconds)
        click.echo(json.dumps(told, ensure_ascii=False) if as_json else as_text(told, "data_dir" in chosen_names))

    chosen_names = {name for name, value in chosen.items() if value is not None}
    run(settings, announce)


def as_data(ground: Any, first: Any, seconds: float) -> dict[str, Any]:
    """All that a newcomer wants to know; `first` is the administrator if this start made one."""
    settings = ground.settings
    embedded = settings.database_url is None
    own_name = settings.sources.get("HEXWARD_PUBLIC_URL", "default") != "default"
    return {
        "address": base_url(settings),
        "public_url": settings.public_url if own_name else None,
        "docs": f"{base_url(settings)}/docs",
        "data_dir": str(settings.data_dir),
        "database": "embedded" if embedded else _place(ground.place.database_url),
        "administrator": None if first is None else {"email": first.email, "password": first.password},
        "seconds": round(seconds, 2),
    }


def as_text(told: dict[str, Any], elsewhere: bool) -> str:
    """The same for people, with a line to try it. `elsewhere`: the data folder is not where commands look."""
    embedded = told["database"] == "embedded"
    lines = [("API documentation", told["docs"])]
    if told["public_url"] is not None:
        lines.append(("Public address", told["public_url"]))
    lines.append(("Data", f"{told['data_dir']} (embedded PostgreSQL)" if embedded else told["database"]))
    if elsewhere and embedded:
        lines.append(("For commands", f"export HEXWARD_DATA_DIR={shlex.quote(told['data_dir'])}"))
    administrator = told["administrator"]
    if administrator is not None:
        lines.append(("Administrator", administrator["email"]))
        if administrator["password"] is not None:
            lines.append(("Password", f"{administrator['password']}  (shown once: keep it)"))
    width = max(len(name) for name, _ in lines)
    return "\n".join(
        [
            f"Hexward is ready at {told['address']} ({told['seconds']:.1f} s)",
            "",
            *(f"  {name:<{width}}  {visible(value)}" for name, value in lines),
            "",
            "Try it:",
            "",
            f"  {_line_to_try(told['address'], administrator)}",
            "",
            "Ctrl-C stops it.",
        ]
    )


def _line_to_try(address: str, administrator: dict[str, Any] | None) -> str:
    """For a shell, as it is: a sign-in after the first start, and a question that needs none after any other."""
    if administrator is None:
        return f"curl -s {shlex.quote(f'{address}/health/ready')}"
    # by standard input: a password in an argument shows in the list of processes
    post = f"curl -s --json @- {shlex.quote(f'{address}/api/v1/auth/login')}"
    if administrator["password"] is not None:
        return f"printf %s {shlex.quote(json.dumps(administrator))} | {post}"
    email = shlex.quote(json.dumps(administrator["email"]))
    body = """'{"email": %s, "password": "%s"}'"""
    return f"""printf 'Password: '; read -rs P; printf {body} {email} "$P" | {post}"""


def _place(url: str) -> str:
    """Host and database, without user and password."""
    parts = urlsplit(url)
    return f"PostgreSQL at {parts.netloc.rpartition('@')[2] or 'this machine'}{parts.path}"
