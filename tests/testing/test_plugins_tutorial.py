"""The code of docs/plugins.md is code that runs."""

import ast
import re
from pathlib import Path

import pytest
import torch

import camport
from camport.testing import check_explainer

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)


def test_it_begins_at_ten_lines():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_classes_conform():
    scope: dict = {"__name__": "tutorial"}
    for block in BLOCKS:
        if "class " in block:
            exec(compile(block, "docs/plugins.md", "exec"), scope)
    for name in ("MaxCAM", "SoftMaxCAM"):
        check_explainer(scope[name], export=False)
    assert scope["camport_explainers"]() == [scope["MaxCAM"]]


def test_its_family_of_models_loads(tmp_path):
    scope: dict = {}
    (block,) = (block for block in BLOCKS if "camport_models" in block)
    exec(compile(block, "docs/plugins.md", "exec"), scope)
    (family,) = scope["camport_models"]()
    made = family().load("4", None, pretrained=False, trust_checkpoint=False)
    torch.save(made.model.state_dict(), tmp_path / "x.pt")
    loaded = family().load("4", tmp_path / "x.pt", pretrained=False, trust_checkpoint=False)
    images = torch.rand(2, 3, *loaded.preprocess.size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.model(images), made.model(images))
    with pytest.raises(camport.errors.InputError, match="linear:four is no number of classes"):
        family().load("four", None, pretrained=False, trust_checkpoint=False)


def test_it_is_the_example():
    def maths(source):
        tree = ast.parse(source)
        return next(ast.dump(n) for n in ast.walk(tree) if isinstance(n, ast.Lambda))

    assert maths(BLOCKS[0]) == maths(
        (ROOT / "examples" / "camport-maxcam" / "camport_maxcam.py").read_text()
    )


def test_every_block_is_python():
    for block in BLOCKS:
        ast.parse(block if not block.startswith("    ") else f"class Part:\n{block}")


def test_the_rules_it_names_are_the_kits():
    from camport.testing.explainers import RULES

    text = (ROOT / "docs" / "plugins.md").read_text()
    for rule in RULES:
        assert f"`{rule.__name__}`" in text, rule.__name__
    assert camport.errors.MethodError
