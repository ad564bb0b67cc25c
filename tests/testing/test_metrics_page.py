"""The code of docs/metrics.md is code that runs, the page names every metric,
and the example package is one."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import camport

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "camport-sharpness"


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")  # of a random network
def test_the_code_runs():
    pytest.importorskip("skimage", reason='pip install "camport[metrics]"')
    scope: dict = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, scope)
    assert scope["values"].shape == (2,)
    assert scope["curves"]["insertion"].shape == (2, 101)
    assert scope["maps"].shape == (2, 1, 32, 32)
    assert scope["found"].stages == ("4", "0")


def test_every_metric_is_on_the_page():
    built_in = [name for name, info in camport.metrics().items() if info.distribution == "camport"]
    assert not [name for name in built_in if f"`{name}`" not in PAGE]


def test_the_example_package(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    found = runpy.run_path(str(EXAMPLE / "tests" / "test_sharpness.py"))
    for test in [value for name, value in found.items() if name.startswith("test_")]:
        test()
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    (module,) = told["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert told["project"]["entry-points"]["camport"] == {"sharpness": Path(module).stem}
    assert (EXAMPLE / module).is_file()
