"""Colours that can be read: those of the pages, and the shades of the brand's own that go with them.

Contrast is that of WCAG 2.2 (1.4.3): at least 4.5 for text, whatever colour an operator chooses.
"""

from collections.abc import Mapping

READABLE = 4.5
BLACK, WHITE = "#000000", "#ffffff"
_STEPS = 64

LIGHT: Mapping[str, str] = {
    "page": "#f3f4f7",
    "card": "#ffffff",
    "field": "#ffffff",
    "quiet": "#f6f7f9",
    "ink": "#1a1d23",
    "soft": "#575d69",
    "line": "#dcdfe5",
    "edge": "#80879a",
    "danger": "#b3261e",
    "danger-page": "#fdf1f0",
    "done": "#1c6b3c",
    "done-page": "#eef7f1",
}
DARK: Mapping[str, str] = {
    "page": "#0e1014",
    "card": "#171a20",
    "field": "#101318",
    "quiet": "#1d2128",
    "ink": "#e8eaee",
    "soft": "#a0a7b4",
    "line": "#2b303a",
    "edge": "#6d7588",
    "danger": "#ff9f97",
    "danger-page": "#2b1817",
    "done": "#7fd8a0",
    "done-page": "#13241a",
}
SURFACES = ("page", "card", "field", "quiet")
"""What text of the brand's colour may stand on."""


def contrast(one: str, other: str) -> float:
    """From 1, the same, to 21, black on white."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def on(fill: str) -> str:
    """Black or white, whichever is easier to read there; one of them always is."""
    return max(WHITE, BLACK, key=lambda color: contrast(color, fill))


def readable(color: str, surfaces: Mapping[str, str]) -> str:
    """The colour, as little darkened or lightened as it takes to be read on all surfaces."""
    grounds = [surfaces[name] for name in SURFACES]
    goal = on(grounds[0])
    for step in range(_STEPS + 1):
        shade = _mixed(color, goal, step / _STEPS)
        if all(contrast(shade, ground) >= READABLE for ground in grounds):
            return shade
    return goal


def shades(brand: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What a style sheet needs of the brand's colour: on the light pages, and on the dark ones."""
    at_night = readable(brand, DARK)
    return _shades(brand, readable(brand, LIGHT)), _shades(at_night, at_night)


def _shades(fill: str, ink: str) -> Mapping[str, str]:
    """`accent` is for areas, `accent-ink` for text and outlines; pointed at, an area moves away from its text."""
    text = on(fill)
    away = BLACK if text == WHITE else WHITE
    return {"accent": fill, "on-accent": text, "accent-near": _mixed(fill, away, 0.14), "accent-ink": ink}


def _mixed(color: str, other: str, share: float) -> str:
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(mine + (theirs - mine) * share):02x}" for mine, theirs in pairs)


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    red, green, blue = (
        level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4
        for level in (channel / 255 for channel in _channels(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
