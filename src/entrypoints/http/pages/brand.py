"""The look of the pages, made once of the settings: a style sheet and a logo, named by what they hold."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from entrypoints.http.pages.colors import DARK, LIGHT, shades
from entrypoints.settings import Settings

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load."""

    path: str
    media_type: str
    content: bytes

    @property
    def tag(self) -> str:
        """What changes when the content does."""
        return hashlib.sha256(self.content).hexdigest()[:20]

    @property
    def url(self) -> str:
        """Its address with the tag, so that it can be kept for ever."""
        return f"{self.path}?v={self.tag}"


class Brand:
    """Name, style sheet and logo. `logo_ratio` is the width of the logo by its height."""

    def __init__(self, settings: Settings) -> None:
        light, dark = shades(settings.brand_color)
        self.name = settings.brand_name
        self.bar_colors = LIGHT["card"], DARK["card"]
        rules = (_HERE / "style.css").read_text(encoding="utf-8")
        at_night = f"@media (prefers-color-scheme: dark) {{\n{_palette({**DARK, **dark})}\n}}"
        sheet = f"{_palette({**LIGHT, **light})}\n{at_night}\n{rules}"
        self.style = Asset("/assets/hexward.css", "text/css", sheet.encode())
        if settings.brand_logo is not None:
            media_type, logo = settings.brand_logo.media_type, settings.brand_logo.content
            self.logo_ratio = settings.brand_logo.ratio
        else:
            mark = (_HERE / "mark.svg").read_text(encoding="utf-8")
            logo = mark.replace("#111111", light["accent-ink"]).replace("#eeeeee", dark["accent-ink"]).encode()
            media_type, self.logo_ratio = "image/svg+xml", 1.0
        self.logo = Asset("/assets/logo", media_type, logo)


def _palette(colors: Mapping[str, str]) -> str:
    return ":root { " + " ".join(f"--{name}: {color};" for name, color in colors.items()) + " }"
