"""Figures as rows."""

from collections.abc import Sequence


def heading(text: str) -> None:
    """Begin a section."""
    print(f"\n== {text}", flush=True)


def row(name: str, **figures: object) -> None:
    """One line: what, and what it came to."""
    print(f"{name:<44}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], unit: str = "ms") -> dict[str, str]:
    """Median, 99th percentile and maximum."""
    return {
        "p50": f"{percentile(values, 0.5):.1f} {unit}",
        "p99": f"{percentile(values, 0.99):.1f} {unit}",
        "max": f"{max(values):.1f} {unit}",
        "n": str(len(values)),
    }
