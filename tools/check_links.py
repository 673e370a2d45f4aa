"""Check that every relative link in the Markdown files leads to a file that exists, and to a heading that exists.

Addresses on the web are not asked for: a check must not fail because a foreign server does.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]

FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
ANCHOR = re.compile(r"""<[a-zA-Z][^>]*?\b(?:id|name)=["']([^"']+)["']""")
TARGETS = (
    re.compile(r"\]\(\s*<([^>]*)>"),  # [text](<target with spaces>)
    re.compile(r"\]\(\s*([^\s<)]*(?:\([^\s)]*\)[^\s)]*)*)(?:\s+[\"'(][^)]*)?\)"),  # [text](target "title")
    re.compile(r"^ {0,3}\[[^\]^]+\]:\s*<?([^\s>]+)"),  # [label]: target
    re.compile(r"""<[a-zA-Z][^>]*?\b(?:href|src)=["']([^"']*)["']"""),  # HTML
)


def markdown_files(root: Path) -> list[Path]:
    """Every Markdown file of the project, less hidden folders (other than .github) and built ones."""
    return sorted(
        path
        for path in root.rglob("*.md")
        if not any(
            part in {"build", "dist", "node_modules"} or (part.startswith(".") and part != ".github")
            for part in path.relative_to(root).parts[:-1]
        )
    )


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a page that are not inside a fenced code block."""
    fence = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark:
            fence = mark[1]
        else:
            yield number, line


def slug(heading: str) -> str:
    """The anchor that a code host gives a heading: lower case, punctuation dropped, spaces to hyphens."""
    text = re.sub(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page; a repeated heading gets -1, -2 and so on."""
    seen: Counter[str] = Counter()
    found = set()
    for _, line in prose(path):
        found.update(ANCHOR.findall(line))
        if heading := HEADING.match(line):
            name = slug(heading[1])
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return frozenset(found)


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and target of every link and image of a page."""
    for number, line in prose(path):
        text = CODE_SPAN.sub("", line)
        for pattern in TARGETS:
            for target in pattern.findall(text):
                yield number, target


def problem(root: Path, page: Path, target: str) -> str | None:
    """Why a link leads nowhere, or None when it is good or not ours to check."""
    address = urlsplit(target)
    if address.scheme or address.netloc:
        return None
    if not target:
        return "is empty"
    if address.path.startswith("/"):
        return "is absolute: write it relative to the page"
    found = (page.parent / unquote(address.path)).resolve() if address.path else page
    if not found.is_relative_to(root):
        return "leaves the project"
    if not found.exists():
        return "leads to no file"
    if address.fragment and found.suffix == ".md" and unquote(address.fragment) not in anchors(found):
        return "leads to no heading of that page"
    return None


def main() -> int:
    """Exit status: 0 when every link is good, 1 when one is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project to look at")
    root = parser.parse_args().root.resolve()
    pages = markdown_files(root)
    checked = broken = 0
    for page in pages:
        for number, target in links(page):
            checked += 1
            if why := problem(root, page, target):
                broken += 1
                print(f"{page.relative_to(root)}:{number}: ({target}) {why}", file=sys.stderr)
    print(f"{checked} links on {len(pages)} pages, {broken} broken.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
