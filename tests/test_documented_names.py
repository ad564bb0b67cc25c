"""Every name of camport's that a page mentions is there, from `import camport` alone."""

import importlib
import re
from pathlib import Path

import pytest

import camport

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]
)
DOTTED = re.compile(r"\bcamport(?:\.[A-Za-z_]\w*)+")
IMPORTED = re.compile(r"^ *from (camport[\w.]*) import ([\w, ]+)", re.MULTILINE)
METADATA = (
    "version",
    "method",
    "layer",
    "adapter",
    "preprocess",
    "labels",
    "classes",
    "precision",
    "target",
)
"""`camport.NAME` is a property of an exported file as well."""
FILES = (".py", ".js", ".md", ".onnx", ".png", ".toml", ".json")


def named(text):
    for name in DOTTED.findall(text):
        if not name.endswith(FILES) and name.removeprefix("camport.") not in METADATA:
            yield name
    for module, names in IMPORTED.findall(text):
        yield from (f"{module}.{name.split()[0]}" for name in names.split(",") if name.strip())


def there(name):
    """Whether a name is an attribute, all the way from the package, or a module."""
    found = camport
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(f"{getattr(found, '__name__', '')}.{part}")
            except ImportError:
                return False
    return True


@pytest.mark.parametrize("page", PAGES)
def test_names_that_a_page_mentions(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert sorted({name for name in named(text) if not there(name)}) == []


def test_pages_mention_names():
    assert sum(len(set(named((ROOT / page).read_text(encoding="utf-8")))) for page in PAGES) > 100
