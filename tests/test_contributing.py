"""The pages for contributors name files, options and commands that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["CONTRIBUTING.md", "docs/architecture.md", "docs/adding.md"]
PLACES = (
    "",
    "tests",
    "camport",
    *(path.parent for path in (ROOT / "camport").rglob("__init__.py")),
)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {
        name
        for name in re.findall(r"`([\w/]+\.(?:py|toml|md))`", text)
        if not re.search("[A-Z]{4}", name)
    }
    folders = re.findall(r"`((?:camport|tests|docs|tools|benchmarks)/[\w/]*/)`", text)
    named |= {name for name in folders if not re.search("[A-Z]{4}", name)}
    missing = {
        name for name in named if not any((ROOT / place / name).exists() for place in PLACES)
    }
    # a file of the room that its line of the table names
    rooms = re.findall(r"^\| `([\w/]+)`.*\| (.+) \|$", text, re.MULTILINE)
    of_rooms = {file: room for room, files in rooms for file in re.findall(r"`(\w+\.py)`", files)}
    missing = {
        name for name in missing if not (ROOT / "camport" / of_rooms.get(name, "") / name).exists()
    }
    assert named
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_room_is_in_the_architecture():
    from tests.test_structure import PACKAGE, ROOMS

    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    unnamed = {"", "__main__", "version", "late", "binding", "demo", "show"}
    paths = [room.replace(".", "/") for room in ROOMS if room not in unnamed]
    # a room of one file need not be named
    assert [
        path for path in paths if path not in text and not (PACKAGE / f"{path}.py").exists()
    ] == []
