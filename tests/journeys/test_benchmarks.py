"""The benchmarks still run: what they measure may change under them, and nobody runs them every day."""

import os

import pytest

from benchmarks import refresh
from benchmarks.__main__ import main
from benchmarks.bench import Bench, a_server_to_measure
from benchmarks.load import Script, available, request, wrk
from benchmarks.prepare import people
from benchmarks.report import BEGIN, END, put_into

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def server():
    if not available():
        complaint = "wrk is not installed (Debian: apt-get install wrk)"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    with a_server_to_measure() as running:
        yield running


async def test_a_benchmark_measures_a_path_and_keeps_the_figures(server):
    bench = Bench(seconds=1, connections=(2,), people=10)
    bench.report.heading("refresh")
    await people(server, bench.people)
    try:
        await refresh.measure(bench, server)
    finally:
        bench.bare.close()

    (row,) = bench.report.as_json()["sections"]["refresh"]
    assert row["connections"] == 2
    assert row["errors"] == 0
    assert row["per s"] > 0
    assert 0 < row["p50 ms"] <= row["p99 ms"]
    assert row["worker MB"] > 0
    assert row["% of bare"] > 0
    assert "| refresh with rotation | 2 |" in bench.report.as_markdown()


async def test_answers_that_are_errors_are_counted_by_their_code(server):
    load = await wrk(server.url, 2, 1, Script([request("GET", "/api/v1/me")], tell=True))
    assert load.errors == {"401 token_missing": load.requests}


def test_the_tables_of_a_page_are_written_anew_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Above\n{BEGIN}\n\nold\n\n{END}\nBelow\n")
    put_into(page, "new\n")
    assert page.read_text() == f"Above\n{BEGIN}\n\nnew\n\n{END}\nBelow\n"


def test_without_wrk_one_is_told_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["me"]) == 1
    assert "apt-get install wrk" in capsys.readouterr().err
