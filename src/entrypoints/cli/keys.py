"""`hexward keys`: the keys that sign access tokens, and those of refresh tokens."""

from datetime import datetime
from typing import Any

import click

from entrypoints.cli.desk import Desk, at_desk
from entrypoints.cli.frame import Group, confirm, wants_json
from entrypoints.cli.output import put_done, put_json, put_table


@click.group(cls=Group)
def keys() -> None:
    """List, rotate and revoke signing keys."""


@keys.command("list", examples=("hexward keys list",))
def list_keys() -> None:
    """List all keys with their states, newest first; never their secret halves."""

    async def work(desk: Desk) -> Any:
        from application.keys import ListKeys

        listed = await desk.get(ListKeys)
        return await listed(desk.actor), desk.actor.at

    found, now = at_desk(work)
    if wants_json():
        put_json({"items": [_reply(key, now) for key in found], "next_cursor": None})
        return
    put_table(
        ("ID", "USE", "ALGORITHM", "STATE", "CREATED", "ACTIVE FROM", "SUPERSEDED", "REVOKED"),
        [
            (k.id, k.use, k.algorithm, k.state(now), k.created_at, k.activates_at, k.superseded_at, k.revoked_at)
            for k in found
        ],
    )


@keys.command(examples=("hexward keys rotate", "hexward keys rotate --use sign --algorithm EdDSA"))
@click.option(
    "--use", type=click.Choice(("sign", "refresh")), default="sign", show_default=True, help="Which key to rotate."
)
@click.option(
    "--algorithm", metavar="NAME", help="ES256, EdDSA or RS256 for signing; without it the present one stays."
)
def rotate(use: str, algorithm: str | None) -> None:
    """Publish the next key. It takes over once every verifier has had the time to see it."""

    async def work(desk: Desk) -> Any:
        from application.keys import RotateKey
        from domain.keys import KeyUse

        change = await desk.get(RotateKey)
        return await change(desk.actor, KeyUse(use), algorithm), desk.actor.at

    fresh, now = at_desk(work)
    if wants_json():
        put_json(_reply(fresh, now))
        return
    put_done(f"Key {fresh.id} ({fresh.algorithm}) is published and takes over at {fresh.activates_at:%H:%M:%S} UTC.")


@keys.command(examples=("hexward keys revoke 1f2e3d4c --yes",))
@click.argument("id", metavar="KEY")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(id: str, yes: bool) -> None:
    """Refuse everything a key signed, at once. For a key that leaked; a fresh one takes over."""
    confirm(f"Revoke the key {id}? Every token it signed is refused from now on.", yes)

    async def work(desk: Desk) -> Any:
        from application.keys import RevokeKey

        change = await desk.get(RevokeKey)
        return await change(desk.actor, id), desk.actor.at

    revoked, now = at_desk(work)
    if wants_json():
        put_json(_reply(revoked, now))
        return
    put_done(f"Key {revoked.id} is revoked.")


def _reply(key: Any, now: datetime) -> Any:
    from entrypoints.http.keys import key_reply

    return key_reply(key, now)
