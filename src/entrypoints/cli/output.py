"""What commands print: tables for people, or the JSON of the REST API."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from domain.ports import Page
from entrypoints.cli.frame import visible, wants_json

PAGE = 200
UNBROKEN = 100_000  # columns; into a pipe or a file, a row is one line

type Position = tuple[str, Any] | None


def put_json(value: object) -> None:
    """One JSON document in UTF-8, whatever the terminal speaks."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def put_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, also for letters of double width; on a terminal, what is too long is folded, never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else UNBROKEN, highlight=False)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def put_fields(fields: Sequence[tuple[str, object]]) -> None:
    """One thing, a line for each of its attributes."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        click.echo(f"{name:<{width}}  {_cell(value)}".rstrip())


def put_done(sentence: str) -> None:
    """What was done, where the API answers without content: nothing for machines."""
    if not wants_json():
        click.echo(visible(sentence))


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case bool():
            return "yes" if value else "no"
        case str():
            return visible(value).replace("\n", " ")
        case Sequence():
            return visible(", ".join(map(str, value))) or "-"
        case _:
            return visible(str(value))


@dataclass(frozen=True, slots=True)
class Span:
    """How much of a list: at most `limit` items (None: all), from a cursor of the same order on."""

    limit: int | None
    cursor: str | None

    async def read[T](self, order: str, fetch: Callable[[int, Position], Awaitable[Page[T]]]) -> Page[T]:
        """The items, page after page; `fetch` takes a limit and where to go on. Raises Invalid for a foreign cursor."""
        from entrypoints.http.paging import position

        items: list[T] = []
        after: Position = position(self.cursor, order)
        while True:
            wanted = PAGE if self.limit is None else min(PAGE, self.limit - len(items))
            page = await fetch(wanted, after)
            items.extend(page.items)
            after = page.after
            if after is None or (self.limit is not None and len(items) >= self.limit):
                return Page(items, after)


def span_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--limit`, `--all` and `--cursor`, handed over as one `span`."""
    import functools

    @functools.wraps(function)
    def spanned(*args: Any, limit: int, all_: bool, cursor: str | None, **more: Any) -> None:
        function(*args, span=Span(None if all_ else limit, cursor), **more)

    limit = click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        default=50,
        show_default=True,
        help="How many at the most.",
    )
    everything = click.option("--all", "all_", is_flag=True, help="As many as there are.")
    cursor = click.option("--cursor", metavar="TEXT", help="Go on where a list with this next_cursor ended.")
    return limit(everything(cursor(spanned)))


def put_page[T](
    page: Page[T],
    order: str,
    reply: Callable[[T], object],
    heads: Sequence[str],
    row: Callable[[T], Sequence[object]],
) -> None:
    """A list: a table, or `{"items": [...], "next_cursor": ...}`. Says so where it goes on."""
    if wants_json():
        from entrypoints.http.paging import next_cursor

        put_json({"items": [reply(item) for item in page.items], "next_cursor": next_cursor(page.after, order)})
        return
    put_table(heads, map(row, page.items))
    if page.after is not None:
        click.echo(f"These are the first {len(page.items)}; --limit or --all shows more.", err=True)
