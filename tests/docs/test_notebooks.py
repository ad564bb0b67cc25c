"""The notebooks run as they stand, say nothing of the machine that made them,
and are what their maker has."""

import ast
import json
from pathlib import Path

import pytest

from camport.errors import CamportWarning

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[tuple[str, str]]:
    """(kind, text) of each."""
    book = json.loads(path.read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in book["cells"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_what_its_maker_has(path):
    tree = ast.parse((DOCS / "make_notebooks.py").read_text(encoding="utf-8"))
    assigned = {
        node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)
    }
    texts, line = ast.literal_eval(assigned["NOTEBOOKS"]), "\n" + "-" * 20 + "\n"
    written = [text.removeprefix("# ") for text in texts[path.stem].strip().split(line)]
    assert [text for _, text in cells(path)] == written
    assert set(texts) == {notebook.stem for notebook in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_of_code_was_run(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [
        output
        for output in outputs
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 1


@pytest.mark.everything
@pytest.mark.filterwarnings(f"ignore::{CamportWarning.__module__}.{CamportWarning.__name__}")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "notebook"}
    for number, (kind, text) in enumerate(cells(path)):
        if kind == "code":
            exec(compile(text, f"{path.name}, cell {number}", "exec"), names)
    printed = capsys.readouterr().out
    if path.stem == "own_method":
        assert "{'Max-CAM': '19 of 20', 'Grad-CAM': '20 of 20'}" in printed
    if path.stem == "detections":
        assert names["edge"].heatmap.shape[0] == len(names["explanation"].target)
