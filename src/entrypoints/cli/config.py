"""`hexward config`: what Hexward was told, and whether it can start with that."""

import click

from entrypoints.cli.frame import Group, visible, wants_json
from entrypoints.cli.output import put_json, put_table


@click.group(cls=Group)
def config() -> None:
    """Show and check the settings."""


@config.command(examples=("hexward config show",), acts=False)
def show() -> None:
    """Print every setting in force and where it came from. Secrets are hidden."""
    from entrypoints import settings
    from entrypoints.ground import read_settings

    shown = settings.show(read_settings())
    if wants_json():
        items = [{"name": s.name, "value": s.value, "source": s.source} for s in shown]
        put_json({"items": items, "next_cursor": None})
        return
    put_table(("SETTING", "VALUE", "SOURCE"), [(s.name, s.value, s.source) for s in shown])


@config.command(examples=("hexward config check", "HEXWARD_ENVIRONMENT=production hexward config check"), acts=False)
def check() -> None:
    """Read the settings as a start would, and say what is wrong with them. Touches nothing else."""
    from entrypoints.ground import read_settings

    warnings = read_settings().warnings
    if wants_json():
        put_json({"ok": True, "warnings": warnings})
        return
    for warning in warnings:
        click.echo(f"warning: {visible(warning)}", err=True)
    click.echo("The settings are in order.")
