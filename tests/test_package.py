"""What the package says of itself: links that an index can follow, extras that the page lists,
versions that agree."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def on_the_index() -> str:
    """README as the built package has it."""
    text = README
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"][
        "substitutions"
    ]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_links_are_absolute_and_lead_to_files():
    links = re.findall(r"\]\(([^)]+)\)", on_the_index())
    assert len(links) == len(re.findall(r"\]\(([^)]+)\)", README)) > 40
    source = PROJECT["urls"]["Source"]
    missing = []
    for link in links:
        place = re.sub(rf"^{re.escape(source)}/blob/main/|^https://raw\.\S+?/main/", "", link)
        if not (ROOT / place.partition("#")[0]).exists():
            missing.append(link)
    assert missing == []


def test_pictures_are_raw_files():
    pictures = re.findall(r"!\[[^\]]*\]\((.*?)\)", on_the_index())
    assert len(pictures) > 5
    assert all(picture.startswith("https://raw.") for picture in pictures)


def test_the_page_of_extras_lists_them_all():
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", page, re.MULTILINE)
    listed = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == set(PROJECT["optional-dependencies"])


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {PROJECT['version']}\n" in citation
    assert f"repository-code: {PROJECT['urls']['Source']}\n" in citation


def test_the_lowest_versions_are_the_floors():
    lines = [
        line
        for line in (ROOT / "lowest.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    ]
    lowest = dict(line.split("==") for line in lines)
    extras = PROJECT["optional-dependencies"]
    asked = [
        *PROJECT["dependencies"],
        *(one for name in ("torch", "cpu", "demo", "evaluate", "oracles") for one in extras[name]),
    ]
    floors = dict(one.split(">=") for one in asked if ">=" in one)
    assert len(floors) > 15
    for name, floor in floors.items():
        assert re.sub(r"(\.0)+$", "", lowest[name]) == re.sub(r"(\.0)+$", "", floor), name
