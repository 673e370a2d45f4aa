"""What options can be given besides text: moments in time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import click

_DURATION = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType[datetime]):
    """A time with its zone, or how far away it is: `30d` with `after`, `12h` ago with `before`."""

    name = "time"

    def __init__(self, side: Literal["before", "after"]) -> None:
        self._sign = -1 if side == "before" else 1

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment; wrong usage for anything else."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            if distance := _DURATION.fullmatch(text):
                return datetime.now(UTC) + self._sign * timedelta(**{_UNITS[distance[2]]: int(distance[1])})
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # told below, as for a time without its zone
        remedy = "give a time with its zone, such as 2030-01-31T12:00:00Z, or a distance such as 30d or 12h"
        raise click.BadParameter(remedy, ctx, param)
