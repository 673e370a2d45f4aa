"""The page of error codes says what the code can answer, no more and no less."""

import ast
import re
from pathlib import Path

from domain import errors
from domain.errors import DomainError, OAuthError
from entrypoints.http.problems import CODES, STATUSES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "errors.md"
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DomainError)}
PROBLEM = {"HttpProblem", "refuse"}
FIELD = {"FieldError", "FieldProblem"}


def status_of(kind):
    """What HTTP answers to that class; None for what only the command meets."""
    return next((status for known, status in STATUSES.items() if issubclass(kind, known)), None)


def raised():
    """Codes of problems with their statuses, and codes of fields, as they stand in the source."""
    problems = {(kind.code, status_of(kind)) for kind in KINDS.values() if kind not in (DomainError, OAuthError)}
    problems |= {(code, status) for status, code in CODES.items()}
    fields = {"invalid"}  # the default of Invalid.field
    for path in (ROOT / "src").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func).rpartition(".")[2]
            named = [k.value.value for k in call.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)]
            second = [a.value for a in call.args[1:2] if isinstance(a, ast.Constant)]
            if name == "field":
                fields.update(named)
            elif name in FIELD:
                fields.update(second)
            elif name in KINDS:
                problems |= {(code, status_of(KINDS[name])) for code in named}
            elif name in PROBLEM:
                problems |= {(code, call.args[0].value) for code in second}
            else:
                assert not named, f"{path}:{call.lineno} gives a code in a way that this test does not know"
    return problems, fields


def written():
    """The same as the page says it."""
    problems, fields = set(), set()
    for line in PAGE.read_text().splitlines():
        if problem := re.match(r"\| `(\w+)` \| (\d{3}|command) \| \S", line):
            status = problem[2]
            problems.add((problem[1], None if status == "command" else int(status)))
        elif field := re.match(r"\| `(\w+)` \| \D", line):
            fields.add(field[1])
    return problems, fields


def test_the_page_lists_every_code_with_its_status_and_nothing_else():
    (problems, fields), (told, told_fields) = raised(), written()
    assert sorted(told ^ problems, key=str) == []
    assert sorted(told_fields ^ fields) == []


def test_every_code_on_the_page_is_explained_in_order():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert all(len(line.split("|")[-2].split()) >= 4 for line in lines), lines
    tables = re.findall(r"(?:^\| `.*\n)+", PAGE.read_text(), re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        codes = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
        assert codes == sorted(codes)
