"""The page about conformance names tests that there are, and every row has a test or says why there is none."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "conformance.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CLAUSE = re.compile(r"[23](\.[0-9]+)+")
WORDS = {"MUST", "MUST NOT", "REQUIRED", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY"}
BOUND = {"server", "client", "operator"}


def rows():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and CLAUSE.fullmatch(cells[0]):
            yield cells


ROWS = list(rows())


@cache
def defined_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_page_has_rows_of_both_specifications():
    assert {cells[0][0] for cells in ROWS} == {"2", "3"}
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(lines) == len(ROWS) + 2 * 2, "a head and a rule for each table, and rows with a clause"


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: f"{cells[0]} {cells[2]}")
def test_every_row_is_complete(cells):
    _, word, demand, bound, shown = cells
    assert word in WORDS
    assert demand
    assert bound in BOUND
    assert TEST.search(shown) or len(shown.split()) > 2, "a test, or a reason in words"


@pytest.mark.parametrize("path", sorted({path for cells in ROWS for path, _ in TEST.findall(cells[4])}))
def test_every_test_that_is_named_exists(path):
    named = {name for cells in ROWS for file, name in TEST.findall(cells[4]) if file == path}
    assert named <= defined_in(path)


@pytest.mark.parametrize("cells", [c for c in ROWS if "tests/" in c[4]], ids=lambda cells: f"{cells[0]} {cells[2]}")
def test_a_test_is_named_so_that_it_can_be_found(cells):
    assert cells[4].count("tests/") == len(TEST.findall(cells[4]))
