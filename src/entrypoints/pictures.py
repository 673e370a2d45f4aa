"""Pictures that an operator brings: what kind of file it is, and how large it is drawn."""

import re
from dataclasses import dataclass, field
from pathlib import Path

PICTURE_MAX = 262_144  # bytes
_PNG = b"\x89PNG\r\n\x1a\n"
_SVG = re.compile(r"\ufeff?\s*(?:<[?!][^>]*>\s*)*<svg\b([^>]*)>", re.IGNORECASE)
_LENGTH = re.compile(r"""\b(width|height)\s*=\s*["']\s*([0-9.]{1,9})(?:px)?\s*["']""")
_VIEW_BOX = re.compile(
    r"""\bviewBox\s*=\s*["']\s*[-0-9.]+[\s,]+[-0-9.]+[\s,]+([0-9.]{1,9})[\s,]+([0-9.]{1,9})\s*["']"""
)


class Unreadable(Exception):
    """There is no picture there. The text says why, and never holds what the file does."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, as it stood in its file. `ratio` is its width by its height."""

    path: Path
    media_type: str
    ratio: float
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)


def read_picture(path: Path) -> Picture:
    """The SVG, PNG or WebP picture in a file, told by what it holds and not by its name; raises Unreadable."""
    try:
        with path.open("rb") as file:
            content = file.read(PICTURE_MAX + 1)
    except OSError as error:
        raise Unreadable(f"cannot read the file: {error.strerror}") from None
    if len(content) > PICTURE_MAX:
        raise Unreadable(f"this one is larger than {PICTURE_MAX // 1024} KiB")
    media_type, width, height = _told(content)
    if not (width > 0 and height > 0 and 1 / 20 <= width / height <= 20):
        raise Unreadable("this one has no size that a page could show")
    return Picture(path, media_type, width / height, content)


def _told(content: bytes) -> tuple[str, float, float]:
    """Media type, width and height."""
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) > 32:
        return "image/png", _number(content[16:20], "big"), _number(content[20:24], "big")
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP" and len(content) > 30:
        return "image/webp", *_webp_size(content[12:16], content[20:30])
    try:
        drawing = _SVG.match(content.decode())
    except UnicodeDecodeError:
        drawing = None
    if drawing is None:
        raise Unreadable("this one is neither SVG nor PNG nor WebP")
    return "image/svg+xml", *_svg_size(drawing[1])


def _webp_size(kind: bytes, head: bytes) -> tuple[float, float]:
    """RFC 9649, 2.5 to 2.7: lossy, lossless and extended files say it in different places."""
    if kind == b"VP8 ":
        return _number(head[6:8]) & 0x3FFF, _number(head[8:10]) & 0x3FFF
    if kind == b"VP8L":
        bits = _number(head[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return _number(head[4:7]) + 1, _number(head[7:10]) + 1
    return 0, 0


def _svg_size(attributes: str) -> tuple[float, float]:
    """What the root element says; a drawing that says nothing is taken as a square."""
    try:
        if (box := _VIEW_BOX.search(attributes)) is not None:
            return float(box[1]), float(box[2])
        lengths = {name: float(digits) for name, digits in _LENGTH.findall(attributes)}
    except ValueError:  # 1.2.3
        return 0, 0
    return (lengths["width"], lengths["height"]) if len(lengths) == 2 else (1, 1)


def _number(digits: bytes, order: str = "little") -> int:
    return int.from_bytes(digits, "big" if order == "big" else "little")
