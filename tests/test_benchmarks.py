"""`python -m benchmarks NAME`: every name has its module, and the page lists them all."""

import importlib.util
import re
from pathlib import Path

from benchmarks.__main__ import BENCHMARKS, main

ROOT = Path(__file__).parents[1]


def test_each_name_has_its_module():
    assert [
        name
        for name, module in BENCHMARKS.items()
        if not importlib.util.find_spec(f"benchmarks.{module}")
    ] == []


def test_the_page_lists_them():
    page = (ROOT / "benchmarks/README.md").read_text()
    assert set(re.findall(r"^python -m benchmarks (\w+)", page, re.MULTILINE)) == set(BENCHMARKS)


def test_pages_name_no_other():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"python -m benchmarks (\w+)", page.read_text())
    }
    assert named <= set(BENCHMARKS)


def test_an_unknown_name_lists_what_there_is(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "speed"])
    assert main() == 2
    assert "no benchmark is called 'speed'; there are beside, detection" in capsys.readouterr().err
