"""Figures as rows: printed as they come, and kept for `--json` and `--markdown`."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- figures of make bench: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """What was measured, and its figures by name; the name of a figure ends with its unit."""

    name: str
    figures: Mapping[str, object]


def machine() -> Mapping[str, object]:
    """What the figures are measured on. Much load from others before the start makes them worth little."""
    return {
        "cores": os.cpu_count() or 1,
        "memory GB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "load before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


@dataclass
class Report:
    """All that one run found; `command` is what to type to have it run again."""

    command: str = "make bench"
    machine: Mapping[str, object] = field(default_factory=machine)
    sections: dict[str, list[Row]] = field(default_factory=dict)

    def told_machine(self) -> str:
        """The machine in one line."""
        return ", ".join(f"{name} {_shown(value)}" for name, value in self.machine.items())

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.sections[text] = []
        print(f"\n== {text}", flush=True)

    def row(self, name: str, figures: Mapping[str, object]) -> None:
        """One line: what, and what it came to."""
        self.sections[next(reversed(self.sections))].append(Row(name, figures))
        told = (f"{key} {_shown(value)}" for key, value in figures.items() if value not in ("", None))
        print(f"{name:<44}" + "  ".join(told), flush=True)

    def as_json(self) -> dict[str, object]:
        """Everything, with figures as numbers."""
        rows = {name: [{"name": row.name, **row.figures} for row in found] for name, found in self.sections.items()}
        return {"command": self.command, "machine": dict(self.machine), "sections": rows}

    def as_markdown(self) -> str:
        """A table for each section, and one more wherever the figures are others."""
        parts = [f"`{self.command}`: {self.told_machine()}"]
        for name, rows in self.sections.items():
            parts += [f"### {name}", *_tables(rows)]
        return "\n\n".join(parts) + "\n"


def put_into(page: Path, tables: str) -> None:
    """Write the tables to a file or, where it has the two marks of a page, between them."""
    text = page.read_text() if page.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    page.write_text(f"{before}{begin}\n\n{tables}\n{end}{after}" if end else tables)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, object]:
    """Median, 99th percentile and maximum of milliseconds."""
    return {
        "p50 ms": percentile(values, 0.5),
        "p99 ms": percentile(values, 0.99),
        "max ms": max(values),
        "n": len(values),
    }


def _tables(rows: Sequence[Row]) -> list[str]:
    tables: list[list[str]] = []
    columns: list[str] | None = None
    for row in rows:
        if list(row.figures) != columns:
            columns = list(row.figures)
            tables.append([f"| | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"])
        tables[-1].append(f"| {row.name} | {' | '.join(_shown(value) for value in row.figures.values())} |")
    return ["\n".join(table) for table in tables]


def _shown(value: object) -> str:
    """Three digits or so: more would pretend to be exact."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
